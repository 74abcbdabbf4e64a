#ifndef PROXY_UDP_PEERS_H
#define PROXY_UDP_PEERS_H
/*
 * The addresses that an association has sent to: only they may answer. At most
 * UDP_PEERS_MAX; the one that was sent to longest ago makes room.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "net/addr.h"

enum { UDP_PEERS_MAX = 512, UDP_PEERS_BUCKETS = 64 };

struct udp_peers {
	struct list lru; /* the last one was sent to last */
	struct list bucket[UDP_PEERS_BUCKETS];
	size_t count;
};

void udp_peers_init(struct udp_peers *);
void udp_peers_free(struct udp_peers *);
/* Address and port, IPv4 or IPv6. ERR_NOMEM. */
MUST_CHECK int udp_peers_add(struct udp_peers *, const struct addr *, struct err *);
bool udp_peers_has(const struct udp_peers *, const struct addr *);
#endif
