/* Checks first, then writes no more than was checked: a malformed chunk never leaves. */
#include "proxy/http_body.h"

#include "stream/stream.h"

enum { HEAD_MAX = 2 * HTTP1_HEAD_MAX, PLAIN_PIECE = 16 * 1024 };

void http_body_init(struct http_body *b)
{
	*b = (struct http_body){ .whole = true };
	buf_init(&b->head, HEAD_MAX);
}

void http_body_free(struct http_body *b)
{
	buf_free(&b->head);
}

void http_body_begin(struct http_body *b, enum http1_body kind, uint64_t length, bool plain)
{
	b->kind = kind;
	b->left = length;
	b->chunks = (struct http1_chunks){ 0 };
	b->plain = plain && kind == HTTP1_CHUNKED;
	b->ready = 0;
	b->whole = kind == HTTP1_NO_BODY || (kind == HTTP1_LENGTH && !length);
	b->sent = 0;
}

/* Looks at the bytes that were not looked at yet. */
static int check(struct http_body *b, const struct buf *from, bool end, struct err *e)
{
	size_t fresh = buf_len(from) - b->ready, used = fresh;
	enum http1_step step;

	if (b->whole)
		return 0;
	if (b->kind == HTTP1_LENGTH) {
		if (used > b->left)
			used = (size_t)b->left;
		b->left -= used;
		b->whole = !b->left;
	} else if (b->kind == HTTP1_CHUNKED) {
		step = http1_chunked(&b->chunks, (const char *)buf_ptr(from) + b->ready, fresh,
				     &used, NULL, NULL, e);
		if (step == HTTP1_BAD)
			return -1;
		b->whole = step == HTTP1_DONE;
	} else {
		b->whole = end;
	}
	b->ready += used;
	return 0;
}

struct payload {
	struct buf *to;
	struct err *e;
	int bad;
};

static void take(void *arg, const char *p, size_t n)
{
	struct payload *to = arg;

	to->bad |= buf_add(to->to, p, n, to->e);
}

/* Takes the chunks apart, a bounded piece at a time, into `head`. */
static int unwrap(struct http_body *b, struct buf *from, struct err *e)
{
	struct payload to = { &b->head, e, 0 };
	size_t n = buf_len(from) < PLAIN_PIECE ? buf_len(from) : PLAIN_PIECE, used;
	enum http1_step step;

	step = http1_chunked(&b->chunks, (const char *)buf_ptr(from), n, &used, take, &to, e);
	if (step == HTTP1_BAD || to.bad)
		return -1;
	buf_drop(from, used);
	b->whole = step == HTTP1_DONE;
	return 0;
}

bool http_body_flush(struct http_body *b, struct stream *to)
{
	size_t n = stream_write(to, buf_ptr(&b->head), buf_len(&b->head));

	b->sent += n;
	buf_drop(&b->head, n);
	return !buf_len(&b->head);
}

int http_body_move(struct http_body *b, struct buf *from, bool end, struct stream *to,
		   struct err *e)
{
	size_t n;

	if (!http_body_flush(b, to))
		return 0;
	while (b->plain && !b->whole && buf_len(from)) {
		if (unwrap(b, from, e))
			return -1;
		if (!http_body_flush(b, to))
			return 0;
	}
	if (b->plain)
		return 0;
	if (check(b, from, end, e))
		return -1;
	n = stream_write(to, buf_ptr(from), b->ready);
	b->sent += n;
	b->ready -= n;
	buf_drop(from, n);
	return 0;
}

bool http_body_done(const struct http_body *b)
{
	return b->whole && !b->ready && !buf_len(&b->head);
}
