#ifndef NET_HTTP_MULTI_H
#define NET_HTTP_MULTI_H
/*
 * libcurl's multi interface on the loop: its sockets as watches, its one
 * timer as a loop timer. For net/http.c alone.
 */
#include <curl/curl.h>

#include "base/err.h"
#include "base/list.h"
#include "net/loop.h"

/* ended: a transfer has ended and has left the multi handle; from the loop.
 * lost: there was no memory to watch its socket, so that it will never end; it
 * is still in the multi handle, and this is called from inside curl. */
typedef void http_ended_fn(void *arg, CURL *easy, CURLcode code);

struct http_multi {
	struct loop *loop;
	CURLM *curl;
	struct loop_timer timer;
	struct list socks;
	http_ended_fn *ended, *lost;
	void *arg;
};

MUST_CHECK int http_multi_open(struct http_multi *, struct loop *, http_ended_fn *ended,
			       http_ended_fn *lost, void *arg, struct err *);
void http_multi_close(struct http_multi *); /* after its transfers; allowed when never opened */
#endif
