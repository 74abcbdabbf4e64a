#include "routing/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void matches(void **state)
{
	static const struct {
		const char *pattern, *host;
		uint16_t port;
		bool want;
	} rows[] = {
		/* exact */
		{ "example.com", "example.com", 1, true },
		{ "EXAMPLE.com.", "example.com", 1, true },
		{ "example.com", "www.example.com", 1, false },
		{ "example.com", "example.com.evil.net", 1, false },
		{ "m\xc3\xbcnchen.de", "xn--mnchen-3ya.de", 1, true },
		{ "localhost", "localhost", 65535, true },
		/* subdomains, with and without the apex */
		{ "*.example.com", "www.example.com", 1, true },
		{ "*.example.com", "a.b.example.com", 1, true },
		{ "*.example.com", "example.com", 1, true },
		{ "*.example.com", "notexample.com", 1, false },
		{ "*.example.com", "example.com.evil.net", 1, false },
		{ "*.Example.COM", "www.example.com", 1, true },
		{ "*.m\xc3\xbcnchen.de", "www.xn--mnchen-3ya.de", 1, true },
		{ ".example.com", "www.example.com", 1, true },
		{ ".example.com", "example.com", 1, false },
		{ ".example.com", "notexample.com", 1, false },
		{ "*.com", "com", 1, true },
		/* globs */
		{ "db-*.corp", "db-1.corp", 1, true },
		{ "db-*.corp", "db-1.x.corp", 1, true },
		{ "db-?.corp", "db-1.corp", 1, true },
		{ "db-?.corp", "db-12.corp", 1, false },
		{ "DB-*.Corp", "db-1.corp", 1, true },
		{ "*a*b*c", "xxaxxbxxbxc", 1, true },
		{ "*a*b*c", "xxaxxbxxbxcd", 1, false },
		{ "*example.com", "notexample.com", 1, true },
		{ "*.*", "a.b", 1, true },
		{ "*.*", "a", 1, false },
		{ "*.*", "10.0.0.1", 1, false },
		{ "ip-*", "ip-10-0-0-1", 1, true },
		{ "*.stag*.m\xc3\xbcnchen.de", "a.staging.xn--mnchen-3ya.de", 1, true },
		/* everything */
		{ "*", "example.com", 1, true },
		{ "*", "10.0.0.1", 1, true },
		{ "*", "::1", 1, true },
		/* addresses and networks */
		{ "10.0.0.1", "10.0.0.1", 1, true },
		{ "10.0.0.1", "10.0.0.2", 1, false },
		{ "10.0.0.0/8", "10.255.255.255", 1, true },
		{ "10.0.0.0/8", "11.0.0.0", 1, false },
		{ "10.0.0.0/8", "10.example.com", 1, false },
		{ "10.0.0.0/9", "10.127.0.1", 1, true },
		{ "10.0.0.0/9", "10.128.0.1", 1, false },
		{ "192.0.2.7/32", "192.0.2.7", 1, true },
		{ "192.0.2.7/32", "192.0.2.6", 1, false },
		{ "0.0.0.0/0", "1.2.3.4", 1, true },
		{ "0.0.0.0/0", "::1", 1, false },
		{ "::/0", "::1", 1, true },
		{ "::/0", "1.2.3.4", 1, false },
		{ "2001:db8::/32", "2001:db8:ffff::1", 1, true },
		{ "2001:db8::/32", "2001:db9::1", 1, false },
		{ "2001:DB8:0::1", "2001:db8::1", 1, true },
		{ "[2001:db8::1]", "2001:db8::1", 1, true },
		{ "[2001:db8::/32]", "2001:db8::1", 1, true },
		{ "::ffff:10.0.0.1", "10.0.0.1", 1, true },
		{ "::ffff:10.0.0.0/104", "10.9.9.9", 1, true },
		{ "::ffff:0.0.0.0/96", "10.9.9.9", 1, true },
		/* ports */
		{ "example.com:443", "example.com", 443, true },
		{ "example.com:443", "example.com", 80, false },
		{ "*.example.com:8000-8099", "a.example.com", 8000, true },
		{ "*.example.com:8000-8099", "a.example.com", 8099, true },
		{ "*.example.com:8000-8099", "a.example.com", 8100, false },
		{ "*:22", "anything", 22, true },
		{ "*:22", "10.0.0.1", 22, true },
		{ "*:22", "10.0.0.1", 23, false },
		{ "10.0.0.0/8:22", "10.1.1.1", 22, true },
		{ "10.0.0.0/8:22", "10.1.1.1", 23, false },
		{ "[::1]:443", "::1", 443, true },
		{ "[::1]:443", "::1", 444, false },
		{ "[2001:db8::/32]:443", "2001:db8::1", 443, true },
		{ "[2001:db8::]/32:443", "2001:db8::1", 443, true },
		{ "[2001:db8::]/32:443", "2001:db8::1", 80, false },
		/* regular expressions: the whole name */
		{ "re:^build[0-9]+\\.example\\.com$", "build12.example.com", 1, true },
		{ "re:build[0-9]+\\.example\\.com", "build12.example.com", 1, true },
		{ "re:build[0-9]+\\.example\\.com", "xbuild12.example.com", 1, false },
		{ "re:build[0-9]+\\.example\\.com", "build12.example.com.evil.net", 1, false },
		{ "re:BUILD[0-9]", "build1", 1, true },
		{ "re:a|ab", "ab", 1, true },
		{ "re:a|b", "ab", 1, false },
		{ "re:x)|(ab", "zab", 1,
		  false }, /* does not compile, see below, or does not match */
		{ "re:a.c:443", "abc", 443, true },
		{ "re:a.c:443", "abc", 80, false },
		{ "re:[[:alpha:]]+", "abc", 80, true },
		{ "re:.*", "a.b.c", 1, true },
		{ "re:.*", "10.0.0.1", 1, false },
		{ "re:a{2,3}", "aaa", 1, true },
		{ "re:a{2,3}", "aaaa", 1, false },
		{ "re:[a-z]{1,63}\\.[a-z]{1,63}", "abc.de", 1, true },
		{ "re:[]+{9}a]+", "a", 1, true },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct pattern p;
		struct subject s;
		struct err e;

		if (pattern_parse(&p, rows[i].pattern, &e) != 0) {
			if (rows[i].want)
				fail_msg("%s", e.msg);
			continue;
		}
		subject_init(&s, rows[i].host, rows[i].port);
		if (pattern_matches(&p, &s) != rows[i].want)
			fail_msg("'%s' against '%s' port %u: %s", rows[i].pattern, rows[i].host,
				 rows[i].port, rows[i].want ? "no match" : "a match");
		pattern_free(&p);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *pattern, *why;
	} rows[] = {
		{ "", "empty" },
		{ ":443", "write * for every host" },
		{ "a b", "blank" },
		{ "http://example.com", "no port" },
		{ "example.com/path", "a network begins with a whole address" },
		{ "example.com:0", "no port" },
		{ "example.com:65536", "no port" },
		{ "example.com:http", "no port" },
		{ "example.com:", "no port" },
		{ "example.com:90-80", "above" },
		{ "example.com:80-", "no port" },
		{ "example.com:-80", "no port" },
		{ "example.com:1-2-3", "no port" },
		{ "10.1.2.3/8", "write 10.0.0.0/8" },
		{ "2001:db8::1/32", "write 2001:db8::/32" },
		{ "10.0.0.0/33", "0 to 32" },
		{ "::/129", "0 to 128" },
		{ "10.0.0.0/", "0 to 32" },
		{ "10.0.0.0/8/8", "0 to 32" },
		{ "10/8", "whole address" },
		{ "127.1", "write it so" },
		{ "0x7f.1", "address 127.0.0.1" },
		{ "8080", "address 0.0.31.144" },
		{ "10.*", "write a network" },
		{ "192.168.*.*", "write a network" },
		{ "10.0.0.?", "write a network" },
		{ "*.10.0.0.1", "no subdomains" },
		{ "*.300", "no subdomains" },
		{ ".", "empty" },
		{ "*.", "empty" },
		{ "..example.com", "empty label" },
		{ "*..example.com", "empty label" },
		{ "a*..b", "empty label" },
		{ "a*b..", "empty label" },
		{ "[1.2.3.4]", "only IPv6" },
		{ "[::1", "without ']'" },
		{ "fe80::1%eth0", "'%'" },
		{ "a*\xc3\xbc.de", "A-label" },
		{ "a*b/c", "whole address" },
		{ "a*,b", "wildcards go with" },
		{ "re:", "empty" },
		{ "re:(", "pattern" },
		{ "re:[", "pattern" },
		{ "re:(a)\\1", "back references" },
		{ "re:((a{99}){99}){99}", "too large" },
		{ "re:a{257}", "too large" },
		{ "re:a++++++++++++++++++++++++", "too large" },
		{ "re:((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)", "too large" },
		{ "re:([[:digit:]]{99}[]x]{1,99}){64}", "too large" },
		{ "re:m\xc3\xbcnchen", "A-label" },
		{ "re:a:0", "no port" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct pattern p;
		struct err e = { 0 };

		if (pattern_parse(&p, rows[i].pattern, &e) == 0)
			fail_msg("accepted: '%s' (kind %d, %s)", rows[i].pattern, p.kind,
				 p.text ? p.text : "");
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, rows[i].why))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].pattern, e.msg,
				 rows[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
