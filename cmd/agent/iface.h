#ifndef CMD_AGENT_IFACE_H
#define CMD_AGENT_IFACE_H
/* Network interfaces, by ioctl: IPv4 alone. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/frame.h"

enum { IFACE_NAME = 16 };

/* The named one, or with name "" the first that is like Ethernet, with its MAC. False: not there
 * (yet). */
bool iface_find(const char *name, char out[static IFACE_NAME], uint8_t mac[static 6]);
MUST_CHECK int iface_up(const char *name, struct err *);
struct iface_setup {
	struct addr address, gateway; /* gateway.len 0: none */
	uint8_t prefix;
	unsigned mtu; /* 0: as it is */
};
/* Address, mask, MTU, the default route. What was there before is replaced. */
MUST_CHECK int iface_set(const char *name, const struct iface_setup *, struct err *);
void iface_clear(const char *name); /* takes the address away */
/* What a default route goes through: address, prefix, gateway. False: there is none. */
bool iface_of_default(struct frame_network *);
#endif
