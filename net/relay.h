#ifndef NET_RELAY_H
#define NET_RELAY_H
/*
 * Two streams joined, by the best means there is. Where both are plain
 * sockets their descriptors are taken and bytes move without the stream
 * layer: by splice(2) on Linux (sock_relay_splice.c), by one shared buffer
 * elsewhere (sock_relay_copy.c). Otherwise it is stream/relay.c.
 */
#include <stdint.h>

#include "stream/relay.h"

struct loop;
struct net_relay;

/* As relay_start(): takes both streams; n <= RELAY_WINDOW. */
struct net_relay *net_relay_start(struct loop *, struct stream *client, struct stream *remote,
				  const uint8_t *early, size_t n, relayed_fn *done, void *arg);
void net_relay_counts(const struct net_relay *, uint64_t *up, uint64_t *down);
void net_relay_abort(struct net_relay *); /* done() follows */
#endif
