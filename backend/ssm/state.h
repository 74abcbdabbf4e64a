#ifndef SSM_STATE_H
#define SSM_STATE_H
/*
 * The life of the SSM backend, as a table: what leads where, and how long it
 * may last. No I/O: what a state does is its owner's `enter`.
 *
 *   idle -> creds -> instance -> session | online -> active <-> transitioning
 *             ^          |  (any failure)     |         |
 *             +-------- backoff <-------------+---------+
 *
 * An instance that does not run yet: instance -> starting -> connecting -> session. One that was
 * stopped, and is ours to start: active -> starting. One that is stopped because nobody uses it:
 * active -> idle.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/err.h"

enum fsm_state {
	FSM_IDLE = 0,
	FSM_CREDS,      /* credentials are being fetched */
	FSM_INSTANCE,   /* which instance is meant */
	FSM_STARTING,   /* until it runs (lifecycle.h) */
	FSM_CONNECTING, /* until its agent is connected (lifecycle.h has the limit) */
	FSM_ONLINE,     /* GetConnectionStatus: nobody waits yet */
	FSM_SESSION,    /* the first session, for the first dial that waits */
	FSM_ACTIVE,
	FSM_TRANSITIONING, /* credentials were renewed, or every data channel was lost */
	FSM_BACKOFF,       /* failed; the next try comes after a pause */
	FSM_CLOSED,
	FSM_STATE_COUNT
};

struct fsm_owner {
	/* The state has been entered; what it waits for ends in fsm_done(attempt). */
	void (*enter[FSM_STATE_COUNT])(void *arg, unsigned attempt);
	/* (Re)arms the one timer, which calls fsm_limit(); 0: disarms it. */
	void (*timer)(void *arg, unsigned ms);
	/* Every change, before enter. why: of a failure, else NULL; pause_ms with BACKOFF. */
	void (*trace)(void *arg, enum fsm_state from, enum fsm_state to, const struct err *why,
		      unsigned pause_ms);
};

struct fsm {
	const struct fsm_owner *owner;
	void *arg;
	enum fsm_state state;
	unsigned attempt;  /* of the present state; an answer to another one is dropped */
	unsigned failures; /* in a row */
	bool was_active, pause_over;
	struct err why; /* of the last failure */
};

void fsm_init(struct fsm *, const struct fsm_owner *, void *arg);
/* Someone wants it to be active: leaves idle, and backoff when its pause is over. */
void fsm_wake(struct fsm *);
/* The state that was entered as `attempt` has succeeded, and `next` follows. */
void fsm_done(struct fsm *, unsigned attempt, enum fsm_state next);
/* It has failed: backoff. */
void fsm_failed(struct fsm *, unsigned attempt, const struct err *why);
void fsm_limit(struct fsm *);     /* the timer fired */
void fsm_cut_pause(struct fsm *); /* the next fsm_wake() tries at once */
void fsm_close(struct fsm *);

const char *fsm_name(enum fsm_state);
enum backend_state fsm_outer(enum fsm_state); /* the state that others see */
#endif
