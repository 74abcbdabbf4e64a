#ifndef NET_HOST_GUARD_H
#define NET_HOST_GUARD_H
/*
 * The host guard: clients of a listener that others than this host's own users
 * can reach (a VM's gateway, a sandbox's Unix socket) must not get at the host itself.
 * Asked for each address after resolution, and the connection is made to the very address
 * that was asked about, so that a name cannot change its mind in between.
 *
 * Refused: loopback, unspecified, link-local (metadata services among them,
 * and AWS's IPv6 one), multicast and broadcast, and every address of this
 * host's own interfaces; the IPv4 forms inside IPv6 (mapped, NAT64) likewise.
 */
#include <stdbool.h>

#include "base/err.h"
#include "net/addr.h"

struct host_guard;
struct loop;

struct host_guard *host_guard_new(struct loop *, struct err *);
void host_guard_free(struct host_guard *); /* NULL allowed */
/* arg: the guard. false: *e says what kind of address it is. */
bool host_guard_allow(void *arg, const struct addr *, struct err *e);
#endif
