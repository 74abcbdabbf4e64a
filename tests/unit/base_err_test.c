/* base/err.h: messages that grow outward, bounded and printable; the table. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "tests/support/cmocka_all.h"

static void grows_outward(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, ERR_TARGET, "StartSession: %s", "TargetNotConnected"), -1);
	assert_int_equal(err_wrap(&e, "i-0abc"), -1);
	assert_int_equal(err_wrap(&e, "ssm: %d", 3), -1);
	assert_string_equal(e.msg, "ssm: 3: i-0abc: StartSession: TargetNotConnected");
	assert_int_equal(e.code, ERR_TARGET);
	assert_int_equal(err_set(NULL, ERR_IO, "x"), -1);
	assert_int_equal(err_sys(NULL, EIO, "x"), -1);
	assert_int_equal(err_wrap(NULL, "x"), -1);
}

static void lack_of_memory_is_named(void **state)
{
	struct err e;
	char big[1000];

	(void)state;
	err_set(&e, ERR_NOMEM, "buffer of %d bytes", 7);
	assert_string_equal(e.msg, "buffer of 7 bytes: out of memory");
	err_set(&e, ERR_NOMEM, "out of memory");
	assert_string_equal(e.msg, "out of memory");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, ERR_NOMEM, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void is_bounded_and_printable(void **state)
{
	struct err e = { 0 };
	char big[1000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, ERR_PROTO, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, "outer");
	assert_memory_equal(e.msg, "outer: xxx", 10);
	assert_true(strlen(e.msg) < sizeof(e.msg));
	err_wrap(&e, "%s", big);
	assert_true(strlen(e.msg) < sizeof(e.msg));
	err_sys(&e, EACCES, "%s", big);
	assert_true(strlen(e.msg) < sizeof(e.msg));
	err_set(&e, ERR_PROTO, "a\r\nb\x1b[0m\x7f \xc3\xa4");
	assert_string_equal(e.msg, "a??b?[0m? \xc3\xa4");
}

static void errno_gives_the_code(void **state)
{
	static const struct {
		int sys;
		enum err_code want;
	} cases[] = {
		{ ECONNREFUSED, ERR_REFUSED },
		{ ETIMEDOUT, ERR_TIMEOUT },
		{ ENETUNREACH, ERR_NETUNREACH },
		{ EHOSTUNREACH, ERR_HOSTUNREACH },
		{ ECONNRESET, ERR_RESET },
		{ EPIPE, ERR_RESET },
		{ EMFILE, ERR_LIMIT },
		{ ENOMEM, ERR_NOMEM },
		{ EACCES, ERR_IO },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e;

		assert_int_equal(err_sys(&e, cases[i].sys, "open %s", "f"), -1);
		assert_int_equal(e.code, cases[i].want);
		assert_int_equal(e.sys, cases[i].sys);
		assert_memory_equal(e.msg, "open f: ", 8);
		assert_non_null(strstr(e.msg, strerror(cases[i].sys)));
	}
}

static void the_table_is_whole(void **state)
{
	(void)state;
	for (int i = 0; i < ERR_CODE_COUNT; i++) {
		enum err_code code = (enum err_code)i;

		assert_true(strlen(err_text(code)) > 0);
		assert_non_null(err_name(code));
		assert_int_equal(strcspn(err_name(code), " \"\\"), strlen(err_name(code)));
		assert_in_range(err_socks_reply(code), 0, 8);
		assert_true(err_http_status(code) == 200 ||
			    (err_http_status(code) >= 400 && err_http_status(code) < 600));
		assert_true(err_exit_status(code) == 0 ||
			    (err_exit_status(code) >= 64 && err_exit_status(code) <= 78));
		assert_int_equal(err_socks_reply(code) == 0, code == ERR_NONE);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(err_name(code), err_name((enum err_code)j));
	}
	/* RFC 1928, 6 */
	assert_int_equal(err_socks_reply(ERR_DENIED), 2);
	assert_int_equal(err_socks_reply(ERR_HOSTUNREACH), 4);
	assert_int_equal(err_socks_reply(ERR_REFUSED), 5);
	assert_int_equal(err_http_status(ERR_DENIED), 403);
	assert_int_equal(err_http_status(ERR_TIMEOUT), 504);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_outward),
		cmocka_unit_test(lack_of_memory_is_named),
		cmocka_unit_test(is_bounded_and_printable),
		cmocka_unit_test(errno_gives_the_code),
		cmocka_unit_test(the_table_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
