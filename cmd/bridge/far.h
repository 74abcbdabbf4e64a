#ifndef CMD_BRIDGE_FAR_H
#define CMD_BRIDGE_FAR_H
/*
 * The bridge's other end: one address, which may be away for a while (the host restarts its
 * awsocks). Who asks meanwhile waits; one of them tries again and again (20 ms, growing to 250 ms),
 * and when it gets through all others go too. A wait is bounded in number and time.
 */
#include "base/err.h"
#include "cmd/bridge/ev.h"
#include "net/addr.h"

struct far;

struct far_opts {
	struct addr addr;
	unsigned wait_ms;  /* 0: nobody waits */
	unsigned held_max; /* who may wait at a time */
};
MUST_CHECK int far_new(struct far **, struct ev *, const struct far_opts *, struct err *);
void far_free(struct far *); /* nobody waits any more. NULL is allowed */
bool far_is_away(const struct far *);

struct far_call { /* zeroed: not asked */
	struct list node;
	struct far *far;
	struct ev_watch watch;
	uint64_t since_ms, dialed_ms;
	bool waits, yields;
	void (*fn)(void *arg, int fd);
	void *arg;
};
/* fn() is called once, from the loop: with a connected socket (non-blocking, to be closed by who
 * asked), or -1 (why is in the log, or was the same as before). */
void far_ask(struct far *, struct far_call *, void (*fn)(void *arg, int fd), void *arg);
/* Who asked has said all already: it may have gone away, or wait for an answer to that. It keeps
 * its place until somebody else needs one. */
void far_may_yield(struct far_call *);
void far_cancel(struct far_call *); /* allowed when not asked */
#endif
