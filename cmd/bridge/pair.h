#ifndef CMD_BRIDGE_PAIR_H
#define CMD_BRIDGE_PAIR_H
/*
 * A relay of two ends: two lanes and what each is waiting for. An end of file is passed on when
 * all before it has gone, so that half-closes work; a broken end breaks the other one too.
 */
#include <stdbool.h>

#include "base/err.h"
#include "cmd/bridge/ev.h"
#include "cmd/bridge/lane.h"

/* One end: a socket (in and out the same), or two descriptors as standard input and output. */
struct pair_side {
	int in, out; /* -1: closed */
	struct ev_watch watch_in, watch_out;
};

struct pair { /* zeroed: not started */
	struct ev *ev;
	struct lane_shared *shared;
	struct pair_side side[2];
	struct lane lane[2]; /* [i]: from side i to the other one */
	bool done[2];        /* its end was passed on */
	bool started;
	void (*ended)(void *arg, int sys);
	void *arg;
};

enum pair_kind {
	PAIR_SOCKETS = 0, /* both ends never block */
	PAIR_STDIO        /* the first may: it is standard input and output */
};

struct pair_fds {
	int in, out;
};

/* Takes the descriptors when it succeeds. ended() is called once, from the loop: sys 0 when both
 * directions have ended, otherwise errno; it may close the pair. */
MUST_CHECK int pair_start(struct pair *, struct ev *, struct lane_shared *, enum pair_kind,
			  struct pair_fds a, struct pair_fds b, void (*ended)(void *arg, int sys),
			  void *arg, struct err *);
/* broken: who is still there shall not take what it got for all there was. Allowed when not
 * started. */
void pair_close(struct pair *, bool broken);
/* Whether side 0 has sent nothing that side 1's system does not have yet. */
bool pair_is_settled(const struct pair *);
#endif
