/* Where requests want to go, and the heads that are passed on. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "proxy/answer.h"
#include "proxy/http_head.h"

static void parse(const char *text, struct http1_head *h)
{
	struct err e = { 0 };

	if (http1_request(text, strlen(text), h, &e) != HTTP1_DONE)
		fail_msg("%s: %s", text, e.msg);
}

static const struct {
	const char *target;
	enum err_code code; /* ERR_NONE: right */
	const char *host;
	uint16_t port;
	const char *line, *host_field; /* as forwarded */
} plain[] = {
	{ "http://a.b/c?d", ERR_NONE, "a.b", 80, "/c?d", "a.b" },
	{ "HTTP://A.b", ERR_NONE, "A.b", 80, "/", "A.b" },
	{ "http://a:8080/", ERR_NONE, "a", 8080, "/", "a:8080" },
	{ "http://a:/x", ERR_NONE, "a", 80, "/x", "a" },
	{ "http://a?q", ERR_NONE, "a", 80, "/?q", "a" },
	{ "http://a:80?q@x", ERR_NONE, "a", 80, "/?q@x", "a:80" },
	{ "http://[::1]:81/x", ERR_NONE, "::1", 81, "/x", "[::1]:81" },
	{ "http://[::1]", ERR_NONE, "::1", 80, "/", "[::1]" },
	{ "http://a//b/../c", ERR_NONE, "a", 80, "//b/../c", "a" },
	{ "/x", ERR_PROTO, 0, 0, 0, 0 },
	{ "*", ERR_PROTO, 0, 0, 0, 0 },
	{ "a:80", ERR_PROTO, 0, 0, 0, 0 },
	{ "http:/a/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http:a", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://", ERR_PROTO, 0, 0, 0, 0 },
	{ "http:///x", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://:80/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://u@a/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:80@b/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:0/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:65536/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:000080/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:+80/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a:80:81/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://[::1/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://[::1]x/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://[]/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://[a]/", ERR_PROTO, 0, 0, 0, 0 },
	{ "http://a/#f", ERR_PROTO, 0, 0, 0, 0 },
	{ "https://a/", ERR_UNSUPPORTED, 0, 0, 0, 0 },
	{ "ws://a/", ERR_UNSUPPORTED, 0, 0, 0, 0 },
};

static void targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(plain); i++) {
		static struct http1_head h;
		struct http_target t;
		struct err e = { 0 };
		struct buf b;
		char text[200], want[200];
		int bad;

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: other\r\n\r\n",
			 plain[i].target);
		parse(text, &h);
		bad = http_plain_target(&h, &t, &e);
		if ((bad != 0) != (plain[i].code != ERR_NONE) || e.code != plain[i].code)
			fail_msg("%s: %d %s", plain[i].target, bad, e.msg);
		if (bad)
			continue;
		assert_int_equal(t.port, plain[i].port);
		if (!http1_text_is(t.host, plain[i].host))
			fail_msg("%s: host %.*s", plain[i].target, (int)t.host.n, t.host.p);
		buf_init(&b, 1000);
		assert_int_equal(http_forward_request(&h, &t, false, &b, &e), 0);
		snprintf(want, sizeof(want), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", plain[i].line,
			 plain[i].host_field);
		assert_int_equal(buf_len(&b), strlen(want));
		assert_memory_equal(buf_ptr(&b), want, strlen(want));
		buf_free(&b);
	}
}

static const struct {
	const char *target;
	const char *host; /* NULL: refused */
	uint16_t port;
} connects[] = {
	{ "a.b:443", "a.b", 443 },   { "[::1]:1", "::1", 1 },     { "127.1:65535", "127.1", 65535 },
	{ "a.b", NULL, 0 },          { "a.b:", NULL, 0 },         { ":443", NULL, 0 },
	{ "a:b", NULL, 0 },          { "a:0", NULL, 0 },          { "a:65536", NULL, 0 },
	{ "a:4294967739", NULL, 0 }, { "a:1:2", NULL, 0 },        { "::1:443", NULL, 0 },
	{ "u@a:443", NULL, 0 },      { "http://a:443", NULL, 0 }, { "a:443/", NULL, 0 },
	{ "a:443?x", NULL, 0 },      { "/a:443", NULL, 0 },       { "[a:443", NULL, 0 },
	{ "[::1]443", NULL, 0 },
};

static void connect_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(connects); i++) {
		static struct http1_head h;
		struct http1_text host;
		struct err e = { 0 };
		uint16_t port = 0;
		char text[200];
		int bad;

		snprintf(text, sizeof(text), "CONNECT %s HTTP/1.1\r\n\r\n", connects[i].target);
		parse(text, &h);
		bad = http_connect_target(&h, &host, &port, &e);
		if ((bad != 0) != !connects[i].host)
			fail_msg("%s: %d %s", connects[i].target, bad, e.msg);
		if (bad)
			continue;
		assert_int_equal(port, connects[i].port);
		assert_true(http1_text_is(host, connects[i].host));
	}
}

static const struct {
	const char *name, *fields, *passed;
	bool upgrade;
} heads[] = {
	{ "plain", "A: b\r\nC:\r\n", "A: b\r\nC: \r\n", false },
	{ "hop by hop",
	  "Proxy-Connection: x\r\nKeep-Alive: 1\r\nTE: trailers\r\nUpgrade: x\r\n"
	  "Proxy-Authorization: Basic x\r\nProxy-Authenticate: y\r\nA: b\r\n",
	  "A: b\r\n", false },
	{ "named", "Connection: a, close\r\nA: b\r\nCONNECTION: c\r\nC: d\r\nE: f\r\n", "E: f\r\n",
	  false },
	{ "framing is not to be named", "Connection: content-length, host\r\nContent-Length: 3\r\n",
	  "Content-Length: 3\r\n", false },
	{ "chunked", "Transfer-Encoding: chunked\r\nTrailer: T\r\n",
	  "Trailer: T\r\nTransfer-Encoding: chunked\r\n", false },
	{ "chunked, named", "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
	  "Transfer-Encoding: chunked\r\n", false },
	{ "upgrade", "Connection: Upgrade, x\r\nUpgrade: websocket\r\nX: y\r\nSec-A: b\r\n",
	  "Upgrade: websocket\r\nSec-A: b\r\nConnection: upgrade\r\n", true },
	{ "h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n", "",
	  false },
	{ "h2", "Connection: Upgrade\r\nUpgrade: websocket, H2\r\n", "", false },
	{ "upgrade with a body", "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n",
	  "Content-Length: 1\r\n", false },
};

static void forwarded_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(heads); i++) {
		static struct http1_head h;
		struct http_target t;
		struct err e = { 0 };
		struct buf b;
		char text[400], want[400];

		snprintf(text, sizeof(text), "POST http://x/ HTTP/1.1\r\n%s\r\n", heads[i].fields);
		parse(text, &h);
		assert_int_equal(http_plain_target(&h, &t, &e), 0);
		assert_int_equal(http_wants_upgrade(&h), heads[i].upgrade);
		buf_init(&b, 1000);
		assert_int_equal(http_forward_request(&h, &t, http_wants_upgrade(&h), &b, &e), 0);
		snprintf(want, sizeof(want), "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n",
			 heads[i].passed);
		if (buf_len(&b) != strlen(want) || memcmp(buf_ptr(&b), want, strlen(want)) != 0)
			fail_msg("%s: %.*s", heads[i].name, (int)buf_len(&b), buf_ptr(&b));
		buf_free(&b);
	}
}

static void options_without_a_path(void **state)
{
	static struct http1_head h;
	struct http_target t;
	struct err e = { 0 };
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	parse("OPTIONS http://x:81 HTTP/1.0\r\nMax-Forwards: 3\r\n\r\n", &h);
	assert_int_equal(http_plain_target(&h, &t, &e), 0);
	assert_int_equal(http_forward_request(&h, &t, false, &b, &e), 0);
	assert_int_equal(buf_add(&b, "", 1, &e), 0);
	assert_string_equal((const char *)buf_ptr(&b),
			    "OPTIONS * HTTP/1.1\r\nHost: x:81\r\nMax-Forwards: 3\r\n\r\n");
	buf_free(&b);
}

static void answers(void **state)
{
	struct err why = { 0 }, e = { 0 };
	struct buf b;

	(void)state;
	err_set(&why, ERR_DENIED, "a\r\nX: y");
	for (int head = 0; head < 2; head++) {
		buf_init(&b, 1000);
		assert_int_equal(answer_http(&b, 0, &why, head, !head, &e), 0);
		assert_int_equal(buf_add(&b, "", 1, &e), 0);
		assert_string_equal((const char *)buf_ptr(&b),
				    head ? "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; "
					   "charset=utf-8\r\nContent-Length: 17\r\nCache-Control: "
					   "no-store\r\nX-Awsocks-Reason: a??X: y\r\nConnection: "
					   "close\r\n\r\n"
					 : "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; "
					   "charset=utf-8\r\nContent-Length: 17\r\nCache-Control: "
					   "no-store\r\nX-Awsocks-Reason: a??X: y\r\n\r\nawsocks: "
					   "a??X: y\n");
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets),
		cmocka_unit_test(connect_targets),
		cmocka_unit_test(forwarded_requests),
		cmocka_unit_test(options_without_a_path),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
