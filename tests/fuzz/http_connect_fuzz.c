/*
 * Laws of a proxy's URL and of its answer to CONNECT. What is asked of it is one request, whatever
 * user and password are. An answer that opens the tunnel does so at one byte, whatever comes behind
 * it: one less is not enough. What is refused says why.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/http_connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void one_request(const struct buf *b)
{
	const char *p = (const char *)buf_ptr(b);
	size_t n = buf_len(b), lines = 0;

	assert(n > 4 && memcmp(p, "CONNECT ", 8) == 0 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0);
	for (size_t i = 0; i < n; i++) {
		assert(p[i] != '\r' || (i + 1 < n && p[i + 1] == '\n'));
		lines += p[i] == '\n';
		assert(p[i] != '\n' || (i && p[i - 1] == '\r'));
	}
	assert(lines <= 4); /* request, Host, Proxy-Authorization, the end */
}

static void url(const char *text)
{
	struct http_connect_proxy x;
	struct err e = { 0 };
	struct buf b;

	if (http_connect_parse(text, "P", &x, &e) == 0) {
		assert(x.port && *x.host && !strpbrk(x.host, "\r\n \t@/"));
		assert(!x.basic || !strpbrk(x.basic, "\r\n"));
		buf_init(&b, 64 * 1024);
		if (http_connect_request(&b, &x, "ssm.example", 443, &e) == 0)
			one_request(&b);
		buf_free(&b);
	} else {
		assert(e.code == ERR_CONFIG && *e.msg);
	}
	http_connect_free(&x);
}

static void answer(const char *p, size_t n)
{
	struct err e = { 0 };
	size_t used, again;
	enum http_connect_answer whole = http_connect_answer(p, n, false, &used, &e);

	if (whole == HTTP_CONNECT_OPEN) {
		assert(used && used <= n);
		assert(http_connect_answer(p, used, true, &again, &e) == HTTP_CONNECT_OPEN);
		assert(again == used);
		assert(http_connect_answer(p, used - 1, false, &again, &e) == HTTP_CONNECT_MORE);
	} else if (whole == HTTP_CONNECT_REFUSED) {
		assert(e.code != ERR_NONE && *e.msg);
	} else {
		assert(http_connect_answer(p, n, true, &used, &e) == HTTP_CONNECT_REFUSED);
		assert(*e.msg);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text = mem_strndup((const char *)p, n);

	assert(text);
	url(text);
	answer((const char *)p, n);
	mem_free(text);
	return 0;
}
