#ifndef VM_GUARD_H
#define VM_GUARD_H
/*
 * What must not be reached out of the VM's NAT: asked on both sides of the wall for each address,
 * after resolution, by the agent and by the host. Pure.
 *
 * NETS: the guest's own network and what stands in it: its gateway, which is this host (behind
 * QEMU's 10.0.2.2 are all of the host's loopback services), its name server (10.0.2.3), its
 * siblings (other VMs at the same vmnet), the guest itself; loopback, link-local, metadata,
 * multicast, unspecified (net/host_kind.h). A rule with allow-host opens the siblings, and nothing
 * else of these.
 */
#include <stdbool.h>

#include "base/err.h"
#include "net/addr.h"
#include "vm/frame.h"

/* false: *e says what kind of address it is. `network` may be NULL (then only kinds are judged).
 * siblings: a rule opens them. */
bool vm_guard_allow(const struct frame_network *network, const struct addr *to, bool siblings,
		    struct err *e);
/* Besides, where the NAT is QEMU's user-mode one, whatever the guest says of its network: in all of
 * 10.0.2.0/24 and fec0::/64 stand this host's loopback and its name server (libslirp, socket.c:
 * sotranslate_out()). */
bool vm_guard_allow_slirp(const struct addr *to, struct err *e);
#endif
