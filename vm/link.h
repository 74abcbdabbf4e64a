#ifndef VM_LINK_H
#define VM_LINK_H
/*
 * Many streams over one byte pipe, as docs/PROTOCOL.vm has them: the same code in the host and in
 * the guest. It knows no loop, no socket and no time.
 *
 *     stream_write -> out --round robin, frames--> link_pull()   -> the pipe
 *     data()       <- in  <-------- frames ------- link_input()  <- the pipe
 *
 * Each direction of each stream has a credit window: what a reader does not take stays within what
 * was granted, and nobody else waits for it. WINDOW goes out when half of what was granted has been
 * consumed, which is: delivered to the stream's owner.
 *
 * No more than the budget is ever granted, so that no peer can make us hold more. Half of it is
 * shared out evenly: the window that each stream begins with. The other half goes to those whose
 * readers are quick, until they have opts.window. The bytes that wait to be sent are bounded in the
 * same way, by a budget of the same size.
 *
 * A stream that is closed still delivers what it has taken. Those whose far reader does not move
 * are bounded too: when there are more than a quarter of streams_max, the oldest is reset.
 *
 * Handlers run from link_input() and link_run() only, and may call anything but link_free(),
 * link_input() and link_run().
 * kick() may come from any call: it asks the owner to come from its loop, pull what is to be sent
 * and call link_run().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/frame.h"

struct link;
struct stream;

/* Payload of the frames that are made. With its head one fills what a virtio-serial port takes in a
 * write, 32 KiB: a full frame would be two, the second for 8 bytes. */
enum { LINK_PIECE = FRAME_DATA_MAX - FRAME_HEAD };

enum link_role { LINK_HOST = 0, LINK_GUEST };

struct link_opts {
	enum link_role role;
	uint32_t streams_max; /* open and asked for, at a time; 0: 1024 */
	uint32_t window;      /* that a stream's grows to; 0: 256 KiB */
	size_t budget;        /* bytes held for all slow readers together; 0: 32 MiB. At least 4 KiB
				 for each of streams_max */
	size_t send_max;      /* bytes a stream may have waiting to be sent; 0: 128 KiB */
};

/* The answer to a RESOLVE or an OPEN: once for each, unless it was taken back. */
struct link_answer {
	struct stream *stream; /* OPENED: the callee's, without handler yet; attach one at once */
	struct addr to;        /* OPENED: the address that was reached */
	const struct frame_addresses *addresses; /* ADDRESSES; never empty */
	const struct frame_failed *failed;       /* FAILED */
};

struct link_handler {
	void (*kick)(void *arg); /* idempotent */
	/* host: the guest's HELLO is checked (nonce!) and answered by link_welcome(), or the link
	 * is broken. Nothing else is taken from it before. */
	void (*hello)(void *arg, const struct frame_hello *);
	void (*network)(void *arg, const struct frame_network *);
	void (*metrics)(void *arg, const struct frame_metrics *);
	void (*log)(void *arg, unsigned level, const char *text);
	void (*answered)(void *arg, uint32_t id, const struct link_answer *);
	/* guest */
	void (*welcome)(void *arg, const struct frame_welcome *);
	void (*resolve)(void *arg, uint32_t id, const char *name);
	void (*open)(void *arg, uint32_t id, const struct frame_addresses *);
	void (*taken_back)(void *arg, uint32_t id); /* a question that has not been answered */
	void (*shutdown)(void *arg);
	/* both */
	void (*pong)(void *arg, uint64_t token);
	void (*goodbye)(void *arg, const char *text); /* the peer is about to end the link */
};

/* Handlers that the role does not need may be NULL. The handler is not copied. */
struct link *link_new(const struct link_opts *, const struct link_handler *, void *arg,
		      struct err *);
/* All streams are told closed(arg, why) from the next link_run() (those whose peer had ended, after
 * the rest of their bytes and eof()); questions are forgotten, and nothing goes out any more but a
 * GOODBYE. why NULL: a clean end. */
void link_break(struct link *, const struct err *why);
void link_free(
	struct link *); /* after its last stream has gone: link_streams() == 0; NULL allowed */

/* Bytes of the pipe, in order. -1: ERR_PROTO, naming the frame, ERR_UNSUPPORTED: no version in
 * common, or ERR_NOMEM: break the link. A GOODBYE with that message is then ready to be pulled,
 * also after link_break(). */
MUST_CHECK int link_input(struct link *, const uint8_t *p, size_t n, struct err *);
/* Fills at most max (>= FRAME_HEAD + FRAME_CONTROL_MAX) bytes with whole frames; 0: nothing to
 * send. Control frames go before data; streams take turns. */
size_t link_pull(struct link *, uint8_t *to, size_t max);
bool link_pending(const struct link *); /* link_pull() may have something */
/* The short way, without a copy: when nothing waits to be pulled, and the far end has granted it, a
 * DATA frame's head is written into the FRAME_HEAD bytes before p. Returns how many of the n bytes
 * it is for (at most LINK_PIECE), which have been sent as far as the link knows: head and bytes
 * are the caller's to put into the pipe before anything else. 0: not now, see stream_write(). */
size_t link_direct(struct stream *, uint8_t *p, size_t n);
/* Tells streams and owner what there is to tell. From the event loop only. */
void link_run(struct link *);
/* The next frame pulled is the last: why the link ends. link_break() is the caller's. */
void link_goodbye(struct link *, const char *text);
size_t link_streams(const struct link *); /* that are not gone, and questions */
size_t link_held(const struct link *);    /* bytes, for slow readers */

/* ---- host ---- */

/* caps are cut to those that the guest has; version and window are the link's own to fill in.
 * ERR_CLOSED: broken, no HELLO yet, or a second one. */
MUST_CHECK int link_welcome(struct link *, const struct frame_welcome *, struct err *);
/* *id: of the question. ERR_LIMIT: streams_max; ERR_CLOSED: broken, or not welcomed yet. */
MUST_CHECK int link_resolve(struct link *, const char *name, uint32_t *id, struct err *);
/* Questions and streams that there may be at a time: ours, or the guest's if those are fewer. */
uint32_t link_streams_most(const struct link *);
/* Tried in this order, raced as RFC 8305 has it. */
MUST_CHECK int link_open(struct link *, const struct frame_addresses *, uint32_t *id, struct err *);
void link_take_back(struct link *, uint32_t id); /* answered() does not come for it */
void link_shutdown(struct link *);
void link_ping(struct link *, uint64_t token); /* either role; one under way at a time */

/* ---- guest ---- */

/* Once, first: nothing else goes out before the host's WELCOME. window and streams_max are the
 * link's own to fill in, and the versions when most is 0. */
void link_hello(struct link *, const struct frame_hello *);
/* Of each only the newest waits to be sent. */
void link_network(struct link *, const struct frame_network *);
void link_metrics(struct link *, const struct frame_metrics *);
/* Dropped, and counted in the next one, when the host does not keep up. */
void link_log(struct link *, unsigned level, const char *text);
/* Answers of one question; of an id that was taken back they are nothing. */
void link_addresses(struct link *, uint32_t id, const struct frame_addresses *);
void link_failed(struct link *, uint32_t id, const struct frame_failed *);
/* The stream of an OPEN that has been connected; NULL: taken back meanwhile, or no memory (the
 * host is told then). */
struct stream *link_opened(struct link *, uint32_t id, const struct addr *to);
#endif
