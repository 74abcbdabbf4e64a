#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H
/*
 * Name look-up by the system's resolver, on the thread pool, with a small
 * cache for each loop. Whoever asks has decided before that the name may be
 * looked up: nothing is asked ahead of time, and nothing is told from the
 * cache to somebody who did not ask.
 *
 * getaddrinfo() tells no time to live, so answers live for 5 s and failures
 * for 1 s: long enough for the connections that a page makes at once, short enough
 * for nobody to notice a change. What was found is judged again each time it
 * is used (net_dial_opts.allow).
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct loop;
struct net_resolve;

enum { RESOLVE_MAX = 16 }; /* further addresses of a name are ignored */

/* list: n > 0 addresses in the order in which to try them (RFC 6724, families
 * interleaved as RFC 8305 section 4 wants), until return. NULL: *why tells
 * (ERR_RESOLVE; ERR_NOMEM; ERR_LIMIT: no descriptors). Once, from the loop. */
typedef void resolved_fn(void *arg, const struct addr *list, size_t n, const struct err *why);

/* Those who ask for a name that is being looked up wait for the same answer. NULL: *e tells
 * (ERR_NOMEM; ERR_LIMIT: too many look-ups are under way on this loop). */
struct net_resolve *net_resolve(struct loop *, const char *host, uint16_t port, resolved_fn *,
				void *arg, struct err *);
void net_resolve_cancel(struct net_resolve *); /* then the callback never comes */

/* RFC 8305, 4: alternates between the first address's family and the other one;
 * the order within each stays. n <= RESOLVE_MAX. */
void resolve_interleave(struct addr *list, size_t n);

/* Runs on the pool, several at a time: up to RESOLVE_MAX addresses (without a port) of host.
 * Returns as getaddrinfo() does, with errno. */
typedef int lookup_fn(void *arg, const char *host, struct addr *list, size_t *n);

/* How a loop looks names up; zeroes take the defaults. */
struct resolve_opts {
	lookup_fn *lookup;       /* getaddrinfo() */
	void *arg;               /* of lookup */
	unsigned keep_ms;        /* answers: 5000 */
	unsigned keep_failed_ms; /* failures: 1000 */
	size_t names;            /* in the cache: 256, and those that somebody waits for */
	size_t under_way;        /* look-ups at the same time: 128 */
};
/* Before the loop's first look-up. */
MUST_CHECK int resolve_set_opts(struct loop *, const struct resolve_opts *, struct err *);
#endif
