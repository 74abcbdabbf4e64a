/* HTTP/1.x heads and chunked bodies: right ones, wrong ones, and each cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/http1.h"

struct head_case {
	const char *name, *text;
	size_t n; /* 0: strlen */
	enum http1_step step;
	enum http1_body body;
	uint64_t length;
	bool keep_alive;
};
#define OK(name, text, body, length, keep)                    \
	{                                                     \
		name, text, 0, HTTP1_DONE, body, length, keep \
	}
#define WRONG(name, text)                                        \
	{                                                        \
		name, text, sizeof(text) - 1, HTTP1_BAD, 0, 0, 0 \
	}
#define GET "GET /x HTTP/1.1\r\n"

static const struct head_case requests[] = {
	OK("plain", GET "Host: a\r\n\r\n", HTTP1_NO_BODY, 0, true),
	OK("empty line before", "\r\n" GET "Host: a\r\n\r\n", HTTP1_NO_BODY, 0, true),
	OK("no fields", GET "\r\n", HTTP1_NO_BODY, 0, true),
	OK("1.0", "GET / HTTP/1.0\r\n\r\n", HTTP1_NO_BODY, 0, false),
	OK("1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", HTTP1_NO_BODY,
	   0, true),
	OK("close", GET "Connection: CLOSE\r\n\r\n", HTTP1_NO_BODY, 0, false),
	OK("length", GET "Content-Length: 12\r\n\r\nhello", HTTP1_LENGTH, 12, true),
	OK("length 0", GET "Content-Length:0\r\n\r\n", HTTP1_NO_BODY, 0, true),
	OK("chunked", GET "Transfer-Encoding:\t Chunked \r\n\r\n", HTTP1_CHUNKED, 0, true),
	OK("authority", "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n\x16\x03", HTTP1_NO_BODY,
	   0, true),
	OK("empty value", GET "X:\r\n\r\n", HTTP1_NO_BODY, 0, true),
	OK("obs-text", GET "X: \xc3\xa9\r\n\r\n", HTTP1_NO_BODY, 0, true),
	WRONG("bare LF", "GET / HTTP/1.1\n\n"),
	WRONG("bare LF in fields", GET "A: b\nC: d\r\n\r\n"),
	WRONG("bare CR", GET "A: b\rC: d\r\n\r\n"),
	WRONG("two CR", GET "A: b\r\r\n\r\n"),
	WRONG("NUL", GET "A: b\0c\r\n\r\n"),
	WRONG("DEL", GET "A: b\x7f\r\n\r\n"),
	WRONG("folded", GET "A: b\r\n c\r\n\r\n"),
	WRONG("folded first", GET " A: b\r\n\r\n"),
	WRONG("blank before colon", GET "Content-Length : 5\r\n\r\n"),
	WRONG("no colon", GET "Hello\r\n\r\n"),
	WRONG("no name", GET ": x\r\n\r\n"),
	WRONG("0.9", "GET /\r\n"),
	WRONG("no target", "GET  HTTP/1.1\r\n\r\n"),
	WRONG("two spaces", "GET  / HTTP/1.1\r\n\r\n"),
	WRONG("space behind", "GET / HTTP/1.1 \r\n\r\n"),
	WRONG("tab", "GET\t/ HTTP/1.1\r\n\r\n"),
	WRONG("2.0", "GET / HTTP/2.0\r\n\r\n"),
	WRONG("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	WRONG("1.2", "GET / HTTP/1.2\r\n\r\n"),
	WRONG("1.10", "GET / HTTP/1.10\r\n\r\n"),
	WRONG("http/1.1", "GET / http/1.1\r\n\r\n"),
	WRONG("tls", "\x16\x03\x01\x02"),
	WRONG("two empty lines", "\r\n\r\n" GET "\r\n"),
	WRONG("8-bit target", "GET /\xff HTTP/1.1\r\n\r\n"),
	WRONG("method", "G(T / HTTP/1.1\r\n\r\n"),
	WRONG("two lengths", GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	WRONG("two lengths differ", GET "Content-Length: 5\r\ncontent-length: 6\r\n\r\n"),
	WRONG("length list", GET "Content-Length: 5, 5\r\n\r\n"),
	WRONG("length sign", GET "Content-Length: +5\r\n\r\n"),
	WRONG("length minus", GET "Content-Length: -5\r\n\r\n"),
	WRONG("length hex", GET "Content-Length: 0x5\r\n\r\n"),
	WRONG("length empty", GET "Content-Length: \r\n\r\n"),
	WRONG("length too long", GET "Content-Length: 99999999999999999999\r\n\r\n"),
	WRONG("both", GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	WRONG("both, zero", GET "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
	WRONG("gzip, chunked", GET "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	WRONG("chunked twice", GET "Transfer-Encoding: chunked, chunked\r\n\r\n"),
	WRONG("chunked in two", GET "Transfer-Encoding: chunked\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n"),
	WRONG("identity", GET "Transfer-Encoding: identity\r\n\r\n"),
	WRONG("xchunked", GET "Transfer-Encoding: xchunked\r\n\r\n"),
	WRONG("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
	WRONG("two hosts", GET "Host: a\r\nHost: b\r\n\r\n"),
};

static void request_heads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		const struct head_case *c = &requests[i];
		size_t n = c->n ? c->n : strlen(c->text);
		struct http1_head h;
		struct err e = { 0 };
		enum http1_step step = HTTP1_MORE;

		for (size_t cut = 0; cut <= n && step == HTTP1_MORE; cut++) {
			char *exact = mem_strndup(c->text, cut); /* a read past the end shows */

			step = http1_request(exact, cut, &h, &e);
			mem_free(exact);
		}
		if (step != c->step)
			fail_msg("%s: cut: step %d (%s)", c->name, step, e.msg);
		if (http1_request(c->text, n, &h, &e) != c->step)
			fail_msg("%s: whole: another step", c->name);
		if (c->step == HTTP1_BAD) {
			assert_true(e.code != ERR_NONE && e.msg[0]);
			continue;
		}
		if (h.body != c->body || h.length != c->length || h.keep_alive != c->keep_alive)
			fail_msg("%s: body %d length %d keep %d", c->name, h.body, (int)h.length,
				 h.keep_alive);
	}
}

static void parts_of_a_request(void **state)
{
	static const char text[] = "POST http://h/p?q HTTP/1.1\r\nHost:  h \r\n"
				   "Connection: x , upgrade\r\nUpgrade: websocket\r\n\r\nrest";
	struct http1_head h;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(http1_request(text, sizeof(text) - 1, &h, &e), HTTP1_DONE);
	assert_true(http1_text_is(h.method, "POST"));
	assert_true(http1_text_is(h.target, "http://h/p?q"));
	assert_int_equal(h.fields, 3);
	assert_true(http1_text_is(http1_find(&h, "HOST")->value, "h"));
	assert_null(http1_find(&h, "Hos"));
	assert_true(http1_has_token(&h, "connection", "X"));
	assert_false(http1_has_token(&h, "connection", "up"));
	assert_true(h.upgrade);
	assert_int_equal(h.used, sizeof(text) - 1 - 4);
}

static void too_large(void **state)
{
	enum { N = HTTP1_HEAD_MAX + 100 };
	char *big = mem_alloc(N);
	struct http1_head h;
	struct err e = { 0 };
	size_t at;

	(void)state;
	memset(big, 'a', N);
	assert_int_equal(http1_request(big, HTTP1_HEAD_MAX - 1, &h, &e), HTTP1_MORE);
	assert_int_equal(http1_request(big, HTTP1_HEAD_MAX, &h, &e), HTTP1_BAD);
	assert_int_equal(e.code, ERR_LIMIT);
	memcpy(big, GET "A:", strlen(GET "A:"));
	memcpy(big + HTTP1_HEAD_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(http1_request(big, HTTP1_HEAD_MAX - 1, &h, &e), HTTP1_MORE);
	assert_int_equal(http1_request(big, HTTP1_HEAD_MAX, &h, &e), HTTP1_DONE);
	assert_int_equal(http1_request(big, N, &h, &e), HTTP1_DONE);
	memcpy(big + HTTP1_HEAD_MAX - 4, "a\r\n\r\n", 5);
	assert_int_equal(http1_request(big, N, &h, &e), HTTP1_BAD);
	at = strlen(GET);
	for (int i = 0; i < HTTP1_FIELDS_MAX; i++, at += 4)
		memcpy(big + at, "a:\r\n", 4);
	memcpy(big + at, "\r\n", 2);
	assert_int_equal(http1_request(big, at + 2, &h, &e), HTTP1_DONE);
	memcpy(big + at, "a:\r\n\r\n", 6);
	assert_int_equal(http1_request(big, at + 6, &h, &e), HTTP1_BAD);
	assert_int_equal(e.code, ERR_LIMIT);
	mem_free(big);
}

static const struct {
	const char *name, *text, *method;
	enum http1_step step;
	int status;
	enum http1_body body;
	bool keep_alive;
} responses[] = {
	{ "200", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", 1, 200, HTTP1_LENGTH, 1 },
	{ "no reason", "HTTP/1.1 200\r\n\r\n", "GET", 1, 200, HTTP1_UNTIL_CLOSE, 1 },
	{ "empty reason", "HTTP/1.1 200 \r\n\r\n", "GET", 1, 200, HTTP1_UNTIL_CLOSE, 1 },
	{ "1.0", "HTTP/1.0 200 OK\r\n\r\n", "GET", 1, 200, HTTP1_UNTIL_CLOSE, 0 },
	{ "head", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", 1, 200, HTTP1_NO_BODY,
	  1 },
	{ "204", "HTTP/1.1 204 No\r\n\r\n", "GET", 1, 204, HTTP1_NO_BODY, 1 },
	{ "304", "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", "GET", 1, 304, HTTP1_NO_BODY, 1 },
	{ "100", "HTTP/1.1 100 Continue\r\n\r\n", "POST", 1, 100, HTTP1_NO_BODY, 1 },
	{ "empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 1, 200, HTTP1_NO_BODY,
	  1 },
	{ "chunked", "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", 1, 500,
	  HTTP1_CHUNKED, 1 },
	{ "both", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "GET", -1, 0, 0, 0 },
	{ "two digits", "HTTP/1.1 20 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "four digits", "HTTP/1.1 2000 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "099", "HTTP/1.1 099 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "letters", "HTTP/1.1 2x0 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "2.0", "HTTP/2.0 200 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "ssh", "SSH-2.0-OpenSSH_9.2\r\n", "GET", -1, 0, 0, 0 },
	{ "short", "HTTP/1.1\r\n\r\n", "GET", -1, 0, 0, 0 },
	{ "empty line", "\r\nHTTP/1.1 200 OK\r\n\r\n", "GET", -1, 0, 0, 0 },
};

static void response_heads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(responses) / sizeof(*responses); i++) {
		size_t n = strlen(responses[i].text);
		struct http1_text method = { responses[i].method, strlen(responses[i].method) };
		struct http1_head h;
		struct err e = { 0 };
		enum http1_step step = HTTP1_MORE;

		for (size_t cut = 0; cut <= n && step == HTTP1_MORE; cut++)
			step = http1_response(responses[i].text, cut, &h, &e);
		if (step != responses[i].step)
			fail_msg("%s: step %d: %s", responses[i].name, step, e.msg);
		if (step == HTTP1_BAD)
			continue;
		if (h.status != responses[i].status || h.keep_alive != responses[i].keep_alive ||
		    http1_response_body(&h, method) != responses[i].body)
			fail_msg("%s: %d %d", responses[i].name, h.status, h.keep_alive);
	}
}

struct gathered {
	char text[64];
	size_t n;
};

static void gather(void *arg, const char *p, size_t n)
{
	struct gathered *g = arg;

	assert_true(g->n + n <= sizeof(g->text));
	memcpy(g->text + g->n, p, n);
	g->n += n;
}

static const struct {
	const char *name, *text;
	enum http1_step step;
	const char *payload;
	size_t behind; /* bytes that are not the body's */
} bodies[] = {
	{ "one", "5\r\nhello\r\n0\r\n\r\n", 1, "hello", 0 },
	{ "two", "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n", 1, "hello0123456789", 0 },
	{ "empty", "0\r\n\r\n", 1, "", 0 },
	{ "extension", "1;a=\"b c\";d\r\nx\r\n0;z\r\n\r\n", 1, "x", 0 },
	{ "trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", 1, "x", 0 },
	{ "next message", "0\r\n\r\nGET", 1, "", 3 },
	{ "on its way", "5\r\nhel", 0, "hel", 0 },
	{ "no size", "\r\nhello", -1, "", 0 },
	{ "sign", "+5\r\nhello\r\n", -1, "", 0 },
	{ "minus", "-1\r\n", -1, "", 0 },
	{ "0x", "0x5\r\nhello\r\n", -1, "", 0 },
	{ "blank", "5 \r\nhello\r\n", -1, "", 0 },
	{ "blank before", " 5\r\nhello\r\n", -1, "", 0 },
	{ "bare LF", "5\nhello\r\n", -1, "", 0 },
	{ "bare CR", "5\rhello\r\n", -1, "", 0 },
	{ "LF in extension", "5;a\nhello\r\n", -1, "", 0 },
	{ "CR in extension", "5;a\rb\r\nhello", -1, "", 0 },
	{ "too long a size", "0000000000000005\r\nhello\r\n", -1, "", 0 },
	{ "wraps", "FFFFFFFFFFFFFFFFF\r\n", -1, "", 0 },
	{ "data longer than said", "3\r\nhello\r\n", -1, "hel", 0 },
	{ "no CR behind data", "3\r\nhel\n0\r\n\r\n", -1, "hel", 0 },
	{ "folded trailer", "0\r\nA: b\r\n c\r\n\r\n", -1, "", 0 },
	{ "trailer without colon", "0\r\nA\r\n\r\n", -1, "", 0 },
	{ "trailer blank", "0\r\nA : b\r\n\r\n", -1, "", 0 },
	{ "trailer bare LF", "0\r\nA: b\n\r\n", -1, "", 0 },
};

static void chunked_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		size_t n = strlen(bodies[i].text);

		for (size_t cut = 0; cut <= n; cut++) { /* in two pieces */
			struct http1_chunks k = { 0 };
			struct gathered g = { .n = 0 };
			struct err e = { 0 };
			size_t used = 0, more = 0;
			enum http1_step step = http1_chunked(&k, bodies[i].text, cut, &used, gather,
							     &g, &e);

			if (step == HTTP1_MORE) {
				assert_int_equal(used, cut);
				step = http1_chunked(&k, bodies[i].text + cut, n - cut, &more,
						     gather, &g, &e);
			}
			if (step != bodies[i].step)
				fail_msg("%s at %zu: step %d", bodies[i].name, cut, step);
			if (g.n != strlen(bodies[i].payload) ||
			    memcmp(g.text, bodies[i].payload, g.n) != 0)
				fail_msg("%s at %zu: payload", bodies[i].name, cut);
			if (step == HTTP1_DONE)
				assert_int_equal(n - used - more, bodies[i].behind);
		}
	}
}

static void endless_lines(void **state)
{
	struct http1_chunks k = { 0 };
	struct err e = { 0 };
	enum http1_step step;
	size_t used;
	int sent = 0;

	(void)state;
	step = http1_chunked(&k, "1;", 2, &used, NULL, NULL, &e);
	while (step == HTTP1_MORE && sent++ < 100000)
		step = http1_chunked(&k, "x", 1, &used, NULL, NULL, &e);
	assert_int_equal(step, HTTP1_BAD);
	assert_int_equal(http1_chunked(&k, "\r\n", 2, &used, NULL, NULL, &e), HTTP1_BAD);
	k = (struct http1_chunks){ 0 };
	step = http1_chunked(&k, "0\r\n", 3, &used, NULL, NULL, &e);
	for (sent = 0; step == HTTP1_MORE && sent < 100000; sent++)
		step = http1_chunked(&k, "a:\r\n", 4, &used, NULL, NULL, &e);
	assert_int_equal(step, HTTP1_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_heads),  cmocka_unit_test(parts_of_a_request),
		cmocka_unit_test(too_large),      cmocka_unit_test(response_heads),
		cmocka_unit_test(chunked_bodies), cmocka_unit_test(endless_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
