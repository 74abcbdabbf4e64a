/* base/str.h, by tables. */
#include <string.h>

#include "base/str.h"
#include "tests/support/cmocka_all.h"

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t min, max, want;
		bool good;
	} cases[] = {
		{ "0", 0, 9, 0, true },
		{ "9", 0, 9, 9, true },
		{ "007", 0, 9, 7, true },
		{ "18446744073709551615", 0, UINT64_MAX, UINT64_MAX, true },
		{ "18446744073709551616", 0, UINT64_MAX, 0, false },
		{ "10", 0, 9, 0, false },
		{ "1", 2, 9, 0, false },
		{ "", 0, 9, 0, false },
		{ " 1", 0, 9, 0, false },
		{ "1 ", 0, 9, 0, false },
		{ "+1", 0, 9, 0, false },
		{ "-1", 0, UINT64_MAX, 0, false },
		{ "0x1", 0, 9, 0, false },
		{ "1e1", 0, 99, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		uint64_t got = 0;
		int r = str_number(cases[i].text, cases[i].min, cases[i].max, &got, &e);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].good ? 0 : -1);
		assert_int_equal(got, cases[i].want);
		assert_int_equal(e.code, cases[i].good ? ERR_NONE : ERR_USAGE);
	}
}

static void hosts_and_ports(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} cases[] = {
		{ "example.com:80", "example.com", 80 },
		{ "127.0.0.1:0", "127.0.0.1", 0 },
		{ "[::1]:1080", "::1", 1080 },
		{ ":1080", "", 1080 },
		{ "[]:1", "", 1 },
		{ "a:65535", "a", 65535 },
		{ "a:65536", NULL, 0 },
		{ "a:", NULL, 0 },
		{ "a", NULL, 0 },
		{ "", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "a:b:80", NULL, 0 },
		{ "a:8 0", NULL, 0 },
		{ "a:-1", NULL, 0 },
		{ "123456789012345678:1", NULL, 0 }, /* host[16] */
		{ "123456789012345:1", "123456789012345", 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char host[16] = "unset";
		uint16_t port = 0;
		struct err e = { 0 };
		int r = str_host_port(cases[i].text, host, sizeof(host), &port, &e);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].host ? 0 : -1);
		if (!cases[i].host)
			continue;
		assert_string_equal(host, cases[i].host);
		assert_int_equal(port, cases[i].port);
	}
}

/* RFC 4648, 10, and every length around a group. */
static void base64(void **state)
{
	static const struct {
		const char *plain, *coded;
	} cases[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xff\xfe\xfd", "//79" },
	};
	static const char *const bad[] = { "Z",    "Zg",     "Zg=",  "Zg==Zg==", "Z===",
					   "Zg=a", "Zm9v\n", "Zm-v", "Z m9",     "====" };
	char text[32];
	uint8_t bytes[32];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = strlen(cases[i].plain);

		print_message("'%s'\n", cases[i].coded);
		str_base64(cases[i].plain, n, text);
		assert_string_equal(text, cases[i].coded);
		assert_int_equal(str_base64_len(n), strlen(text) + 1);
		assert_int_equal(str_unbase64(text, strlen(text), bytes), n);
		assert_memory_equal(bytes, cases[i].plain, n);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		print_message("'%s'\n", bad[i]);
		assert_int_equal(str_unbase64(bad[i], strlen(bad[i]), bytes), -1);
	}
	assert_int_equal(str_unbase64("Zm\0v", 4, bytes), -1);
}

static void hex(void **state)
{
	static const char *const bad[] = {
		"", "0", "00f", "00fg", "00ff0", "00ff00", "g0ff", " 0ff"
	};
	char text[9];
	uint8_t bytes[4], back[4];

	(void)state;
	str_hex("\x00\xff\x1a\x09", 4, text);
	assert_string_equal(text, "00ff1a09");
	assert_true(str_unhex(text, back, 4));
	assert_memory_equal(back, "\x00\xff\x1a\x09", 4);
	assert_true(str_unhex("00FF1A09", back, 4));
	assert_memory_equal(back, "\x00\xff\x1a\x09", 4);
	assert_true(str_unhex("", bytes, 0));
	for (size_t i = 0; i < COUNT(bad); i++) {
		print_message("'%s'\n", bad[i]);
		assert_false(str_unhex(bad[i], bytes, 2));
	}
}

static void uri(void **state)
{
	static const struct {
		const char *in, *out, *path;
	} cases[] = {
		{ "", "", "" },
		{ "AZaz09-_.~", "AZaz09-_.~", "AZaz09-_.~" },
		{ "a b/c", "a%20b%2Fc", "a%20b/c" },
		{ "+=&%", "%2B%3D%26%25", "%2B%3D%26%25" },
		{ "\xc3\xa4", "%C3%A4", "%C3%A4" },
		{ "\x7f\x01", "%7F%01", "%7F%01" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = strlen(cases[i].in);

		assert_int_equal(str_uri_encode(cases[i].in, n, false, out), strlen(cases[i].out));
		assert_string_equal(out, cases[i].out);
		assert_int_equal(str_uri_encode(cases[i].in, n, true, out), strlen(cases[i].path));
		assert_string_equal(out, cases[i].path);
	}
	assert_int_equal(str_uri_encode("a\0b", 3, false, out), 5);
	assert_string_equal(out, "a%00b");
}

static void small_ones(void **state)
{
	char blanks[] = " \t a b \n", none[] = "", only[] = "   ", mixed[] = "AbZ[\xc4";
	char small[4];

	(void)state;
	assert_string_equal(str_trim(blanks), "a b");
	assert_string_equal(str_trim(none), "");
	assert_string_equal(str_trim(only), "");
	str_lower(mixed);
	assert_string_equal(mixed, "abz[\xc4");
	assert_true(str_starts("abc", "ab") && str_starts("abc", "") && !str_starts("a", "ab"));
	assert_true(str_ends("abc", "bc") && str_ends("abc", "") && !str_ends("c", "bc"));
	assert_true(str_eq_nocase("AbC", "aBc") && !str_eq_nocase("ab", "abc"));
	assert_true(str_fmt(small, sizeof(small), "%d", 123));
	assert_false(str_fmt(small, sizeof(small), "%d", 1234));
	assert_string_equal(small, "123");
}

static void numbers_as_text(void **state)
{
	static const uint8_t a[4] = { 0, 10, 200, 255 }, b[4] = { 255, 255, 255, 255 };
	char text[21];

	(void)state;
	assert_int_equal(str_decimal(0, text), 1);
	assert_string_equal(text, "0");
	assert_int_equal(str_decimal(65535, text), 5);
	assert_string_equal(text, "65535");
	assert_int_equal(str_decimal(UINT64_MAX, text), 20);
	assert_string_equal(text, "18446744073709551615");
	assert_int_equal(str_ipv4(a, text), 12);
	assert_string_equal(text, "0.10.200.255");
	assert_int_equal(str_ipv4(b, text), 15);
	assert_string_equal(text, "255.255.255.255");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(hosts_and_ports),
		cmocka_unit_test(base64),
		cmocka_unit_test(hex),
		cmocka_unit_test(uri),
		cmocka_unit_test(small_ones),
		cmocka_unit_test(numbers_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
