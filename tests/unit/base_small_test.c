/* base/list.h, base/secret.h, base/random.h, base/mem.h. */
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "tests/support/cmocka_all.h"

struct item {
	int value;
	struct list node;
};

static int value_of(struct list *node)
{
	return node ? CONTAINER_OF(node, struct item, node)->value : -1;
}

static void list_keeps_order(void **state)
{
	struct item items[4] = { { 1, { 0 } }, { 2, { 0 } }, { 3, { 0 } }, { 4, { 0 } } };
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_pop(&head));
	list_add_tail(&head, &items[1].node);
	list_add_tail(&head, &items[2].node);
	list_add_head(&head, &items[0].node);
	assert_false(list_linked(&items[3].node));
	list_del(&items[3].node); /* allowed when in no list */
	list_del(&items[1].node);
	assert_false(list_linked(&items[1].node));
	list_del(&items[1].node);
	list_add_tail(&head, &items[3].node);
	assert_int_equal(value_of(list_pop(&head)), 1);
	assert_int_equal(value_of(list_pop(&head)), 3);
	assert_int_equal(value_of(list_pop(&head)), 4);
	assert_true(list_empty(&head));
}

static void list_each_may_remove(void **state)
{
	struct item items[5];
	struct list head;
	int sum = 0;

	(void)state;
	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i] = (struct item){ .value = i };
		list_add_tail(&head, &items[i].node);
	}
	LIST_EACH (it, &head) {
		sum += value_of(it);
		if (value_of(it) % 2 == 0)
			list_del(it);
	}
	assert_int_equal(sum, 10);
	assert_int_equal(value_of(list_pop(&head)), 1);
	assert_int_equal(value_of(list_pop(&head)), 3);
	assert_true(list_empty(&head));
}

static void secrets(void **state)
{
	struct secret s = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(secret_set(&s, "one", &e), 0);
	assert_string_equal(s.text, "one");
	assert_int_equal(s.len, 3);
	assert_int_equal(secret_setn(&s, "twofold", 3, &e), 0);
	assert_string_equal(s.text, "two");
	assert_int_equal(secret_set(&s, "", &e), 0);
	assert_string_equal(s.text, "");
	assert_int_equal(secret_set(&s, NULL, &e), 0);
	assert_null(s.text);
	assert_int_equal(s.len, 0);
	secret_free(&s);
	secret_free(&s);
}

static void secret_comparison(void **state)
{
	static const struct {
		const char *a, *b;
		bool want;
	} cases[] = {
		{ "", "", true },        { "a", "", false },         { "", "a", false },
		{ "abc", "abc", true },  { "abc", "abd", false },    { "abc", "ab", false },
		{ "ab", "abc", false },  { "aaaa", "aa", false },    { "aa", "aaaa", false },
		{ "xbc", "abc", false }, { "abcabc", "abc", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(secret_equal(cases[i].a, strlen(cases[i].a), cases[i].b,
					      strlen(cases[i].b)),
				 cases[i].want);
}

static void random_numbers(void **state)
{
	unsigned seen = 0;
	uint8_t bytes[600] = { 0 };
	size_t zeroes = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		uint32_t x = random_below(7);

		assert_true(x < 7);
		seen |= 1u << x;
	}
	assert_int_equal(seen, 127); /* misses one with a chance below 1e-130 */
	assert_int_equal(random_below(1), 0);
	random_bytes(bytes, sizeof(bytes)); /* more than getentropy gives at once */
	for (size_t i = 0; i < sizeof(bytes); i++)
		zeroes += bytes[i] == 0;
	assert_true(zeroes < 100);
	random_bytes(bytes, 0);
}

static void random_ids(void **state)
{
	char a[37], b[37];

	(void)state;
	random_uuid(a);
	random_uuid(b);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 36);
	assert_int_equal(strspn(a, "0123456789abcdef-"), 36);
	for (int i = 0; i < 36; i++)
		assert_int_equal(a[i] == '-', i == 8 || i == 13 || i == 18 || i == 23);
	assert_int_equal(a[14], '4'); /* version */
	assert_non_null(strchr("89ab", a[19]));
}

static void memory(void **state)
{
	uint8_t *p = mem_alloc(100);
	char *s;

	(void)state;
	assert_non_null(p);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	memset(p, 7, 100);
	mem_wipe(p + 10, 20);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], i >= 10 && i < 30 ? 0 : 7);
	p = mem_resize(p, 1000);
	assert_non_null(p);
	assert_int_equal(p[99], 7);
	mem_free(p);
	s = mem_strndup("a\0b", 3);
	assert_non_null(s);
	assert_memory_equal(s, "a\0b", 4);
	mem_free(s);
	mem_free_str(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_keeps_order), cmocka_unit_test(list_each_may_remove),
		cmocka_unit_test(secrets),          cmocka_unit_test(secret_comparison),
		cmocka_unit_test(random_numbers),   cmocka_unit_test(random_ids),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
