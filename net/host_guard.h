#ifndef NET_HOST_GUARD_H
#define NET_HOST_GUARD_H
/*
 * The host guard: clients of a listener that others than this host's own users
 * can reach (a VM's gateway, a sandbox's Unix socket) must not get at the host itself, nor at
 * each other. Asked for each address after resolution, and the connection is made to the very
 * address that was asked about, so that a name cannot change its mind in between.
 *
 * Refused: loopback, unspecified, link-local, metadata services, multicast and
 * broadcast, in every form that IPv6 has for an IPv4 address (net/host_kind.h); every
 * address of this host's own interfaces, and what its routes lead back to it; the networks of its
 * VMs and containers: of bridges and taps (net/iface.h) and those that our listeners are in, unless
 * the way out of this host (its default route) leads there too.
 *
 * Where somebody else resolves (the instance, a VM) only literals and names can be judged:
 * host_guard_allow_name().
 *
 * One guard belongs to one loop. What it knows of interfaces it reads again when the system says
 * that something has changed, before it answers.
 */
#include <stdbool.h>

#include "base/err.h"
#include "net/addr.h"

struct host_guard;
struct loop;

struct host_guard *host_guard_new(struct loop *, struct err *);
void host_guard_free(struct host_guard *); /* NULL allowed */
/* One of our own listeners. One that is known already, and a Unix one, which no client can
 * name, change nothing. */
MUST_CHECK int host_guard_listener(struct host_guard *, const struct addr *, struct err *);

/* arg: the guard. false: *e says what kind of address it is. */
bool host_guard_allow(void *arg, const struct addr *, struct err *e);
/* The same for what a rule opens with allow-host: all but our own listeners. */
bool host_guard_allow_opened(void *arg, const struct addr *, struct err *e);
/* host: normalised (routing/host.h), an address or a name. false: an address that
 * host_guard_allow() refuses, or a name of the loopback (RFC 6761, 6.3, and those of /etc/hosts on
 * common systems), of this host, or of a metadata service. */
bool host_guard_allow_name(void *arg, const char *host, struct err *e);
#endif
