#ifndef LOCALAWS_PUMP_H
#define LOCALAWS_PUMP_H
/*
 * The agent's way out for target bytes: at most 1024 of them to a message,
 * and after each message a sleep of 1 ms (`--throttle agent`), a pause that
 * keeps a rate, or none. Sleeps that were too long because other sessions had
 * their turn are made up for, a little: each real agent sleeps by itself. It stops while the
 * channel is paused and while the gateway has no room, so that nothing piles up here.
 */
#include "cmd/localaws/channel.h"

struct pump {
	struct world *w;
	struct channel *ch;
	size_t (*pull)(void *arg, uint8_t *out, size_t max); /* 0: nothing now */
	void *arg;
	double next_ms;  /* when the next message may go (rate) */
	double slept_ms; /* until then it sleeps (agent); 0: there was nothing to send */
	struct loop_timer sleep;
	struct loop_post post;
};

void pump_init(struct pump *, struct world *, struct channel *,
	       size_t (*pull)(void *arg, uint8_t *out, size_t max), void *arg);
void pump_wake(struct pump *); /* there are bytes, or room, or no pause any more */
void pump_stop(struct pump *);
#endif
