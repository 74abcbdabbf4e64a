/* base/ when memory runs out, and that what held a secret is wiped. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"

static void counts_what_is_held(void **state)
{
	void *a = mem_alloc(10), *b = mem_alloc(0);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(mem_held, 2);
	memcpy(a, "0123456789", 10);
	a = mem_resize(a, 2000);
	assert_memory_equal(a, "0123456789", 10);
	assert_int_equal(mem_held, 2);
	mem_free(a);
	mem_free(b);
	mem_free(NULL);
	assert_int_equal(mem_held, 0);
}

static void fails_each_in_turn(void **state)
{
	unsigned seen = 0, turns = 0;

	(void)state;
	while (mem_fail_next()) {
		for (unsigned i = 0; i < 3; i++) {
			void *p = mem_alloc(1);

			if (!p)
				seen |= 1u << i;
			mem_free(p);
		}
		turns++;
	}
	assert_int_equal(seen, 7);
	assert_int_equal(turns, 4);
	while (mem_fail_next()) /* and it can be used again */
		turns++;
	assert_int_equal(turns, 5);
}

static void buf_survives(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct buf b;
		struct err e = { 0 };
		int added, more, text;

		buf_init(&b, 4096);
		added = buf_add(&b, "abc", 3, &e);
		if (added != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		assert_int_equal(buf_len(&b), added == 0 ? 3 : 0);
		more = buf_reserve(&b, 1000, &e) ? 0 : -1; /* what was there stays */
		assert_int_equal(buf_len(&b), added == 0 ? 3 : 0);
		assert_memory_equal(buf_ptr(&b), "abc", buf_len(&b));
		text = buf_addf(&b, &e, "%0900d", 7);
		if (added == 0 && more == 0 && text == 0)
			assert_int_equal(buf_len(&b), 903);
		buf_free(&b);
		assert_int_equal(mem_held, 0);
	}
}

static void buf_wipes(void **state)
{
	struct buf b;
	struct err e;

	(void)state;
	mem_unwiped = 0;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_add(&b, "a password, say", 15, &e), 0);
	buf_drop(&b, 10);
	buf_drop(&b, buf_len(&b));
	assert_int_equal(buf_add(&b, "more", 4, &e), 0);
	buf_free(&b);
	assert_int_equal(mem_held, 0);
	assert_int_equal(mem_unwiped, 0);
}

static void secret_survives_and_wipes(void **state)
{
	(void)state;
	mem_unwiped = 0;
	while (mem_fail_next()) {
		struct secret s = { 0 };
		struct err e = { 0 };

		if (secret_set(&s, "one", &e) != 0) {
			assert_int_equal(e.code, ERR_NOMEM);
			assert_null(s.text);
		} else if (secret_set(&s, "another", &e) != 0) {
			assert_int_equal(e.code, ERR_NOMEM);
			assert_string_equal(s.text, "one");
		}
		secret_free(&s);
		assert_int_equal(mem_held, 0);
	}
	assert_int_equal(mem_unwiped, 0);
}

static void strdup_survives(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		char *a = mem_strdup("text"), *b = mem_strndup("longer", 4);

		if (a)
			assert_string_equal(a, "text");
		if (b)
			assert_string_equal(b, "long");
		mem_free_str(a);
		mem_free_str(b);
		assert_int_equal(mem_held, 0);
	}
	assert_null(mem_strdup(NULL));
	assert_int_equal(mem_unwiped, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_is_held),
		cmocka_unit_test(fails_each_in_turn),
		cmocka_unit_test(buf_survives),
		cmocka_unit_test(buf_wipes),
		cmocka_unit_test(secret_survives_and_wipes),
		cmocka_unit_test(strdup_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
