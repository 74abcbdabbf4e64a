#ifndef NET_WS_H
#define NET_WS_H
/*
 * A websocket client (RFC 6455). The connection is made by net/dialer.c, so
 * that DNS never blocks the loop and the cause of a failure is kept; frames are
 * made and read by ws_frame.c and ws_parse.c. Messages that are sent in one
 * turn of the loop leave in one write, and many that come in one read are
 * told from where they stand. No subprotocols, no extensions.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/http.h"
#include "net/loop.h"

struct egress;
struct ws;
struct ws_context; /* one per loop: owns the lws context */

struct ws_opts {
	const char *url;                   /* ws:// or wss://; path and query go out verbatim */
	const struct http_header *headers; /* added to the upgrade request */
	size_t header_count;
	const char *ca_file;    /* as struct http_request */
	unsigned limit_ms;      /* to be open; 0: 30 s */
	unsigned ping_ms;       /* 0: 30 s */
	unsigned pong_limit_ms; /* silence after a ping that means death; 0: 15 s */
	size_t message_max;     /* a longer one, in or out, breaks the connection; 0: 2 MiB */
};

struct ws_handler {
	void (*open)(void *arg);
	void (*message)(void *arg, bool text, const uint8_t *p, size_t n); /* whole messages */
	void (*writable)(void *arg); /* after ws_send() had no room */
	/* The last call, once; also when it never opened. code: the peer's close
	 * code (1000 ...), 0 when there was none. why: what happened, in words
	 * (ERR_REFUSED, ERR_TLS, ERR_PROTO or ERR_CREDS with the HTTP status and
	 * the text of a refused upgrade ...); NULL after ws_close(). */
	void (*closed)(void *arg, int code, const char *reason, const struct err *why);
};

/* Bytes waiting to be sent; a longer message is taken when nothing waits. */
enum { WS_SEND_MAX = 512 * 1024 };

struct ws_context *ws_context_new(struct loop *, struct err *);
/* The way out (net/egress.h) of websockets from now on; borrowed. NULL: straight. */
void ws_context_set_egress(struct ws_context *, struct egress *);
/* Ends what is open at once; each one's closed() comes first, with why == NULL. */
void ws_context_free(struct ws_context *, loop_fn *freed, void *arg);
/* NULL: *e tells, and no handler is called. */
struct ws *ws_open(struct ws_context *, const struct ws_opts *, const struct ws_handler *,
		   void *arg, struct err *);
/* Copies the message; false: no room now, writable() follows. Only when open. */
bool ws_send(struct ws *, bool text, const void *p, size_t n);
/* The same for a binary message that nobody waits for: it may stay up to within_ms for company.
 * It goes with the next ws_send(), or when a block (16 KiB) of such has gathered. */
bool ws_send_soon(struct ws *, const void *p, size_t n, unsigned within_ms);
void ws_pause(struct ws *, bool paused); /* stops reading: back-pressure */
/* Idempotent. What was sent still goes, then a close frame (1000); closed()
 * follows when the peer has answered or ended, at most 2 s later. */
void ws_close(struct ws *);
#endif
