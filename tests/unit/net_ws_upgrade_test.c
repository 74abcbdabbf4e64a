/* The upgrade request as bytes, and answers to it in any cut. */
#include <stdio.h>
#include <string.h>

#include "net/ws_upgrade.h"
#include "tests/support/cmocka_all.h"

/* RFC 6455, 1.3 */
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void request(void **state)
{
	static const struct http_header h[] = { { "Authorization", "AWS4 x" }, { "X-B", "" } };
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, WS_REQUEST_MAX);
	assert_int_equal(ws_upgrade_request(&b, "h:8080", "/p?q=+/", KEY, h, 2, &e), 0);
	assert_int_equal(buf_add(&b, "", 1, &e), 0);
	assert_string_equal((const char *)buf_ptr(&b),
			    "GET /p?q=+/ HTTP/1.1\r\nHost: h:8080\r\nPragma: no-cache\r\n"
			    "Cache-Control: no-cache\r\nUpgrade: websocket\r\n"
			    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			    "Sec-WebSocket-Version: 13\r\nAuthorization: AWS4 x\r\nX-B: \r\n\r\n");
	buf_free(&b);
	buf_init(&b, 100);
	assert_int_equal(ws_upgrade_request(&b, "h", "/", KEY, h, 2, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&b);
}

static void keys(void **state)
{
	char accept[WS_ACCEPT_TEXT], one[WS_KEY_TEXT], two[WS_KEY_TEXT];

	(void)state;
	assert_int_equal(ws_upgrade_accept(KEY, accept, NULL), 0);
	assert_string_equal(accept, ACCEPT);
	ws_upgrade_key(one);
	ws_upgrade_key(two);
	assert_int_equal(strlen(one), WS_KEY_TEXT - 1);
	assert_string_not_equal(one, two);
}

#define HEAD(rest) "HTTP/1.1 101 Switching Protocols\r\n" rest
#define GOOD       "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
static const struct {
	const char *text;
	enum ws_answer want;
	enum err_code code;
	const char *words;
} answers[] = {
	{ HEAD(GOOD "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n"), WS_ANSWER_OPEN, ERR_NONE, "" },
	{ "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" HEAD(GOOD "Sec-WebSocket-Accept:" ACCEPT
							    "\r\n\r\n"),
	  WS_ANSWER_OPEN, ERR_NONE, "" },
	{ HEAD(GOOD "\r\n"), WS_ANSWER_BAD, ERR_PROTO, "Sec-WebSocket-Accept" },
	{ HEAD(GOOD "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), WS_ANSWER_BAD,
	  ERR_PROTO, "Sec-WebSocket-Accept" },
	{ HEAD("Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n"),
	  WS_ANSWER_BAD, ERR_PROTO, "does not say websocket" },
	{ HEAD("Upgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n"), WS_ANSWER_BAD,
	  ERR_PROTO, "Connection" },
	{ HEAD(GOOD "Sec-WebSocket-Accept: " ACCEPT
		    "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
	  WS_ANSWER_BAD, ERR_PROTO, "nobody asked" },
	{ HEAD(GOOD "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: x\r\n\r\n"),
	  WS_ANSWER_BAD, ERR_PROTO, "nobody asked" },
	{ "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\ntoken \x1b[1m!\r\n", WS_ANSWER_BAD,
	  ERR_CREDS, "HTTP status 403: token ?[1m!" },
	{ "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", WS_ANSWER_BAD, ERR_CREDS, "status 401" },
	{ "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntry "
	  "\r\n5\r\nlater\r\n0\r\n\r\n",
	  WS_ANSWER_BAD, ERR_PROTO, "HTTP status 503: try later" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", WS_ANSWER_BAD, ERR_PROTO,
	  "HTTP status 200: ok" },
	{ "SSH-2.0-OpenSSH_9.2\r\n", WS_ANSWER_BAD, ERR_PROTO, "upgrade" },
};

static void any_cut_is_answered_alike(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		size_t n = strlen(answers[i].text), used;
		enum ws_answer got = WS_ANSWER_MORE;
		struct err e = { 0 };

		for (size_t have = 0; have <= n && got == WS_ANSWER_MORE; have++)
			got = ws_upgrade_answer(answers[i].text, have, false, KEY, &used, &e);
		if (got != answers[i].want || !strstr(e.msg, answers[i].words))
			print_error("%zu: %d %s\n", i, got, e.msg);
		assert_int_equal(got, answers[i].want);
		assert_int_equal(e.code, answers[i].code);
		assert_non_null(strstr(e.msg, answers[i].words));
		if (got == WS_ANSWER_OPEN)
			assert_int_equal(used, n);
	}
}

/* When nothing more will come: what is there is told. */
static void an_end_in_between(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
		const char *words;
	} cases[] = {
		{ "", ERR_CLOSED, "closed" },
		{ "HTTP/1.1 101 S", ERR_CLOSED, "closed" },
		{ "HTTP/1.1 500 Oops\r\n\r\nno length", ERR_PROTO, "status 500: no length" },
		{ "HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\nhalf", ERR_PROTO,
		  "status 500: half" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		size_t used, n = strlen(cases[i].text);

		assert_int_equal(ws_upgrade_answer(cases[i].text, n, false, KEY, &used, &e),
				 WS_ANSWER_MORE);
		assert_int_equal(ws_upgrade_answer(cases[i].text, n, true, KEY, &used, &e),
				 WS_ANSWER_BAD);
		assert_int_equal(e.code, cases[i].code);
		assert_non_null(strstr(e.msg, cases[i].words));
	}
}

/* A body that never ends is not waited for. */
static void a_long_refusal(void **state)
{
	char text[2000];
	struct err e = { 0 };
	size_t used;
	int n = snprintf(text, sizeof(text), "HTTP/1.1 500 Oops\r\n\r\n%01000d", 7);

	(void)state;
	assert_int_equal(ws_upgrade_answer(text, (size_t)n, false, KEY, &used, &e), WS_ANSWER_BAD);
	assert_non_null(strstr(e.msg, "status 500: 0000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request),
		cmocka_unit_test(keys),
		cmocka_unit_test(any_cut_is_answered_alike),
		cmocka_unit_test(an_end_in_between),
		cmocka_unit_test(a_long_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
