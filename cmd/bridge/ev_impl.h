#ifndef CMD_BRIDGE_EV_IMPL_H
#define CMD_BRIDGE_EV_IMPL_H
/* The loop's two halves: ev.c (turns, timers), and one file that asks the kernel. */
#include "cmd/bridge/ev.h"

struct ev_poll; /* of the kernel's half */

struct ev {
	struct ev_poll *poll;
	struct list timers; /* the next one first */
	uint64_t now_ms;
	bool stopped;
};

MUST_CHECK int ev_poll_new(struct ev_poll **, struct err *);
void ev_poll_free(struct ev_poll *);
MUST_CHECK int ev_poll_add(struct ev_poll *, struct ev_watch *, struct err *);
void ev_poll_change(struct ev_poll *, struct ev_watch *); /* its want has changed */
void ev_poll_remove(struct ev_poll *, struct ev_watch *);
/* Waits and calls. ms -1: for ever. The time is read by `woken` between the two. */
MUST_CHECK int ev_poll_wait(struct ev_poll *, int ms, void (*woken)(void *arg), void *arg,
			    struct err *);
#endif
