#ifndef SSM_SMUX_H
#define SSM_SMUX_H
/*
 * Many streams on one SSM session: the client side of smux version 1.
 *
 *     stream_write -> out --round robin, frames--> smux_pull()   -> channel
 *     data()       <- in  <-------- frames ------- smux_input()  <- channel
 *
 * Version 1 has no flow control for a stream. What a reader does not take is
 * held here, up to hold_max for one stream; then hold(true) asks for the whole
 * session's reading to pause, and if the reader has not moved after stall_ms
 * its stream is reset and the others go on.
 *
 * A FIN closes both directions at the far end and loses answers under way, so
 * stream_shutdown() sends nothing: the stream stays open until the far side
 * ends, or nothing has moved for idle_ms. FIN goes out on close alone.
 *
 * The far end dials in the order of our SYNs and says nothing when it
 * succeeds. A failure is a flag without a stream's name (smux_refused()), then
 * the FIN of a stream that never carried data. So a stream is "undecided"
 * until it or a later one carries data, or it ends; that settles which stream
 * a flag was for.
 *
 * A raw one has a single stream and no frames: what an SSH session carries. It cannot tell the
 * far end of its close, the session's end does that.
 *
 * No timer and no socket of its own: kick() asks the owner to come from the
 * event loop, pull what is to be sent, and call smux_run().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct clock;
struct smux;
struct stream;

struct smux_opts {
	const struct clock *clock;
	bool raw;          /* no frames: one stream alone, which is all the session's bytes */
	size_t hold_max;   /* bytes held for one slow reader; 0: 4 MiB */
	size_t send_max;   /* bytes a stream may have waiting to be sent; 0: 128 KiB */
	size_t frame_max;  /* payload of one frame we send; 0: 4 KiB */
	unsigned stall_ms; /* 0: 10 s */
	unsigned idle_ms;  /* half-closed and quiet; 0: 5 min */
};

enum smux_fate {
	SMUX_CARRIES = 0, /* data came, or a later stream proved that it is connected */
	SMUX_ENDED,       /* ended without data and without a flag */
	SMUX_REFUSED      /* the far end could not connect */
};

struct smux_handler {
	void (*kick)(void *arg); /* work to do; idempotent; may come from inside stream_ calls */
	void (*hold)(void *arg, bool on);
	void (*decided)(void *arg, struct stream *, enum smux_fate); /* once a stream, or never */
	void (*gone)(void *arg); /* a stream's memory is about to go: smux_streams() fell */
};

struct smux *smux_new(const struct smux_opts *, const struct smux_handler *, void *arg,
		      struct err *);
void smux_free(struct smux *); /* after its last stream has gone; NULL allowed */

/* A stream without handler: what it receives waits until stream_attach() and
 * smux_wake(). NULL: ERR_NOMEM, or ERR_CLOSED after smux_break(), or the second of a raw one. */
struct stream *smux_open(struct smux *, struct err *);
void smux_wake(struct stream *); /* its handler has been attached */
/* The seq given to smux_pull() when its SYN left, or -1. */
int64_t smux_syn_seq(const struct stream *);

/* Bytes from the far end, in order. -1: ERR_PROTO, the session is lost. */
MUST_CHECK int smux_input(struct smux *, const uint8_t *p, size_t n, struct err *);
/* Fills at most max bytes with whole frames; 0: nothing to send (or no room). */
size_t smux_pull(struct smux *, uint8_t *to, size_t max, int64_t seq);
bool smux_pending(const struct smux *);
void smux_nop(struct smux *); /* a NOP goes out before anything else; raw: nothing does */
void smux_refused(struct smux *);
/* Since when something has been sent for streams and no frame at all has come; 0: nothing has. */
uint64_t smux_asked_ms(const struct smux *);
/* Opens a stream of nobody's and closes it at once: the far end answers with a frame. ERR_NOMEM. */
MUST_CHECK int smux_probe(struct smux *, struct err *);
/* The seq given to smux_pull() when the last probe left, or -1. */
int64_t smux_probe_seq(const struct smux *);
uint32_t smux_opened(const struct smux *); /* grows with every stream that is opened */
void smux_raw_end(struct smux *);          /* raw: the far end has said its last byte */
/* Tells the streams what there is to tell. From the event loop only. */
void smux_run(struct smux *);
/* When smux_tick() is due (monotonic ms), UINT64_MAX: never. */
uint64_t smux_next(const struct smux *);
void smux_tick(struct smux *);
/* The session is lost: every stream ends with *why, after what it has received. */
void smux_break(struct smux *, const struct err *why);

/* After smux_break(): streams that had ended cleanly and were not read yet end too. */
void smux_abandon(struct smux *, const struct err *why);

size_t smux_streams(const struct smux *);
/* Streams that were opened or moved bytes in the last ms. */
size_t smux_moving(const struct smux *, uint64_t ms);
bool smux_holding(const struct smux *);
void smux_counts(const struct smux *, uint64_t *up, uint64_t *down); /* payload bytes */
#endif
