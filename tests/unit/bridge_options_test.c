/* What `bridge` is asked for, and what `connect` asks: the pure parts of cmd/bridge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/bridge/ask.h"
#include "cmd/bridge/options.h"

enum { FILES = 1024 };

#define PARSE(a, ...)                                                   \
	parse(a, (char *[]){ (char[]){ "bridge" }, __VA_ARGS__, NULL }, \
	      (int)(sizeof((char *[]){ (char[]){ "bridge" }, __VA_ARGS__ }) / sizeof(char *)))
#define W(text) ((char[]){ text })

static char said[512];

static int parse(struct bridge_args *a, char **argv, int argc)
{
	struct err e = { 0 };
	int rc = bridge_args_parse(a, argc, argv, FILES, &e);

	(void)memcpy(said, e.msg, sizeof(e.msg));
	return rc;
}

static void test_defaults(void **state)
{
	struct bridge_args a;
	char text[ADDR_TEXT];

	(void)state;
	assert_int_equal(PARSE(&a, W("--to"), W("unix:/run/p.sock")), 0);
	assert_int_equal(a.bridge.listen_count, 1);
	addr_format(&a.bridge.listen[0], text);
	assert_string_equal(text, "127.0.0.1:1080");
	addr_format(&a.bridge.to, text);
	assert_string_equal(text, "unix:/run/p.sock");
	assert_int_equal(a.bridge.wait_ms, 30000);
	assert_int_equal(a.bridge.mode, 0600);
	assert_int_equal(a.bridge.max, (FILES - 64) / 4);
	assert_null(a.command);
	assert_false(a.die_with_parent);
	assert_false(a.env);
}

static void test_all_options(void **state)
{
	struct bridge_args a;

	(void)state;
	assert_int_equal(PARSE(&a, W("--listen"), W("127.0.0.1:0"), W("--listen=unix:/x"),
			       W("--to=127.0.0.1:9"), W("--wait=2m"), W("--max-waiting"), W("7"),
			       W("--max-connections=9"), W("--mode"), W("660"), W("--env"),
			       W("--no-die-with-parent"), W("--log-level=debug"), W("--"), W("ls"),
			       W("--help")),
			 0);
	assert_int_equal(a.bridge.listen_count, 2);
	assert_int_equal(a.bridge.wait_ms, 120000);
	assert_int_equal(a.bridge.max_waiting, 7);
	assert_int_equal(a.bridge.max, 9);
	assert_int_equal(a.bridge.mode, 0660);
	assert_true(a.env);
	assert_false(a.die_with_parent);
	assert_string_equal(a.log_level, "debug");
	assert_string_equal(a.command[0], "ls");
	assert_string_equal(a.command[1], "--help");
	assert_null(a.command[2]);
	assert_false(a.help);
}

static void test_flags(void **state)
{
	struct bridge_args a;

	(void)state;
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"), W("--"), W("ls")), 0);
	assert_true(a.die_with_parent);
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"), W("--die-with-parent=true")), 0);
	assert_true(a.die_with_parent);
	assert_int_equal(PARSE(&a, W("--nonsense"), W("--help")), 0);
	assert_true(a.help);
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"), W("--no-env=true")), -1);
	assert_non_null(strstr(said, "true or false expected"));
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"), W("--wait")), -1);
	assert_string_equal(said, "--wait needs a value");
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"), W("--max-connections=0")), -1);
	assert_int_equal(PARSE(&a, W("--to=127.0.0.1:9"),
			       W("--a-name-that-is-longer-than-any-option-can-be")),
			 -1);
	assert_non_null(strstr(said, "unknown option --a-name"));
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		unsigned ms;
	} good[] = { { "0s", 0 },      { "500ms", 500 },    { "30s", 30000 },
		     { "5m", 300000 }, { "24h", 86400000 }, { "86400s", 86400000 } };
	static const char *const bad[] = { "",    "5",    "s",
					   "-1s", "1.5s", "25h",
					   "1 s", "1d",   "9999999999999999999s" };
	struct err e;
	unsigned ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(bridge_duration(good[i].text, &ms, &e), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bridge_duration(bad[i], &ms, &e), -1);
}

static void test_request(void **state)
{
	uint8_t out[ASK_REQUEST];
	char longest[256];

	(void)state;
	assert_int_equal(ask_request("db.example", 0x1234, out), 20);
	assert_memory_equal(out, "\5\1\0\5\1\0\3\012db.example\x12\x34", 20);
	memset(longest, 'x', 255);
	longest[255] = '\0';
	assert_int_equal(ask_request(longest, 1, out), ASK_REQUEST);
}

static int answer(const char *p, size_t n, size_t *used)
{
	struct err e = { 0 };
	int rc = ask_answer((const uint8_t *)p, n, "db.example", 5432, used, &e);

	(void)memcpy(said, e.msg, sizeof(e.msg));
	return rc;
}

static void test_answer(void **state)
{
	static const char v4[] = "\5\0\5\0\0\1\177\0\0\1\0\1early";
	static const char v6[] = "\5\0\5\0\0\4................\0\1";
	static const char name[] = "\5\0\5\0\0\3\3abc\0\1";
	size_t used;

	(void)state;
	for (size_t n = 0; n < 12; n++)
		assert_int_equal(answer(v4, n, &used), 0);
	assert_int_equal(answer(v4, sizeof(v4) - 1, &used), 1);
	assert_int_equal(used, 12);
	assert_int_equal(answer(v6, 23, &used), 0);
	assert_int_equal(answer(v6, 24, &used), 1);
	assert_int_equal(answer(name, 11, &used), 0);
	assert_int_equal(answer(name, 12, &used), 1);
	assert_int_equal(used, 12);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *says;
	} all[] = {
		{ "\5\0\5\5", 4, "db.example:5432: connection refused" },
		{ "\5\0\5\2", 4, "db.example:5432: refused by a rule (awsocks route shows which)" },
		{ "\5\0\5\4", 4, "db.example:5432: host unreachable or unknown" },
		{ "\5\0\5\x63", 4, "db.example:5432: unknown reply" },
		{ "\5\xff", 2,
		  "the listener asks for a user and password: give them in AWSOCKS_PROXY_USER or "
		  "the file of --user-file, as NAME:PASSWORD" },
		{ "HTTP", 4, "the listener does not speak SOCKS5" },
	};
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(answer(all[i].in, all[i].n, &used), -1);
		assert_string_equal(said, all[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_all_options),
		cmocka_unit_test(test_flags),    cmocka_unit_test(test_durations),
		cmocka_unit_test(test_request),  cmocka_unit_test(test_answer),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
