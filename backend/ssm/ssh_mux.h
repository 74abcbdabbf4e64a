#ifndef SSM_SSH_MUX_H
#define SSM_SSH_MUX_H
/*
 * Many streams through one OpenSSH master: the channels of RFC 4254 on its
 * control socket in proxy mode (ssh_wire.h).
 *
 *     stream_write -> out --window of sshd--> packets -> link (control socket)
 *     data()       <- in  <--window of ours-- packets <- link
 *
 * Unlike an smux stream a channel has an answer to each dial with its reason,
 * both half-closes, and flow control from end to end: what a slow reader leaves
 * is at most its own window, and the link is always read.
 *
 * sshd ends the whole connection when it gets something for a channel that it
 * does not know. So after our CLOSE nothing is sent for a channel, a dial that is given
 * up is closed only when it has been answered, and a number is used again only after 2^31.
 *
 * RFC 4254 has no reset: stream_abort() is a CLOSE, and what was to be sent is dropped.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct ssh_dial;
struct ssh_mux;
struct stream;

struct ssh_mux_opts {
	struct loop *loop;
	uint32_t window;    /* bytes held for one slow reader; 0: 1 MiB */
	size_t send_max;    /* bytes a stream may have waiting to be sent; 0: 128 KiB */
	unsigned linger_ms; /* how long a closed stream's last bytes may take; 0: 60 s */
};

struct ssh_mux_handler {
	void (*ready)(void *arg);   /* the master serves us: dials go out; once */
	void (*changed)(void *arg); /* ssh_mux_streams() has changed */
	/* The link or the protocol is over: it takes no more dials, its streams end with *why by
	 * themselves. Once; not after ssh_mux_close(). */
	void (*ended)(void *arg, const struct err *why);
	void (*freed)(void *arg); /* the last call: all streams and the link have closed */
};

/* s == NULL: *why tells. Once, from the loop. The stream is yours, without handler; attach one
 * before this returns. */
typedef void ssh_dialed_fn(void *arg, struct stream *s, const struct err *why);

/* Takes link, a stream to the control socket (also when it fails: it is closed then). NULL: *e. */
struct ssh_mux *ssh_mux_new(const struct ssh_mux_opts *, struct stream *link,
			    const struct ssh_mux_handler *, void *arg, struct err *e);
/* Dials and streams end with *why, the link closes; freed() follows when their owners have
 * closed. Idempotent. */
void ssh_mux_close(struct ssh_mux *, const struct err *why);

/* Waits for ready() if need be. No limit of its own. NULL: *e tells. */
struct ssh_dial *ssh_mux_dial(struct ssh_mux *, const char *host, uint16_t port, ssh_dialed_fn *,
			      void *arg, struct err *e);
void ssh_mux_cancel(struct ssh_dial *); /* then the callback never comes */

bool ssh_mux_ready(const struct ssh_mux *);     /* and not over */
size_t ssh_mux_streams(const struct ssh_mux *); /* dials and streams that somebody owns */
void ssh_mux_counts(const struct ssh_mux *, uint64_t *up, uint64_t *down); /* payload bytes */
#endif
