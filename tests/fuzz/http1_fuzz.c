/*
 * Laws of net/http1: a head has the same outcome however it arrives; its texts
 * lie within it and hold no line break; a request written again from its parts
 * reads as the same request. A chunked body has the same outcome, payload and
 * length in whichever two pieces it arrives.
 */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef enum http1_step decode_fn(const char *, size_t, struct http1_head *, struct err *);

static void within(struct http1_text t, const char *p, size_t n)
{
	assert(!t.n || (t.p >= p && t.p + t.n <= p + n));
	assert(!t.n || (!memchr(t.p, '\r', t.n) && !memchr(t.p, '\n', t.n)));
}

static enum http1_step head_law(decode_fn *decode, const char *p, size_t n, struct http1_head *h)
{
	struct err e = { 0 };
	struct http1_head part;
	enum http1_step whole = decode(p, n, h, &e), got = HTTP1_MORE;

	for (size_t cut = 0; cut <= n && got == HTTP1_MORE; cut++)
		got = decode(p, cut, &part, &e);
	assert(got == whole);
	if (whole != HTTP1_DONE)
		return whole;
	assert(h->used <= n && h->used == part.used && h->fields == part.fields);
	within(h->method, p, h->used);
	within(h->target, p, h->used);
	within(h->reason, p, h->used);
	for (size_t i = 0; i < h->fields; i++) {
		within(h->field[i].name, p, h->used);
		within(h->field[i].value, p, h->used);
	}
	return whole;
}

static void round_trip(const struct http1_head *h)
{
	static struct http1_head again;
	struct err e = { 0 };
	struct buf b;
	int bad = 0;

	buf_init(&b, 2 * HTTP1_HEAD_MAX);
	bad |= buf_addf(&b, &e, "%.*s %.*s HTTP/1.%d\r\n", (int)h->method.n, h->method.p,
			(int)h->target.n, h->target.p, h->minor);
	for (size_t i = 0; i < h->fields; i++)
		bad |= buf_addf(&b, &e, "%.*s: %.*s\r\n", (int)h->field[i].name.n,
				h->field[i].name.p, (int)h->field[i].value.n, h->field[i].value.p);
	bad |= buf_addf(&b, &e, "\r\n");
	assert(!bad);
	if (buf_len(&b) <= HTTP1_HEAD_MAX) {
		assert(http1_request((const char *)buf_ptr(&b), buf_len(&b), &again, &e) ==
		       HTTP1_DONE);
		assert(again.fields == h->fields && again.body == h->body &&
		       again.length == h->length && again.keep_alive == h->keep_alive &&
		       again.upgrade == h->upgrade);
	}
	buf_free(&b);
}

static void count(void *arg, const char *p, size_t n)
{
	size_t *sum = arg;

	for (size_t i = 0; i < n; i++)
		*sum = *sum * 31 + (unsigned char)p[i] + 1;
}

static void chunked_law(const char *p, size_t n)
{
	struct http1_chunks k = { 0 };
	struct err e = { 0 };
	size_t used, sum = 0;
	enum http1_step whole = http1_chunked(&k, p, n, &used, count, &sum, &e);

	assert(used <= n);
	for (size_t cut = 0; cut <= n; cut++) {
		struct http1_chunks k2 = { 0 };
		size_t used2, more = 0, sum2 = 0;
		enum http1_step got = http1_chunked(&k2, p, cut, &used2, count, &sum2, &e);

		if (got == HTTP1_MORE)
			got = http1_chunked(&k2, p + cut, n - cut, &more, count, &sum2, &e);
		assert(got == whole && used2 + more == used && sum2 == sum);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http1_head h;
	const char *p = (const char *)data + 1;

	if (n < 1 || n > 4096)
		return 0;
	n--;
	if (data[0] % 3 == 0) {
		if (head_law(http1_request, p, n, &h) == HTTP1_DONE)
			round_trip(&h);
	} else if (data[0] % 3 == 1) {
		head_law(http1_response, p, n, &h);
	} else {
		chunked_law(p, n);
	}
	return 0;
}
