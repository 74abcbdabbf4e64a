#ifndef PROXY_LIMITS_H
#define PROXY_LIMITS_H
/*
 * How many clients are served at the same time: in total, at each listener and
 * for each peer. One `struct limits` serves the whole process, one `struct
 * limits_listener` all loops of a listener; both may be used from any thread.
 *
 * Two answers to "full". In total and at a listener, clients wait: whoever
 * accepts asks for a place before it takes a connection out of the backlog,
 * and leaves it there when there is none. That shows nobody an error, and no
 * descriptor is spent on them. Over a peer's share the connection is
 * refused: left in the backlog it would stand before everybody else's.
 *
 *     limits_enter() -> accept -> limits_peer_take() -> served -> limits_leave() with the peer
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct addr;
struct limits;
struct limits_listener;
struct limits_peer; /* the count of one peer, for as long as it has clients */

struct limits_opts {
	size_t total;    /* over all listeners; 0: no limit */
	size_t per_peer; /* over all listeners that have none of their own; 0: no limit */
};
MUST_CHECK int limits_new(struct limits **, const struct limits_opts *, struct err *);
void limits_free(struct limits *); /* after its listeners; NULL allowed */
/* How full it is now, for people to read: one may be counted who only asks for a place. */
struct limits_count {
	size_t served, most; /* most: 0: no limit */
	size_t per_peer;     /* 0: no limit, or (a listener) none of its own */
};
struct limits_count limits_count(const struct limits *);

struct limits_listener_opts {
	const char *name; /* for the log, copied */
	size_t most;      /* clients of this listener; 0: no limit of its own */
	size_t per_peer;  /* instead of the process' limit, counted at this listener alone; 0: that
			     one */
};
MUST_CHECK int limits_listener_new(struct limits_listener **, struct limits *,
				   const struct limits_listener_opts *, struct err *);
void limits_listener_free(struct limits_listener *); /* when nobody is served; NULL allowed */
struct limits_count limits_listener_count(const struct limits_listener *);

/* A place for the next client; false: there is none now. One warning for each shortage. NULL:
 * there is always one. */
bool limits_enter(struct limits_listener *);
/* Gives it back. */
void limits_leave(struct limits_listener *);

/* What tells peers apart, as said at limits_peer_take(). */
enum { LIMITS_KEY = 9 };
void limits_key(const struct addr *, long uid, uint8_t key[static LIMITS_KEY]);
/* Counts one client more of the peer: its IPv4 address, the /64 network of its IPv6 address, or
 * (Unix) the user `uid`; -1: not known, which is a user of its own. -1: it has its share already
 * (ERR_LIMIT) or memory is out. *out may be NULL when nothing is counted. */
MUST_CHECK int limits_peer_take(struct limits_listener *, const struct addr *, long uid,
				struct limits_peer **out, struct err *);
void limits_peer_give(struct limits_peer *); /* NULL allowed */

/* What `descriptors` (RLIMIT_NOFILE) are enough for, when each client takes two: never 0. */
size_t limits_auto(size_t descriptors);
#endif
