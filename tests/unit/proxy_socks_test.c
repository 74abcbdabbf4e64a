/* SOCKS messages: right ones, wrong ones, and each cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "base/mem.h"
#include "proxy/socks.h"
#include "proxy/socks_udp.h"

enum kind { GREETING, FIVE, FOUR };
#define T(bytes) bytes, sizeof(bytes) - 1
#define N50      "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define N255     N50 N50 N50 N50 N50 "nnnnn"

static const struct {
	const char *name;
	enum kind kind;
	const char *in;
	size_t n;
	enum socks_step step;
	size_t used;
	int reply;        /* BAD: the SOCKS5 reply; a greeting: the method */
	const char *host; /* DONE */
	uint16_t port;
} cases[] = {
	{ "greeting", GREETING, T("\5\1\0"), 1, 3, 0, NULL, 0 },
	{ "greeting, three", GREETING, T("\5\3\2\1\0\5"), 1, 5, 0, NULL, 0 },
	{ "only password", GREETING, T("\5\1\2"), 1, 3, 255, NULL, 0 },
	{ "no methods", GREETING, T("\5\0"), 1, 2, 255, NULL, 0 },
	{ "greeting cut", GREETING, T("\5\2\0"), 0, 0, 0, NULL, 0 },
	{ "greeting 4", GREETING, T("\4\1\0"), -1, 0, 1, NULL, 0 },
	{ "ipv4", FIVE, T("\5\1\0\1\x7f\0\0\1\0\x50rest"), 1, 10, 0, "127.0.0.1", 80 },
	{ "ipv6", FIVE, T("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb"), 1, 22, 0, "::1", 443 },
	{ "name", FIVE, T("\5\1\0\3\5ab.cd\xff\xff"), 1, 12, 0, "ab.cd", 65535 },
	{ "name of 255", FIVE, T("\5\1\0\3\xff" N255 "\0\1"), 1, 262, 0, N255, 1 },
	{ "reserved byte set", FIVE, T("\5\1\x55\3\1a\0\1"), 1, 8, 0, "a", 1 },
	{ "port 0", FIVE, T("\5\1\0\3\1a\0\0"), 1, 8, 0, "a", 0 },
	{ "empty name", FIVE, T("\5\1\0\3\0\0\1"), -1, 0, 1, NULL, 0 },
	{ "bind", FIVE, T("\5\2\0\1\x7f\0\0\1\0\x50"), -1, 0, 7, NULL, 0 },
	{ "udp", FIVE, T("\5\3\0\1\0\0\0\0\0\0"), 1, 10, 0, "0.0.0.0", 0 },
	{ "udp, ipv6", FIVE, T("\5\3\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7x"), 1, 22, 0,
	  "::", 7 },
	{ "udp, no name", FIVE, T("\5\3\0\3\0\0\0"), -1, 0, 1, NULL, 0 },
	{ "udp of SOCKS4", FOUR, T("\4\3\0\x50\x0a\0\0\1me\0"), -1, 0, 7, NULL, 0 },
	{ "command 0", FIVE, T("\5\0\0\1\x7f\0\0\1\0\x50"), -1, 0, 7, NULL, 0 },
	{ "command 255", FIVE, T("\5\xff\0\1\x7f\0\0\1\0\x50"), -1, 0, 7, NULL, 0 },
	{ "address type 0", FIVE, T("\5\1\0\0"), -1, 0, 8, NULL, 0 },
	{ "address type 2", FIVE, T("\5\1\0\2abc"), -1, 0, 8, NULL, 0 },
	{ "version 4 inside", FIVE, T("\4\1\0\1\x7f\0\0\1\0\x50"), -1, 0, 1, NULL, 0 },
	{ "cut", FIVE, T("\5\1\0\3\5ab.cd\0"), 0, 0, 0, NULL, 0 },
	{ "4", FOUR, T("\4\1\0\x50\x0a\0\0\1me\0rest"), 1, 11, 0, "10.0.0.1", 80 },
	{ "4 no user", FOUR, T("\4\1\0\x50\x0a\0\0\1\0"), 1, 9, 0, "10.0.0.1", 80 },
	{ "4a", FOUR, T("\4\1\0\x50\0\0\0\1me\0a.b\0x"), 1, 15, 0, "a.b", 80 },
	{ "4 to 0.0.0.0", FOUR, T("\4\1\0\x50\0\0\0\0\0"), 1, 9, 0, "0.0.0.0", 80 },
	{ "4a empty", FOUR, T("\4\1\0\x50\0\0\0\1me\0\0"), -1, 0, 1, NULL, 0 },
	{ "4a 255", FOUR, T("\4\1\0\1\0\0\0\7\0" N255 "\0"), 1, 265, 0, N255, 1 },
	{ "4a 256", FOUR, T("\4\1\0\1\0\0\0\7\0" N255 "n\0"), -1, 0, 1, NULL, 0 },
	{ "4 user of 255", FOUR, T("\4\1\0\1\1\0\0\7" N255 "\0"), 1, 264, 0, "1.0.0.7", 1 },
	{ "4 user of 256", FOUR, T("\4\1\0\1\1\0\0\7" N255 "n\0"), -1, 0, 1, NULL, 0 },
	{ "4 bind", FOUR, T("\4\2\0\x50\x0a\0\0\1me\0"), -1, 0, 7, NULL, 0 },
	{ "4 version 5", FOUR, T("\5\1\0\x50\x0a\0\0\1me\0"), -1, 0, 1, NULL, 0 },
	{ "4 cut", FOUR, T("\4\1\0\x50\0\0\0\1me\0a.b"), 0, 0, 0, NULL, 0 },
};

static enum socks_step decode(enum kind kind, const char *in, size_t n, size_t *used,
			      uint8_t *method, struct socks_dest *d, struct err *e)
{
	uint8_t *exact = mem_alloc(n + 1), *p = exact + 1; /* at the end: a read past it shows */
	enum socks_step step;

	memcpy(p, in, n);
	if (kind == GREETING)
		step = socks5_greeting(p, n, SOCKS_NO_AUTH, used, method, e);
	else
		step = (kind == FIVE ? socks5_request : socks4_request)(p, n, used, d, e);
	if (step == SOCKS_DONE && d->name) /* into the copy that goes now */
		d->name = in + ((const uint8_t *)d->name - p);
	mem_free(exact);
	return step;
}

static void messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct socks_dest d = { 0 };
		struct err e = { 0 };
		uint8_t method = 1;
		size_t used = 0;
		enum socks_step step = SOCKS_MORE;

		for (size_t cut = 0; cut <= cases[i].n && step == SOCKS_MORE; cut++)
			step = decode(cases[i].kind, cases[i].in, cut, &used, &method, &d, &e);
		if (step != cases[i].step)
			fail_msg("%s, cut: step %d (%s)", cases[i].name, step, e.msg);
		step = decode(cases[i].kind, cases[i].in, cases[i].n, &used, &method, &d, &e);
		if (step != cases[i].step)
			fail_msg("%s: step %d (%s)", cases[i].name, step, e.msg);
		if (step == SOCKS_BAD && err_socks_reply(e.code) != cases[i].reply)
			fail_msg("%s: reply %d", cases[i].name, err_socks_reply(e.code));
		if (step != SOCKS_DONE)
			continue;
		if (used != cases[i].used)
			fail_msg("%s: used %zu", cases[i].name, used);
		if (cases[i].kind == GREETING) {
			assert_int_equal(method, cases[i].reply);
			continue;
		}
		assert_int_equal(d.port, cases[i].port);
		assert_int_equal(d.udp, strncmp(cases[i].name, "udp", 3) == 0);
		if (d.name) {
			assert_int_equal(d.name_len, strlen(cases[i].host));
			assert_memory_equal(d.name, cases[i].host, d.name_len);
		} else {
			assert_string_equal(d.literal, cases[i].host);
		}
	}
}

static const struct {
	const char *name, *in;
	size_t n, used;
	enum err_code code; /* ERR_NONE: right */
	const char *host;
	uint16_t port;
} datagrams[] = {
	{ "v4",
	  T("\0\0\0\1\x7f\0\0\1\0\x35"
	    "data"),
	  10, ERR_NONE, "127.0.0.1", 53 },
	{ "v4, no data", T("\0\0\0\1\x7f\0\0\1\0\x35"), 10, ERR_NONE, "127.0.0.1", 53 },
	{ "v6",
	  T("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x35"
	    "d"),
	  22, ERR_NONE, "::1", 53 },
	{ "name", T("\0\0\0\3\3a.b\0\x35\0"), 10, ERR_NONE, "a.b", 53 },
	{ "name of 255", T("\0\0\0\3\xff" N255 "\0\1"), 262, ERR_NONE, N255, 1 },
	{ "reserved bytes set", T("\1\2\0\1\x7f\0\0\1\0\x35"), 10, ERR_NONE, "127.0.0.1", 53 },
	{ "port 0", T("\0\0\0\1\x7f\0\0\1\0\0"), 10, ERR_NONE, "127.0.0.1", 0 },
	{ "fragment 1", T("\0\0\1\1\x7f\0\0\1\0\x35x"), 0, ERR_UNSUPPORTED, NULL, 0 },
	{ "last fragment", T("\0\0\x81\1\x7f\0\0\1\0\x35x"), 0, ERR_UNSUPPORTED, NULL, 0 },
	{ "nothing", T(""), 0, ERR_PROTO, NULL, 0 },
	{ "no type", T("\0\0\0"), 0, ERR_PROTO, NULL, 0 },
	{ "v4 cut", T("\0\0\0\1\x7f\0\0\1\0"), 0, ERR_PROTO, NULL, 0 },
	{ "v6 cut", T("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0"), 0, ERR_PROTO, NULL, 0 },
	{ "name cut", T("\0\0\0\3\4a.b\0\1"), 0, ERR_PROTO, NULL, 0 },
	{ "empty name", T("\0\0\0\3\0\0\1"), 0, ERR_PROTO, NULL, 0 },
	{ "type 2", T("\0\0\0\2\x7f\0\0\1\0\x35"), 0, ERR_ADDRTYPE, NULL, 0 },
};

static void udp_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(datagrams) / sizeof(*datagrams); i++) {
		struct socks_dest d;
		struct err e = { 0 };
		size_t used = 0, n = datagrams[i].n;
		uint8_t *exact = mem_alloc(n + 1), *p = exact + 1;
		int r;

		memcpy(p, datagrams[i].in, n);
		r = socks_udp_decode(p, n, &used, &d, &e);
		if ((r == 0) != (datagrams[i].code == ERR_NONE) ||
		    (r && e.code != datagrams[i].code))
			fail_msg("%s: %d, %s", datagrams[i].name, r, e.msg);
		if (r == 0) {
			assert_int_equal(used, datagrams[i].used);
			assert_int_equal(d.port, datagrams[i].port);
			if (d.name)
				assert_memory_equal(d.name, datagrams[i].host, d.name_len);
			else
				assert_string_equal(d.literal, datagrams[i].host);
		}
		mem_free(exact);
	}
}

static void udp_headers_back(void **state)
{
	static const char *const hosts[] = { "10.0.0.1", "2001:db8::7" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t out[SOCKS_UDP_HEAD_MAX];
		struct socks_dest d;
		struct addr a;
		struct err e;
		size_t n, used;

		assert_true(addr_from_literal(hosts[i], 5353, &a));
		n = socks_udp_header(out, &a);
		assert_int_equal(n, i ? 22 : 10);
		assert_int_equal(socks_udp_decode(out, n, &used, &d, &e), 0);
		assert_int_equal(used, n);
		assert_string_equal(d.literal, hosts[i]);
		assert_int_equal(d.port, 5353);
	}
}

static void replies(void **state)
{
	uint8_t out[SOCKS_REPLY_MAX];
	struct addr four = { 0 }, six = { 0 };
	struct sockaddr_in *a = (void *)&four.ss;
	struct sockaddr_in6 *b = (void *)&six.ss;

	(void)state;
	a->sin_family = AF_INET;
	a->sin_port = htons(0x1234);
	a->sin_addr.s_addr = htonl(0x0a000001);
	b->sin6_family = AF_INET6;
	b->sin6_port = htons(0x1234);
	b->sin6_addr = in6addr_loopback;
	assert_int_equal(socks5_reply(out, 5, NULL), 10);
	assert_memory_equal(out, "\5\5\0\1\0\0\0\0\0\0", 10);
	assert_int_equal(socks5_reply(out, 0, &four), 10);
	assert_memory_equal(out, "\5\0\0\1\x0a\0\0\1\x12\x34", 10);
	assert_int_equal(socks5_reply(out, 0, &six), 22);
	assert_memory_equal(out, "\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x12\x34", 22);
	assert_int_equal(socks4_reply(out, SOCKS4_GRANTED, NULL), 8);
	assert_memory_equal(out, "\0\x5a\0\0\0\0\0\0", 8);
	assert_int_equal(socks4_reply(out, SOCKS4_REJECTED, &four), 8);
	assert_memory_equal(out, "\0\x5b\x12\x34\x0a\0\0\1", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(udp_headers),
		cmocka_unit_test(udp_headers_back),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
