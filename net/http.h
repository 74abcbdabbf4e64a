#ifndef NET_HTTP_H
#define NET_HTTP_H
/*
 * HTTP requests to AWS through libcurl's multi interface on the loop. The
 * connection is made by net/dialer.c and handed to curl, so that the cause of
 * a failure is known and nothing blocks.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct egress;
struct http;
struct http_call;
struct loop;

struct http_header {
	const char *name, *value;
};

struct http_request {
	const char *method;                /* "GET", "POST", ... */
	const char *url;                   /* sent as it is (no path clean-up) */
	const struct http_header *headers; /* Host and Content-Length are added */
	size_t header_count;
	const void *body; /* copied */
	size_t body_len;
	unsigned limit_ms;   /* 0: 30 s */
	const char *ca_file; /* replaces the system store; NULL: system store */
	bool no_proxy;       /* never through the proxy of http_set_egress(): metadata services */
};

struct http_reply {
	int status;
	const char *body; /* NUL-terminated, until return */
	size_t body_len;
	const struct http_reply_impl *impl;
};
/* Value of the last header of that name (any case), or NULL; until return. */
const char *http_reply_header(const struct http_reply *, const char *name);

/* reply == NULL: no answer, *why tells. Once, from the loop. */
typedef void http_fn(void *arg, const struct http_reply *, const struct err *why);

enum { HTTP_REPLY_MAX = 8 * 1024 * 1024 }; /* a longer body is an error */

struct http *http_new(struct loop *, struct err *);
/* The way out (net/egress.h) of requests from now on; borrowed. NULL: straight. */
void http_set_egress(struct http *, struct egress *);
void http_free(struct http *); /* cancels what is under way; callbacks do not come */
struct http_call *http_send(struct http *, const struct http_request *, http_fn *, void *arg,
			    struct err *);
void http_cancel(struct http_call *); /* then the callback never comes */
#endif
