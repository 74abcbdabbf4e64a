#ifndef PROXY_HTTP_BODY_H
#define PROXY_HTTP_BODY_H
/*
 * One direction of an HTTP exchange: a rewritten head, then a body that is
 * checked as it passes. Bytes wait in the reader's buffer until the writer
 * takes them, so that a slow reader holds up the other side (back-pressure).
 */
#include "base/buf.h"
#include "base/err.h"
#include "net/http1.h"

struct stream;

struct http_body {
	struct buf head; /* ours, goes before the body */
	enum http1_body kind;
	uint64_t left; /* HTTP1_LENGTH */
	struct http1_chunks chunks;
	bool plain;    /* chunked in, payload only out: for HTTP/1.0 clients */
	size_t ready;  /* bytes at the front of the source that are checked */
	bool whole;    /* all of the body was seen */
	uint64_t sent; /* head and body */
};

void http_body_init(struct http_body *);
void http_body_free(struct http_body *);
/* A new message; what is in `head` stays. */
void http_body_begin(struct http_body *, enum http1_body, uint64_t length, bool plain);
/* Moves what it can from `from` to `to`. -1: the body is malformed. end: nothing
 * follows in `from` (ends a body of HTTP1_UNTIL_CLOSE). */
MUST_CHECK int http_body_move(struct http_body *, struct buf *from, bool end, struct stream *to,
			      struct err *);
/* Writes what is in `head`; true when nothing is left of it. */
bool http_body_flush(struct http_body *, struct stream *to);
/* All of the message was written. */
bool http_body_done(const struct http_body *);
#endif
