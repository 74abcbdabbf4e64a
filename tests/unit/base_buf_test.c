/* base/buf.h: order, ceiling, and memory that comes and goes. */
#include <string.h>

#include "base/buf.h"
#include "tests/support/cmocka_all.h"

static void keeps_order(void **state)
{
	struct buf b;
	struct err e;
	uint8_t in = 0, out = 0;

	(void)state;
	buf_init(&b, 1000);
	/* Always a little more in than out, so that it wraps, moves and grows. */
	for (int round = 0; round < 500; round++) {
		uint8_t piece[7];

		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = in++;
		assert_int_equal(buf_add(&b, piece, sizeof(piece), &e), 0);
		for (size_t n = round % 2 ? 8 : 5; n && buf_len(&b); n--) {
			assert_int_equal(*buf_ptr(&b), out++);
			buf_drop(&b, 1);
		}
	}
	assert_int_equal(buf_len(&b), (uint8_t)(in - out) + 256 * (buf_len(&b) / 256));
	while (buf_len(&b)) {
		assert_int_equal(*buf_ptr(&b), out++);
		buf_drop(&b, 1);
	}
	assert_int_equal(in, out);
	buf_free(&b);
}

static void has_a_ceiling(void **state)
{
	static const struct {
		const char *name;
		size_t ceiling, before, add;
		int want;
	} cases[] = {
		{ "empty, to the brim", 10, 0, 10, 0 },
		{ "empty, one too many", 10, 0, 11, -1 },
		{ "full, nothing more", 10, 10, 0, 0 },
		{ "full, one more", 10, 10, 1, -1 },
		{ "no room at all", 0, 0, 1, -1 },
		{ "half", 600, 300, 300, 0 },
		{ "half, one too many", 600, 300, 301, -1 },
	};
	uint8_t bytes[700] = { 1 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b;
		struct err e = { 0 };

		print_message("%s\n", cases[i].name);
		buf_init(&b, cases[i].ceiling);
		assert_int_equal(buf_add(&b, bytes, cases[i].before, &e), 0);
		assert_int_equal(buf_add(&b, bytes, cases[i].add, &e), cases[i].want);
		if (cases[i].want)
			assert_int_equal(e.code, ERR_LIMIT);
		assert_int_equal(buf_len(&b), cases[i].before + (cases[i].want ? 0 : cases[i].add));
		assert_int_equal(buf_room(&b), cases[i].ceiling - buf_len(&b));
		buf_free(&b);
	}
}

static void reserve_then_commit(void **state)
{
	struct buf b;
	struct err e;
	uint8_t *to;

	(void)state;
	buf_init(&b, 100);
	assert_non_null(buf_reserve(&b, 0, &e));
	to = buf_reserve(&b, 100, &e);
	assert_non_null(to);
	memcpy(to, "hello", 5);
	buf_commit(&b, 5);
	assert_int_equal(buf_len(&b), 5);
	assert_memory_equal(buf_ptr(&b), "hello", 5);
	assert_null(buf_reserve(&b, 96, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&b);
	assert_int_equal(buf_len(&b), 0);
	buf_free(&b);
}

static void formats(void **state)
{
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 12);
	assert_int_equal(buf_addf(&b, &e, "%s-%d", "abc", 42), 0);
	assert_int_equal(buf_addf(&b, &e, "%s", ""), 0);
	assert_int_equal(buf_len(&b), 6);
	assert_memory_equal(buf_ptr(&b), "abc-42", 6);
	assert_int_equal(buf_addf(&b, &e, "%s", "far too long"), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(buf_len(&b), 6);
	buf_free(&b);
}

static void gives_large_memory_back(void **state)
{
	static uint8_t bytes[200 * 1024];
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, sizeof(bytes));
	assert_int_equal(buf_add(&b, bytes, sizeof(bytes), &e), 0);
	buf_drop(&b, sizeof(bytes) - 1);
	assert_true(b.size >= sizeof(bytes));
	buf_drop(&b, 1);
	assert_int_equal(b.size, 0);
	assert_non_null(buf_ptr(&b)); /* an empty one can still be pointed at */
	assert_int_equal(buf_add(&b, bytes, 10, &e), 0);
	buf_drop(&b, 10);
	assert_true(b.size > 0); /* a small one stays */
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order),
		cmocka_unit_test(has_a_ceiling),
		cmocka_unit_test(reserve_then_commit),
		cmocka_unit_test(formats),
		cmocka_unit_test(gives_large_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
