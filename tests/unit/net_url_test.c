/* URLs taken apart. */
#include <string.h>

#include "base/mem.h"
#include "net/url.h"
#include "tests/support/cmocka_all.h"

static void good_ones(void **state)
{
	static const struct {
		const char *text;
		bool tls, v6;
		const char *host, *authority;
		uint16_t port;
		const char *target;
	} cases[] = {
		{ "http://a", false, false, "a", "a", 80, "/" },
		{ "https://a.b-c_d/", true, false, "a.b-c_d", "a.b-c_d", 443, "/" },
		{ "HTTPS://A/x?y=1&z=+%2f//..", true, false, "A", "A", 443, "/x?y=1&z=+%2f//.." },
		{ "http://a:8080?q", false, false, "a", "a:8080", 8080, "/?q" },
		{ "http://a:80/", false, false, "a", "a", 80, "/" },
		{ "https://a:80/", true, false, "a", "a:80", 80, "/" },
		{ "https://a:443", true, false, "a", "a", 443, "/" },
		{ "http://[::1]:9/p", false, true, "::1", "[::1]:9", 9, "/p" },
		{ "http://[fd00:ec2::254]/p@q:r", false, true, "fd00:ec2::254", "[fd00:ec2::254]",
		  80, "/p@q:r" },
		{ "http://169.254.169.254/latest", false, false, "169.254.169.254",
		  "169.254.169.254", 80, "/latest" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct url u;
		struct err e;
		char *target;

		assert_int_equal(url_parse(cases[i].text, "http", "https", &u, &e), 0);
		assert_int_equal(u.tls, cases[i].tls);
		assert_int_equal(u.v6, cases[i].v6);
		assert_string_equal(u.host, cases[i].host);
		assert_string_equal(u.authority, cases[i].authority);
		assert_int_equal(u.port, cases[i].port);
		target = url_target(&u);
		assert_string_equal(target, cases[i].target);
		mem_free(target);
	}
}

static void bad_ones(void **state)
{
	static const char *const cases[] = {
		"",
		"http",
		"http:",
		"http:/a",
		"http//a",
		"ws://a",
		"httpss://a",
		"http://",
		"http:///path",
		"http://:80",
		"http://a:",
		"http://a:0",
		"http://a:65536",
		"http://a:+80",
		"http://a:080000000",
		"http://a: 80",
		"http://a:8x",
		"http://u@a",
		"http://u:p@a",
		"http://a#f",
		"http://a/b#f",
		"http://a b",
		"http://a/b c",
		"http://a/b\r\nX: y",
		"http://a/\x7f",
		"http://\xc3\xa9/",
		"http://a,b/",
		"http://a%41/",
		"http://a\\b/",
		"http://[::1",
		"http://::1/",
		"http://[]/",
		"http://[::1%25lo]/",
		"http://[::1]x/",
		"http://[g::1]/",
	};
	char longer[300] = "http://";

	(void)state;
	memset(longer + 7, 'a', 254);
	for (size_t i = 0; i <= COUNT(cases); i++) {
		struct url u;
		struct err e = { 0 };

		if (url_parse(i < COUNT(cases) ? cases[i] : longer, "http", "https", &u, &e) == 0)
			print_error("taken: %s\n", i < COUNT(cases) ? cases[i] : longer);
		assert_int_equal(e.code, ERR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
