#ifndef NET_HTTP1_H
#define NET_HTTP1_H
/*
 * HTTP/1.x message heads and bodies as pure decoders (RFC 9112): bytes in, a
 * step out; nothing is kept between calls but what the caller holds. Strict
 * where laxness lets two parsers disagree: no bare CR, no obs-fold, no blank
 * before the colon, no NUL, one Content-Length only, never Content-Length
 * with Transfer-Encoding, chunked the only and last coding.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum http1_step { HTTP1_BAD = -1, HTTP1_MORE = 0, HTTP1_DONE = 1 };
enum { HTTP1_HEAD_MAX = 64 * 1024, HTTP1_FIELDS_MAX = 128 };

struct http1_text { /* a piece of the caller's bytes */
	const char *p;
	size_t n;
};
struct http1_field {
	struct http1_text name, value; /* value without blanks around it */
};
enum http1_body { HTTP1_NO_BODY = 0, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE };
struct http1_head {
	struct http1_text method, target; /* request */
	int status;                       /* response; 0 for a request */
	struct http1_text reason;
	int minor; /* HTTP/1.0 or HTTP/1.1 */
	struct http1_field field[HTTP1_FIELDS_MAX];
	size_t fields;
	enum http1_body body; /* of a request; for a response see http1_response_body() */
	uint64_t length;      /* with HTTP1_LENGTH */
	bool keep_alive;      /* version and Connection say so */
	bool upgrade;         /* Connection: upgrade and an Upgrade field */
	size_t used;          /* bytes of the head, its empty line included */
};

/* The head's texts point into p. MORE: give the same bytes again with more
 * behind them. BAD: *e says what and where. */
enum http1_step http1_request(const char *p, size_t n, struct http1_head *, struct err *);
enum http1_step http1_response(const char *p, size_t n, struct http1_head *, struct err *);
/* RFC 9112, 6.3: how the body of this response to `method` ends. */
enum http1_body http1_response_body(const struct http1_head *, struct http1_text method);
const struct http1_field *http1_find(const struct http1_head *, const char *name); /* first; NULL */
bool http1_text_is(struct http1_text, const char *s);                              /* exact */
bool http1_text_is_nocase(struct http1_text, const char *s);                       /* ASCII */
/* Is `token` in the comma-separated list of any field called `name`? */
bool http1_has_token(const struct http1_head *, const char *name, const char *token);

/* Follows a chunked body that is passed on unchanged. */
struct http1_chunks {
	uint64_t left; /* of the current chunk */
	unsigned state;
	size_t line; /* bytes of the current size line or trailer so far */
};
/* How many of the n bytes belong to the body: *used. DONE: the body ended
 * within them. *data (if given) is called with the payload pieces. */
enum http1_step http1_chunked(struct http1_chunks *, const char *p, size_t n, size_t *used,
			      void (*data)(void *arg, const char *p, size_t n), void *arg,
			      struct err *);
#endif
