#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H
/*
 * A stream is a byte pipe with two independently closable directions. A TCP
 * client, an smux stream on an SSM session and a stream over the VM link all
 * look like this, so that stream/relay.c knows none of them.
 *
 * Reading is by credit: a stream delivers at most the bytes it was given
 * credit for, and without credit it stops reading its source. That is the
 * whole of flow control: what a reader holds is bounded by what it granted.
 * Only bytes that have left reopen the window.
 *
 * Handlers run from the event loop only, never from inside a stream_ call, so
 * that no caller finds its own object gone when the call returns. A handler
 * may call any stream_ function, stream_close() included; after
 * stream_close() only closed() follows.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct stream; /* opaque */

struct stream_handler {
	void (*data)(void *arg, const uint8_t *p, size_t n); /* n <= credit left; p until return */
	void (*eof)(void *arg);      /* the peer's direction ended; once; after its last byte */
	void (*writable)(void *arg); /* after a short stream_write() */
	/* The last call, once, after stream_close() or when the stream broke. why
	 * is NULL for a clean end. The stream's memory is gone afterwards. */
	void (*closed)(void *arg, const struct err *why);
};

/* May be called again to hand the stream to another owner; credit given stays. */
void stream_attach(struct stream *, const struct stream_handler *, void *arg);
void stream_credit(struct stream *, size_t n);
/* Takes 0..n bytes, copying them; fewer than n means: wait for writable(). */
size_t stream_write(struct stream *, const uint8_t *p, size_t n);
void stream_shutdown(struct stream *); /* no more writes from us; taken bytes still go */
/* Idempotent. Bytes taken are still delivered where the stream can do so in
 * the background; closed() follows from the loop in any case. */
void stream_close(struct stream *);
/* As close, but the peer is told that the stream broke (RST) where the kind can. */
void stream_abort(struct stream *);
/* The descriptor behind a plain socket stream that holds no bytes of its own:
 * it is the caller's now, the stream's memory is gone and closed() never
 * comes. -1: not that kind, and nothing happened. */
int stream_release_fd(struct stream *);
#endif
