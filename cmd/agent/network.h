#ifndef CMD_AGENT_NETWORK_H
#define CMD_AGENT_NETWORK_H
/*
 * The guest's network: an interface, and what the settings or a DHCP server say of it. net=none: it
 * is there already, and is only told of. Names are resolved by /etc/resolv.conf, which is written
 * for dhcp and static.
 */
#include "base/err.h"
#include "vm/agent_conf.h"
#include "cmd/bridge/ev.h"

struct network;
struct say;

/* changed(): what the host is to be told; once or more, from the loop. -1: there is no network to
 * be had; the agent then tells that. */
MUST_CHECK int network_new(struct network **, struct ev *, const struct say *,
			   const struct agent_conf *,
			   void (*changed)(void *arg, const struct frame_network *), void *arg,
			   struct err *);
void network_free(struct network *); /* NULL is allowed */
#endif
