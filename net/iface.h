#ifndef NET_IFACE_H
#define NET_IFACE_H
/* This host's network interfaces, as far as getifaddrs(3) does not tell. One file for each
 * platform. */
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { IFACE_VM_MAX = 128 };

/* A descriptor on which the system tells of interfaces and addresses that come and go; the
 * caller's to close. -1: it does not. */
int iface_changes_open(void);
/* Has anything changed since the last call? Does not block; what was told is dropped. In doubt:
 * true. */
bool iface_changes_seen(int fd);

/* A network's mask (IPv4 or IPv6) as getifaddrs(3) has it, whole. */
void iface_mask(struct sockaddr_storage *out, const struct sockaddr *mask, sa_family_t);

/* Would what is sent there (IPv4 or IPv6) arrive at this host, by a route of type local, which may
 * be for a whole network that no interface has? false where the system never says (macOS); true
 * when it does not say this time (no descriptor, no memory): what is not known is not let through.
 */
bool iface_routes_here(const struct sockaddr *);

struct iface_names {
	char name[IFACE_VM_MAX][IF_NAMESIZE];
	size_t count;
};
/* The interfaces by which this host talks to its own VMs and containers: bridges that no real
 * network card belongs to, and taps (Linux); vmnet's bridges (macOS). -1: unknown, or more than
 * that, errno. */
int iface_vm_nets(struct iface_names *);
#endif
