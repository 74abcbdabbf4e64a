/* Addresses: parsing, formatting, kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "net/addr.h"
#include "net/resolve.h"

static void parses_and_formats(void **state)
{
	static const struct {
		const char *in, *out, *host;
		unsigned port;
		bool loopback;
	} cases[] = {
		{ "127.0.0.1:1080", "127.0.0.1:1080", "127.0.0.1", 1080, true },
		{ "127.255.0.9:1", "127.255.0.9:1", "127.255.0.9", 1, true },
		{ "0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0", 65535, false },
		{ "192.168.64.1:0", "192.168.64.1:0", "192.168.64.1", 0, false },
		{ "[::1]:1080", "[::1]:1080", "::1", 1080, true },
		{ "[2001:db8::1]:80", "[2001:db8::1]:80", "2001:db8::1", 80, false },
		{ "[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, true },
		{ "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80, false },
		{ "localhost:1080", "127.0.0.1:1080", "127.0.0.1", 1080, true },
		{ "LocalHost:1", "127.0.0.1:1", "127.0.0.1", 1, true },
		{ ":1080", "127.0.0.1:1080", "127.0.0.1", 1080, true },
		{ "unix:/run/a.sock", "unix:/run/a.sock", "unix", 0, true },
		{ "unix:a b", "unix:a b", "unix", 0, true },
	};
	char text[ADDR_TEXT];
	struct addr a;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (addr_parse(cases[i].in, &a, &e) != 0)
			fail_msg("%s: %s", cases[i].in, e.msg);
		addr_format(&a, text);
		assert_string_equal(text, cases[i].out);
		addr_format_host(&a, text);
		assert_string_equal(text, cases[i].host);
		assert_int_equal(addr_port(&a), cases[i].port);
		assert_int_equal(addr_is_loopback(&a), cases[i].loopback);
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"1080",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1:x",
		"example.com:1",
		"127.1:1080",
		"[::1]",
		"::1:1080",
		"[::g]:1",
		"[127.0.0.1]",
		"127.0.0.1:80 ",
		"unix:",
		"256.0.0.1:1",
		"[::1:80",
		"127.0.0.1:1:2",
	};
	char deep[200] = "unix:";
	struct addr a;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (addr_parse(bad[i], &a, &e) == 0)
			fail_msg("'%s' was taken", bad[i]);
	memset(deep + 5, 'x', 107);
	assert_int_equal(addr_parse(deep, &a, &e), 0);
	deep[5 + 107] = 'x'; /* one more than sun_path holds */
	assert_int_equal(addr_parse(deep, &a, &e), -1);
	assert_non_null(strstr(e.msg, "108"));
}

static void literals(void **state)
{
	static const struct {
		const char *host;
		bool is;
	} cases[] = {
		{ "127.0.0.1", true }, { "::1", true },        { "fe80::1", true },
		{ "", false },         { "localhost", false }, { "127.1", false },
		{ "[::1]", false },    { "1.2.3.4.", false },  { "0x7f.0.0.1", false },
		{ "::1%lo", false },
	};
	struct addr a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(addr_from_literal(cases[i].host, 80, &a), cases[i].is);
		if (cases[i].is)
			assert_int_equal(addr_port(&a), 80);
	}
}

static void unnamed_unix_peer(void **state)
{
	struct addr a = { .len = sizeof(sa_family_t) };
	char text[ADDR_TEXT];

	(void)state;
	a.ss.ss_family = AF_UNIX;
	memset((char *)&a.ss + sizeof(sa_family_t), 'x', sizeof(struct sockaddr_un) - 2);
	addr_format(&a, text);
	assert_string_equal(text, "unix:");
}

/* "464" are the families in order; distinct ports tell the addresses apart. */
static void families_alternate(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "6666444", "6464646" }, { "4466", "4646" }, { "6", "6" },
		{ "44", "44" },           { "", "" },         { "6444", "6444" },
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct addr list[RESOLVE_MAX];
		size_t n = strlen(cases[i].in);
		uint16_t last[2] = { 0, 0 };

		for (k = 0; k < n; k++)
			assert_true(addr_from_literal(cases[i].in[k] == '6' ? "::1" : "127.0.0.1",
						      (uint16_t)(k + 1), &list[k]));
		resolve_interleave(list, n);
		for (k = 0; k < n; k++) {
			bool v6 = list[k].ss.ss_family == AF_INET6;

			assert_int_equal(v6 ? '6' : '4', cases[i].out[k]);
			assert_true(addr_port(&list[k]) > last[v6]); /* order within a family */
			last[v6] = addr_port(&list[k]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_formats), cmocka_unit_test(refuses),
		cmocka_unit_test(literals),           cmocka_unit_test(unnamed_unix_peer),
		cmocka_unit_test(families_alternate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
