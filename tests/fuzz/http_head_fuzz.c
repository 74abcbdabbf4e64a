/*
 * Laws of proxy/http_head.c: a request that is forwarded reads, at the next hop,
 * as one request with the same body, in origin-form, with one Host that is the
 * target's, and with no field that was this hop's. The same for responses.
 */
#include <assert.h>
#include <string.h>

#include "proxy/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const gone[] = { "proxy-connection", "keep-alive", "te", "proxy-authorization",
				    "proxy-authenticate" };

static void same_body(const struct http1_head *a, const struct http1_head *b)
{
	assert(a->body == b->body && a->length == b->length);
	for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
		assert(!http1_find(b, gone[i]));
}

static void request(const struct http1_head *h)
{
	static struct http1_head again;
	struct http_target t;
	struct err e = { 0 };
	struct buf b;
	bool upgrade = http_wants_upgrade(h);

	if (http_plain_target(h, &t, &e)) {
		assert(e.code && e.msg[0]);
		return;
	}
	assert(t.host.n && t.port && !memchr(t.host.p, '@', t.host.n) &&
	       !memchr(t.host.p, '/', t.host.n));
	buf_init(&b, 4 * HTTP1_HEAD_MAX);
	assert(!http_forward_request(h, &t, upgrade, &b, &e));
	if (h->fields < HTTP1_FIELDS_MAX - 2) {
		assert(http1_request((const char *)buf_ptr(&b), buf_len(&b), &again, &e) ==
		       HTTP1_DONE);
		assert(again.used == buf_len(&b));
		same_body(h, &again);
		assert(again.target.p[0] == '/' || http1_text_is(again.target, "*"));
		assert(http1_text_is_nocase(again.field[0].name, "host"));
		assert(again.field[0].value.n >= t.host.n);
		assert(again.upgrade == upgrade);
	}
	buf_free(&b);
}

static void response(const struct http1_head *h, bool chunked)
{
	static struct http1_head again;
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 4 * HTTP1_HEAD_MAX);
	assert(!http_forward_response(h, chunked, HTTP_AFTER_CLOSE, &b, &e));
	if (h->fields < HTTP1_FIELDS_MAX - 3) {
		assert(http1_response((const char *)buf_ptr(&b), buf_len(&b), &again, &e) ==
		       HTTP1_DONE);
		assert(again.used == buf_len(&b) && again.status == h->status);
		assert(!again.keep_alive);
		same_body(h, &again);
	}
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http1_head h;
	struct http1_text host;
	struct err e = { 0 };
	uint16_t port = 0;

	if (http1_request((const char *)data, n, &h, &e) == HTTP1_DONE) {
		request(&h);
		if (!http_connect_target(&h, &host, &port, &e))
			assert(port && host.n && host.n <= HTTP_HOST_MAX);
	} else if (http1_response((const char *)data, n, &h, &e) == HTTP1_DONE) {
		response(&h, h.body == HTTP1_CHUNKED);
	}
	return 0;
}
