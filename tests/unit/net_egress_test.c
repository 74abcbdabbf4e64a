/* What decides about the proxy in front of AWS, and what is said to it. */
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/http_connect.h"
#include "net/socks_connect.h"
#include "net/no_proxy.h"
#include "tests/support/cmocka_all.h"

static void no_proxy_forms(void **state)
{
	static const struct {
		const char *list, *host;
		uint16_t port;
		bool covers;
	} cases[] = {
		{ "ssm.us-east-1.amazonaws.com", "ssm.us-east-1.amazonaws.com", 443, true },
		{ "amazonaws.com", "ssm.us-east-1.amazonaws.com", 443, true },
		{ ".amazonaws.com", "ssm.us-east-1.amazonaws.com", 443, true },
		{ ".amazonaws.com", "amazonaws.com", 443, true },
		{ "*.amazonaws.com", "ssm.us-east-1.amazonaws.com", 443, true },
		{ "AmazonAWS.com", "ssm.us-east-1.AMAZONAWS.com.", 443, true },
		{ "zonaws.com", "ssm.us-east-1.amazonaws.com", 443, false },
		{ "ssm.us-east-1.amazonaws.com.example", "ssm.us-east-1.amazonaws.com", 443,
		  false },
		{ "a, b  c,,d", "c", 443, true },
		{ "a,b", "c", 443, false },
		{ "*", "anything", 1, true },
		{ "a:443", "a", 443, true },
		{ "a:8443", "a", 443, false },
		{ "a:x", "a", 443, false },
		{ "127.0.0.1", "127.0.0.1", 80, true },
		{ "127.0.0.1:81", "127.0.0.1", 80, false },
		{ "127.0.0.0/8", "127.9.9.9", 80, true },
		{ "10.0.0.0/9", "10.127.0.1", 80, true },
		{ "10.0.0.0/9", "10.128.0.1", 80, false },
		{ "10.0.0.0/33", "10.0.0.1", 80, false },
		{ "0.0.0.0/0", "10.0.0.1", 80, true },
		{ "0.0.0.0/0", "fd00::1", 80, false },
		{ "::1", "::1", 80, true },
		{ "[::1]", "::1", 80, true },
		{ "[::1]:80", "::1", 80, true },
		{ "[::1]:81", "::1", 80, false },
		{ "fd00::/8", "fdff::1", 80, true },
		{ "fd00::/8", "fe80::1", 80, false },
		{ "127.0.0.1", "localhost", 80, false },
		{ "0.0.1", "127.0.0.1", 80, false }, /* an address has no domain */
		{ "", "a", 80, false },
		{ ".", "a", 80, false },
		{ NULL, "a", 80, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (no_proxy_covers(cases[i].list, cases[i].host, cases[i].port) != cases[i].covers)
			fail_msg("'%s' for %s:%u", cases[i].list ? cases[i].list : "(none)",
				 cases[i].host, cases[i].port);
}

static void proxy_urls(void **state)
{
	static const struct {
		const char *text, *host, *basic; /* host NULL: refused */
		uint16_t port;
		bool tls;
	} cases[] = {
		{ "http://p.example:3128", "p.example", NULL, 3128, false },
		{ "http://p.example", "p.example", NULL, 80, false },
		{ "https://p.example/", "p.example", NULL, 443, true },
		{ "p.example:3128", "p.example", NULL, 3128, false },
		{ "http://[::1]:3128", "::1", NULL, 3128, false },
		{ "http://user:pass@p:1", "p", "Basic dXNlcjpwYXNz", 1, false },
		{ "http://us%40er:p%3As%2fs%25@p:1", "p", "Basic dXNAZXI6cDpzL3Ml", 1, false },
		{ "http://user@p:1", "p", "Basic dXNlcjo=", 1, false },
		{ "http://user:a@b@p:1", "p", "Basic dXNlcjphQGI=", 1, false },
		{ "http://u%3a:x@p:1", NULL, NULL, 0, false }, /* no colon in a user's name */
		{ "http://u%0:x@p:1", NULL, NULL, 0, false },
		{ "http://u%00:x@p:1", NULL, NULL, 0, false },
		{ "socks5h://p", "p", NULL, 1080, false },
		{ "socks5://u:p@[::1]:9", "::1", "Basic dTpw", 9, false },
		{ "socks5://p:80", "p", NULL, 80, false },
		{ "socks4://p:1080", NULL, NULL, 0, false },
		{ "http://", NULL, NULL, 0, false },
		{ "http://p:0", NULL, NULL, 0, false },
		{ "http://p/path", NULL, NULL, 0, false },
	};
	struct http_connect_proxy x;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int r = http_connect_parse(cases[i].text, "HTTPS_PROXY", &x, &e);

		print_message("%s\n", cases[i].text);
		assert_int_equal(r == 0, cases[i].host != NULL);
		if (r == 0) {
			assert_string_equal(x.host, cases[i].host);
			assert_int_equal(x.port, cases[i].port);
			assert_int_equal(x.tls, cases[i].tls);
			assert_int_equal(x.socks, cases[i].text[0] == 's');
			assert_int_equal(x.basic != NULL, cases[i].basic != NULL);
		} else {
			assert_int_equal(e.code, ERR_CONFIG);
			assert_non_null(strstr(e.msg, "HTTPS_PROXY"));
			assert_null(strstr(e.msg, ":x")); /* nor a password */
		}
		if (r == 0 && x.basic)
			assert_string_equal(x.basic, cases[i].basic);
		http_connect_free(&x);
	}
}

static void the_request(void **state)
{
	struct http_connect_proxy x;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(http_connect_parse("http://user:pass@p:1", "P", &x, NULL), 0);
	assert_int_equal(http_connect_request(&b, &x, "ssm.example", 443, NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_string_equal((const char *)buf_ptr(&b),
			    "CONNECT ssm.example:443 HTTP/1.1\r\nHost: ssm.example:443\r\n"
			    "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n");
	http_connect_free(&x);
	buf_clear(&b);
	assert_int_equal(http_connect_request(&b, &x, "::1", 80, NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_string_equal((const char *)buf_ptr(&b),
			    "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
	buf_free(&b);
}

static void the_answer(void **state)
{
	static const struct {
		const char *text;
		bool ended;
		enum http_connect_answer want;
		enum err_code code;
	} cases[] = {
		{ "", false, HTTP_CONNECT_MORE, ERR_NONE },
		{ "HTTP/1.1 200 OK\r\n", false, HTTP_CONNECT_MORE, ERR_NONE },
		{ "HTTP/1.1 200 OK\r\n\r\n", false, HTTP_CONNECT_OPEN, ERR_NONE },
		{ "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n", false,
		  HTTP_CONNECT_OPEN, ERR_NONE },
		/* what a 2xx says about a body does not count (RFC 9110, 9.3.6) */
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_CONNECT_OPEN,
		  ERR_NONE },
		{ "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 204 x\r\n\r\n", false, HTTP_CONNECT_OPEN,
		  ERR_NONE },
		/* what is behind is the far side's */
		{ "HTTP/1.1 200 OK\r\n\r\nx", false, HTTP_CONNECT_OPEN, ERR_NONE },
		{ "HTTP/1.1 407 Auth\r\nContent-Length: 5\r\n\r\n", false, HTTP_CONNECT_REFUSED,
		  ERR_DENIED },
		{ "HTTP/1.1 403 Filtered\r\n\r\nbody", false, HTTP_CONNECT_REFUSED, ERR_DENIED },
		{ "HTTP/1.1 502 Bad\r\n\r\n", false, HTTP_CONNECT_REFUSED, ERR_HOSTUNREACH },
		{ "HTTP/1.1 504 Late\r\n\r\n", false, HTTP_CONNECT_REFUSED, ERR_TIMEOUT },
		{ "HTTP/1.1 302 Go\r\nLocation: x\r\n\r\n", false, HTTP_CONNECT_REFUSED,
		  ERR_DENIED },
		{ "HTTP/1.1 200 OK\r\n", true, HTTP_CONNECT_REFUSED, ERR_CLOSED },
		{ "", true, HTTP_CONNECT_REFUSED, ERR_CLOSED },
		{ "SSH-2.0-x\r\n", false, HTTP_CONNECT_REFUSED, ERR_PROTO },
	};
	struct err e;
	size_t used;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		e = (struct err){ 0 };
		print_message("%zu: %s\n", i, cases[i].text);
		assert_int_equal(http_connect_answer(cases[i].text, strlen(cases[i].text),
						     cases[i].ended, &used, &e),
				 cases[i].want);
		if (cases[i].want == HTTP_CONNECT_OPEN)
			assert_int_equal(used,
					 strlen(cases[i].text) - !!strstr(cases[i].text, "\nx"));
		if (cases[i].want == HTTP_CONNECT_REFUSED)
			assert_int_equal(e.code, cases[i].code);
	}
}

/* What a SOCKS5 proxy with that URL is told until it has answered all of `answers`, each of which
 * is read to the byte. Returns the last step. */
static int talk(const char *url, const char *host, const char *answers, size_t n, const char *want,
		size_t want_n, struct err *e)
{
	enum socks_connect_phase phase = SOCKS_CONNECT_METHOD;
	struct http_connect_proxy x;
	struct buf said;
	const uint8_t *p = (const uint8_t *)answers;
	int step = 0;

	buf_init(&said, 4096);
	assert_int_equal(http_connect_parse(url, "x", &x, e), 0);
	assert_int_equal(socks_connect_greet(&x, &said, e), 0);
	while (step == 0 && n) {
		size_t needs = 0, more;

		while ((more = socks_connect_needs(phase, p, needs)) > needs) {
			needs = more;
			assert_true(needs <= n && needs <= SOCKS_CONNECT_ANSWER);
		}
		step = socks_connect_take(&phase, &x, host, 443, p, &said, e);
		p += needs;
		n -= needs;
	}
	assert_int_equal(buf_len(&said), want_n);
	assert_memory_equal(buf_ptr(&said), want, want_n);
	buf_free(&said);
	http_connect_free(&x);
	return step;
}

#define BYTES(s) s, sizeof(s) - 1

static void the_way_through_socks(void **state)
{
	static const struct {
		const char *reply;
		enum err_code code;
	} refusals[] = {
		{ "\5\1", ERR_DIAL },        { "\5\2", ERR_DENIED },  { "\5\3", ERR_NETUNREACH },
		{ "\5\4", ERR_HOSTUNREACH }, { "\5\5", ERR_REFUSED }, { "\5\6", ERR_TIMEOUT },
		{ "\5\x63", ERR_DIAL },      { "\4\1", ERR_PROTO },
	};
	struct err e = { 0 };
	char all[12] = "\5\0";

	(void)state;
	assert_int_equal(talk("socks5://p", "a.b", BYTES("\5\0\5\0\0\1\0\0\0\0\0\0"),
			      BYTES("\5\1\0\5\1\0\3\3a.b\1\xbb"), &e),
			 1);
	assert_int_equal(talk("socks5://u:pw@p", "10.0.0.1", BYTES("\5\2\1\0\5\0\0\3\2xy\0\0"),
			      BYTES("\5\2\0\2\1\1u\2pw\5\1\0\1\x0a\0\0\1\1\xbb"), &e),
			 1);
	assert_int_equal(talk("socks5://p", "::1", BYTES("\5\0"),
			      BYTES("\5\1\0\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb"), &e),
			 0);
	assert_int_equal(talk("socks5://p", "a", BYTES("\5\xff"), BYTES("\5\1\0"), &e), -1);
	assert_string_equal(e.msg, "it wants a user name and a password");
	assert_int_equal(
		talk("socks5://u:w@p", "a", BYTES("\5\2\1\1"), BYTES("\5\2\0\2\1\1u\1w"), &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(talk("socks5://p", "a", BYTES("HTTP"), BYTES("\5\1\0"), &e), -1);
	assert_int_equal(e.code, ERR_PROTO);
	for (size_t i = 0; i < COUNT(refusals); i++) {
		memcpy(all + 2, refusals[i].reply, 2);
		memcpy(all + 4, "\0\1\0\0\0\0\0\0", 8);
		assert_int_equal(
			talk("socks5://p", "a", all, 12, BYTES("\5\1\0\5\1\0\3\1a\1\xbb"), &e), -1);
		assert_int_equal(e.code, refusals[i].code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_proxy_forms),        cmocka_unit_test(proxy_urls),
		cmocka_unit_test(the_request),           cmocka_unit_test(the_answer),
		cmocka_unit_test(the_way_through_socks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
