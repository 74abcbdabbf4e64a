#ifndef PROXY_UDP_RULES_H
#define PROXY_UDP_RULES_H
/* What rules and host guard say about UDP. */
#include <stdbool.h>

#include "base/err.h"
#include "proxy/audit.h"

struct addr;
struct decision;
struct proxy;
struct socks_dest;

/* By the rules: 0 for direct, otherwise -1 with *e. */
MUST_CHECK int udp_rules_judge(const struct decision *, enum audit_action *, struct err *);
/* Whether datagrams of this decision may go to this very address: the host guard, and never to
 * more than one host (multicast, broadcast). */
bool udp_rules_may(const struct proxy *, const struct decision *, const struct addr *,
		   struct err *);
/* A request's address. Unspecified, or the client's own host: its port is where the client will
 * send from, and goes to *client (RFC 1928, 4 and 6). Anything else is taken for a destination,
 * since some clients put it there: -1 and the record filled when the rules do not let UDP go there.
 */
MUST_CHECK int udp_rules_request(const struct proxy *, const struct socks_dest *,
				 struct addr *client, struct audit_record *, struct err *);
#endif
