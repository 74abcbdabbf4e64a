#ifndef CMD_BRIDGE_BRIDGE_H
#define CMD_BRIDGE_BRIDGE_H
/*
 * Listeners, each client of which is relayed to one other end, byte by byte.
 *
 *     client --> listener --> far_ask() --> pair <--> the other end
 *
 * It knows nothing of what goes through, and resolves no name.
 */
#include <sys/types.h>

#include "base/err.h"
#include "net/addr.h"

struct bridge;
struct ev;

enum { BRIDGE_LISTENERS = 16 };

struct bridge_opts {
	struct addr listen[BRIDGE_LISTENERS];
	size_t listen_count;
	struct addr to;
	mode_t mode;          /* of Unix paths that we make */
	unsigned wait_ms;     /* for the other end */
	unsigned max;         /* connections; over it clients wait in the backlog */
	unsigned max_waiting; /* connections that wait for the other end */
};

/* Binds all, and listens. */
MUST_CHECK int bridge_new(struct bridge **, struct ev *, const struct bridge_opts *, struct err *);
void bridge_free(struct bridge *); /* NULL is allowed; removes its Unix paths */
/* Where listener i listens, with the port that it got for port 0. */
const struct addr *bridge_address(const struct bridge *, size_t i);
/* Accepts nobody any more, but who has connected already; done() once all that clients have sent
 * has gone out, or after `limit_ms`. */
void bridge_drain(struct bridge *, unsigned limit_ms, void (*done)(void *arg), void *arg);
#endif
