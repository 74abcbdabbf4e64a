#ifndef CMD_BRIDGE_LANE_H
#define CMD_BRIDGE_LANE_H
/*
 * One direction of a relay between two descriptors: what is read goes out at once, what is not
 * taken is kept, and nothing more is read before that has gone. So a reader that stands still
 * costs one buffer at most, and its writer is made to wait.
 *
 * Bulk between sockets goes through a pipe on Linux and never enters user space (lane_splice.c);
 * elsewhere there is only the plain way (lane_copy.c).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What all lanes of a loop share: the buffer they read into, and pipes that are not in use. */
struct lane_shared;
MUST_CHECK int lane_shared_new(struct lane_shared **, struct err *);
void lane_shared_free(struct lane_shared *); /* NULL is allowed */

enum lane_kind {
	LANE_SOCKETS = 0, /* both never block */
	LANE_FROM_STDIO,  /* the source may: poll(2) is asked before each read */
	LANE_TO_STDIO     /* the sink may: poll(2) said that it would not, for a small piece */
};

struct lane { /* zeroed, then lane_init() */
	enum lane_kind kind;
	uint8_t *kept;
	uint32_t kept_at, kept_len;
	int pipe[2];      /* -1: none */
	uint32_t in_pipe; /* bytes */
	bool full;        /* the last read filled the buffer: bulk */
	bool eof;         /* the source has ended */
	uint64_t moved;
};

enum lane_step {
	LANE_MORE = 0,  /* the turn is over; there may be more */
	LANE_WANTS_IN,  /* the source has to be readable */
	LANE_WANTS_OUT, /* the sink has to be writable */
	LANE_ENDED,     /* the source has ended, and all of it has gone */
	LANE_BROKEN     /* either end: errno */
};

void lane_init(struct lane *, enum lane_kind);
void lane_free(struct lane_shared *, struct lane *);
static inline bool lane_holds(const struct lane *f)
{
	return f->kept_len || f->in_pipe;
}
/* Moves for one turn (a few buffers at most). */
enum lane_step lane_run(struct lane_shared *, struct lane *, int from, int to);

/* ---- of the platform's file ---- */

struct sock_pipes;
void lane_pipes_free(struct sock_pipes *); /* NULL is allowed */
/* One step of bulk; nothing is held. 1: no, take the plain way. Otherwise 0, and *step tells. */
int lane_bulk(struct sock_pipes **, struct lane *, int from, int to, enum lane_step *step);
/* Moves what the pipe holds on: LANE_MORE when it is empty. */
enum lane_step lane_drain(struct sock_pipes **, struct lane *, int to);
void lane_bulk_free(struct sock_pipes **, struct lane *);
#endif
