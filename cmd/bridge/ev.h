#ifndef CMD_BRIDGE_EV_H
#define CMD_BRIDGE_EV_H
/*
 * A small event loop for programs that stand alone: descriptors and timers, nothing else, on libc
 * alone. net/loop.h is the one of awsocks; this one is for what runs where no library is (an empty
 * root, a small VM). epoll on Linux (ev_epoll.c), poll elsewhere (ev_portable.c).
 *
 * Watches are level-triggered: what is not read is told again. Watches and timers live in their
 * owner's struct. A callback may unwatch, disarm and free anything, its own watch included; what
 * was unwatched is not told of any more, also when the kernel had it in the same batch.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct ev;

enum {
	EV_READ = 1,
	EV_WRITE = 2,
	/* Never asked for: the descriptor is broken, or ended both ways. Told with what is wanted;
	 * once, when nothing is wanted. */
	EV_GONE = 4,
	/* The peer has said all; where the system tells without what it has said being read. */
	EV_END = 8
};

struct ev_watch { /* zeroed: not watched */
	int fd;
	unsigned want;
	bool on;     /* watched */
	bool asleep; /* not with the kernel: gone, and nothing wanted of it */
	bool always; /* a file, which is always ready */
	unsigned slot;
	void (*fn)(void *arg, unsigned what);
	void *arg;
};
struct ev_timer { /* zeroed: not armed */
	struct list node;
	uint64_t at_ms;
	void (*fn)(void *arg);
	void *arg;
};

MUST_CHECK int ev_new(struct ev **, struct err *);
void ev_free(struct ev *); /* NULL is allowed */
/* Runs callbacks until ev_stop(). -1: the system fails us, *e tells. */
MUST_CHECK int ev_run(struct ev *, struct err *);
void ev_stop(struct ev *);
uint64_t ev_now(const struct ev *); /* monotonic, ms; of this turn */

/* fd stays the caller's. want may be 0. */
MUST_CHECK int ev_watch(struct ev *, struct ev_watch *, int fd, unsigned want,
			void (*fn)(void *arg, unsigned what), void *arg, struct err *);
void ev_want(struct ev *, struct ev_watch *, unsigned want);
void ev_unwatch(struct ev *, struct ev_watch *); /* allowed when not watched */

/* Armed again, it moves. */
void ev_arm(struct ev *, struct ev_timer *, unsigned ms, void (*fn)(void *arg), void *arg);
void ev_disarm(struct ev *, struct ev_timer *); /* allowed when not armed */
#endif
