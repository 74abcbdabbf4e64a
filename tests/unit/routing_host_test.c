#include "routing/host.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define L63    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

static int normalize(const char *in, struct host *h, struct err *e)
{
	return host_normalize(in, strlen(in), h, e);
}

static void names(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "example.com", "example.com" },
		{ "EXAMPLE.Com", "example.com" },
		{ "example.com.", "example.com" },
		{ "localhost", "localhost" },
		{ "a", "a" },
		{ "a.", "a" },
		{ "_sip._tcp.example.com", "_sip._tcp.example.com" },
		{ "r1---sn-x.example.com", "r1---sn-x.example.com" },
		{ "trailing-.example.com", "trailing-.example.com" },
		{ "1a.example", "1a.example" },
		{ "1.2.3.com", "1.2.3.com" },
		{ "0x7g", "0x7g" },
		{ "x0x7f", "x0x7f" },
		{ "10.0.0.1.example", "10.0.0.1.example" },
		{ "i-0123456789abcdef0", "i-0123456789abcdef0" },
		{ "ip-10-0-0-1.ec2.internal", "ip-10-0-0-1.ec2.internal" },
		{ L63 "." L63, L63 "." L63 },
		{ "XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de" },
		{ "xn--a", "xn--a" }, /* no valid A-label, but a name of the DNS all the same */
		/* IDN, UTS 46 non-transitional */
		{ "m\xc3\xbcnchen.de", "xn--mnchen-3ya.de" },
		{ "M\xc3\x9cNCHEN.DE", "xn--mnchen-3ya.de" },
		{ "mu\xcc\x88nchen.de", "xn--mnchen-3ya.de" }, /* decomposed */
		{ "fa\xc3\x9f.de", "xn--fa-hia.de" }, /* sharp s stays (non-transitional) */
		{ "\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88",
		  "xn--r8jz45g.xn--zckzah" },
		{ "b\xc3\xbc\x63her\xe3\x80\x82\x64\x65",
		  "xn--bcher-kva.de" },                                    /* ideographic dot */
		{ "exam\xc2\xadple.com", "example.com" },                  /* soft hyphen */
		{ "\xef\xbd\x85\xef\xbd\x98\xef\xbd\x81.com", "exa.com" }, /* full width */
		{ "m\xc3\xbcnchen.de.", "xn--mnchen-3ya.de" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct host h;
		struct err e;

		if (normalize(rows[i].in, &h, &e) != 0)
			fail_msg("%s: %s", rows[i].in, e.msg);
		assert_string_equal(h.text, rows[i].want);
		assert_false(h.is_address);
	}
}

static void addresses(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "127.0.0.1.", "127.0.0.1" },
		{ "127.1", "127.0.0.1" },
		{ "127.0.1", "127.0.0.1" },
		{ "2130706433", "127.0.0.1" },
		{ "0x7f000001", "127.0.0.1" },
		{ "0X7F000001", "127.0.0.1" },
		{ "0x7f.1", "127.0.0.1" },
		{ "0177.0.0.1", "127.0.0.1" },
		{ "0177.0x0.00.0x1", "127.0.0.1" },
		{ "017700000001", "127.0.0.1" },
		{ "0", "0.0.0.0" },
		{ "00", "0.0.0.0" },
		{ "1.2", "1.0.0.2" },
		{ "1.2.3", "1.2.0.3" },
		{ "1.65535", "1.0.255.255" },
		{ "1.16777215", "1.255.255.255" },
		{ "1.2.65535", "1.2.255.255" },
		{ "4294967295", "255.255.255.255" },
		{ "0xa9fea9fe", "169.254.169.254" },
		{ "169.254.43518", "169.254.169.254" },
		{ "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.1", "127.0.0.1" }, /* full-width digits */
		{ "127\xe3\x80\x82\x30\xe3\x80\x82\x30\xe3\x80\x82\x31", "127.0.0.1" },
		/* IPv6, RFC 5952 */
		{ "::1", "::1" },
		{ "[::1]", "::1" },
		{ "::", "::" },
		{ "[::]", "::" },
		{ "0:0:0:0:0:0:0:1", "::1" },
		{ "2001:DB8::1", "2001:db8::1" },
		{ "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" }, /* one group is not cut */
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },    /* the first of equals */
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },          /* the longest */
		{ "1::", "1::" },
		{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
		{ "1:2:3:4:5:6::", "1:2:3:4:5:6::" },
		{ "::3:4:5:6:7:8", "::3:4:5:6:7:8" },
		{ "fe80::1", "fe80::1" },
		{ "[::ffff:1.2.3.4]", "1.2.3.4" },
		{ "::ffff:7f00:1", "127.0.0.1" },
		{ "0:0:0:0:0:ffff:169.254.169.254", "169.254.169.254" },
		{ "::1.2.3.4", "::102:304" }, /* compatible, not mapped: stays */
		{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct host h;
		struct err e;

		if (normalize(rows[i].in, &h, &e) != 0)
			fail_msg("%s: %s", rows[i].in, e.msg);
		assert_string_equal(h.text, rows[i].want);
		assert_true(h.is_address);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *in;
		size_t n; /* 0: strlen */
		const char *why;
	} rows[] = {
		{ "", 0, "empty" },
		{ ".", 0, "empty label" },
		{ "..", 0, "empty label" },
		{ "a..b", 0, "empty label" },
		{ ".a", 0, "empty label" },
		{ "a..", 0, "empty label" },
		{ "evil.com\0.example.com", 21, "NUL" },
		{ "\0", 1, "NUL" },
		{ "a b", 0, "blank" },
		{ " a", 0, "blank" },
		{ "a\tb", 0, "control" },
		{ "a\r\nb", 0, "control" },
		{ "a\x7f", 0, "control" },
		{ "a%20b", 0, "'%'" },
		{ "%31%32%37.1", 0, "'%'" },
		{ "user@host", 0, "'@'" },
		{ "a/b", 0, "'/'" },
		{ "a\\b", 0, "'\\'" },
		{ "a?b", 0, "'?'" },
		{ "a#b", 0, "'#'" },
		{ "a,b", 0, "','" },
		{ "a*b", 0, "'*'" },
		{ "a!b", 0, "'!'" },
		{ "-oProxyCommand", 0, "begins with '-'" },
		{ "a]", 0, "']'" },
		{ "256.256.256.256", 0, "looks like an IPv4" },
		{ "1.2.3.4.5", 0, "looks like an IPv4" },
		{ "1.2.3.256", 0, "looks like an IPv4" },
		{ "256.1", 0, "looks like an IPv4" },
		{ "1.16777216", 0, "looks like an IPv4" },
		{ "1.2.65536", 0, "looks like an IPv4" },
		{ "4294967296", 0, "looks like an IPv4" },
		{ "99999999999999999999999999", 0, "looks like an IPv4" },
		{ "08.0.0.1", 0, "looks like an IPv4" },
		{ "1.2.3.09", 0, "looks like an IPv4" },
		{ "0x", 0, "looks like an IPv4" },
		{ "1.0x", 0, "looks like an IPv4" },
		{ "0x100000000", 0, "looks like an IPv4" },
		{ "foo.0x4", 0, "looks like an IPv4" },
		{ "foo.2", 0, "looks like an IPv4" },
		{ "a.b.09", 0, "looks like an IPv4" },
		{ "1..2", 0, "looks like an IPv4" },
		{ "[1.2.3.4]", 0, "IPv6" },
		{ "[::1", 0, "without ']'" },
		{ "[", 0, "without ']'" },
		{ "[]", 0, "IPv6" },
		{ "::1]", 0, "IPv6" },
		{ "[[::1]]", 0, "IPv6" },
		{ "[::1].", 0, "without ']'" },
		{ ":", 0, "IPv6" },
		{ ":::", 0, "IPv6" },
		{ "1:2:3", 0, "IPv6" },
		{ "12345::", 0, "IPv6" },
		{ "::1%lo", 0, "'%'" },
		{ "[fe80::1%25eth0]", 0, "'%'" },
		{ "a:80", 0, "IPv6" },
		{ "::ffff:1.2.3.256", 0, "IPv6" },
		{ "::ffff:1.2.3", 0, "IPv6" },
		{ "0000000000000000000000000000000000000000000000::1", 0, "IPv6" },
		{ L63 "a", 0, "63" },
		{ L63 "." L63 "." L63 "." L63 ".ab", 0, "253" },
		{ "\xff\xfe", 0, "international" },
		{ "a\xc3", 0, "international" },
		{ "\xed\xa0\x80.com", 0, "international" }, /* a surrogate */
		{ "\xe2\x80\xae.com", 0, "international" }, /* right-to-left override */
		{ "\xef\xbc\x85.com\xc3\xbc", 0, "'%'" },   /* full-width percent sign */
		{ "a\xef\xbc\x8f"
		  "b.com",
		  0, "'/'" },               /* full-width slash */
		{ "\xc2\xad", 0, "empty" }, /* nothing is left */
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct host h;
		struct err e = { 0 };
		size_t n = rows[i].n ? rows[i].n : strlen(rows[i].in);

		if (host_normalize(rows[i].in, n, &h, &e) == 0)
			fail_msg("row %zu: '%s' became '%s'", i, rows[i].in, h.text);
		assert_int_equal(e.code, ERR_PROTO);
		if (!strstr(e.msg, rows[i].why))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].in, e.msg, rows[i].why);
	}
}

/* What the system's inet_aton() takes for an address, we take for the same one. */
static void agrees_with_inet_aton(void **state)
{
	static const char alphabet[] = "0123456789xX.abf";

	(void)state;
	for (int i = 0; i < 200000; i++) {
		char in[16] = "";
		struct in_addr a;
		struct host h;
		uint32_t n = 1 + random_below(12);

		for (uint32_t j = 0; j < n; j++)
			in[j] = alphabet[random_below(sizeof(alphabet) - 1)];
		if (inet_aton(in, &a) != 1)
			continue;
		if (normalize(in, &h, NULL) != 0)
			fail_msg("'%s' is refused", in);
		assert_true(h.is_address);
		assert_string_equal(h.text, inet_ntoa(a));
	}
}

/* RFC 5952 against the system's inet_ntop() (equal but for the compatible form). */
static void agrees_with_inet_ntop(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct host_addr a = { .size = 16 };
		char want[INET6_ADDRSTRLEN], got[HOST_MAX];

		random_bytes(a.byte, 16);
		a.byte[0] |= 0x20;
		for (int z = 0; z < 6; z++) { /* runs of zeros */
			uint32_t g = random_below(8);

			if (g)
				a.byte[2 * g] = a.byte[2 * g + 1] = 0;
		}
		inet_ntop(AF_INET6, a.byte, want, sizeof(want));
		host_addr_format(&a, got);
		assert_string_equal(got, want);
	}
}

static void longest_name_fits(void **state)
{
	char in[255];
	struct host h;
	struct err e;

	(void)state;
	memset(in, 'a', sizeof(in));
	in[63] = in[127] = in[191] = '.';
	assert_int_equal(host_normalize(in, 253, &h, &e), 0);
	assert_int_equal(strlen(h.text), 253);
	in[253] = '.';
	assert_int_equal(host_normalize(in, 254, &h, &e), 0);
	in[253] = 'a';
	assert_int_equal(host_normalize(in, 254, &h, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(addresses),
		cmocka_unit_test(refused),
		cmocka_unit_test(agrees_with_inet_aton),
		cmocka_unit_test(agrees_with_inet_ntop),
		cmocka_unit_test(longest_name_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
