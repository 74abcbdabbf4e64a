#ifndef LOCALAWS_TARGET_H
#define LOCALAWS_TARGET_H
/*
 * Where an agent forwards to: the host of its session, resolved once when the
 * session starts, tried address by address at each dial (ssm-protocol 1).
 *
 * A `struct target` belongs to the session; a `struct target_dial` to whoever
 * wants a connection.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct loop_work;
struct net_dial;
struct stream;
struct world;

enum { TARGET_ADDRS = 8, TARGET_HOST = 256 };
struct target {
	struct world *w;
	char host[TARGET_HOST], account[16];
	uint16_t port;
	struct addr addr[TARGET_ADDRS];
	size_t count;
	struct target_lookup *lookup; /* under way; NULL: none */
};

/* why NULL: resolved. Otherwise why->msg is the Output that ends the session. Once,
 * from the loop. */
typedef void target_resolved_fn(void *arg, const struct err *why);

/* account: whose names the host is looked up in. */
void target_init(struct target *, struct world *, const char *account, const char *host,
		 uint16_t port);
/* -1: *e tells (out of memory), and done() never comes. */
MUST_CHECK int target_resolve(struct target *, target_resolved_fn *done, void *arg, struct err *e);
void target_free(struct target *); /* done() does not come any more */

/* s is the callee's; NULL: no connection. Once, from the loop. */
typedef void target_dialed_fn(void *arg, struct stream *s, const struct err *why);
struct target_dial;
/* NULL: *e tells, and done() never comes. */
struct target_dial *target_dial(struct target *, target_dialed_fn *done, void *arg, struct err *e);
void target_dial_cancel(struct target_dial *); /* then done() never comes; NULL allowed */
#endif
