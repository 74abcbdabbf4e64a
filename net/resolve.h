#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H
/* Name look-up by the system's resolver, on the thread pool. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct loop;
struct net_resolve;

enum { RESOLVE_MAX = 16 }; /* further addresses of a name are ignored */

/* list: n > 0 addresses in the order in which to try them (RFC 6724, families
 * interleaved as RFC 8305 section 4 wants), until return. NULL: *why tells
 * (ERR_RESOLVE; ERR_NOMEM). Once, from the loop. */
typedef void resolved_fn(void *arg, const struct addr *list, size_t n, const struct err *why);

struct net_resolve *net_resolve(struct loop *, const char *host, uint16_t port, resolved_fn *,
				void *arg, struct err *);
void net_resolve_cancel(struct net_resolve *); /* then the callback never comes */

/* RFC 8305, 4: alternates between the first address's family and the other one;
 * the order within each stays. n <= RESOLVE_MAX. */
void resolve_interleave(struct addr *list, size_t n);
#endif
