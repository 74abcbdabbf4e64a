/*
 * By kind first (net/host_kind.h), then by what the guest has told of its network. An IPv6 address
 * that carries an IPv4 one (mapped, NAT64, 6to4) is judged by both.
 *
 * Of the guest's IPv6 nothing is known but this: the networks that VMMs make there are local ones
 * (fec0::/64 of slirp, where fec0::2 is the host's loopback as 10.0.2.2 is; fd00::/8 of vmnet). So
 * none of these is reached.
 */
#include "vm/guard.h"

#include <string.h>

#include "net/host_kind.h"

enum { V4_AS_V6 = 96 }; /* bits before an IPv4 address in its mapped form */

static bool of(struct ip *ip, const struct addr *a)
{
	return a->len && ip_from_sockaddr(ip, (const struct sockaddr *)&a->ss);
}

static bool same_network(const struct ip *a, const struct ip *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	uint8_t mask = (uint8_t)(0xff00u >> rest);

	if (memcmp(a->byte, b->byte, bytes) != 0)
		return false;
	return !rest || ((a->byte[bytes] ^ b->byte[bytes]) & mask) == 0;
}

static bool is_host(const struct ip *ip, const struct addr *a)
{
	struct ip other;

	return of(&other, a) && memcmp(ip, &other, sizeof(other)) == 0;
}

/* NULL: none of the guest's neighbours, or one that a rule opens. */
static const char *neighbour(const struct frame_network *n, const struct ip *ip, bool siblings)
{
	unsigned bits = n->prefix + (n->address.ss.ss_family == AF_INET ? V4_AS_V6 : 0u);
	struct ip own;

	if (is_host(ip, &n->gateway))
		return "the gateway of the VM's network, which is this host";
	for (size_t i = 0; i < n->dns_count && i < FRAME_DNS_MAX; i++)
		if (is_host(ip, &n->dns[i]))
			return "the VM's name server";
	if (is_host(ip, &n->address))
		return "the VM itself";
	if (!siblings && n->prefix && bits <= 8 * sizeof(own.byte) && of(&own, &n->address) &&
	    same_network(ip, &own, bits))
		return "in the VM's own network, as other VMs are (a rule with allow-host opens "
		       "them)";
	return NULL;
}

static const char *local_v6(const struct ip *ip)
{
	if (ip->byte[0] == 0xfe && (ip->byte[1] & 0xc0) == 0xc0)
		return "site-local: it may be the host";
	if ((ip->byte[0] & 0xfe) == 0xfc)
		return "a unique local address: it may be the host or another VM";
	return NULL;
}

static const char *known_by_network(const struct frame_network *n, const struct ip *ip,
				    bool siblings)
{
	struct ip inside[HOST_KIND_INSIDE_MAX];
	size_t count = ip_inside(ip, inside);
	const char *why = neighbour(n, ip, siblings);

	for (size_t i = 0; !why && i < count; i++)
		why = neighbour(n, &inside[i], siblings);
	return why ? why : local_v6(ip);
}

bool vm_guard_allow(const struct frame_network *network, const struct addr *to, bool siblings,
		    struct err *e)
{
	const char *kind, *why;
	char name[ADDR_TEXT];
	struct ip ip;

	if (!of(&ip, to)) {
		(void)err_set(e, ERR_DENIED, "not an IP address");
		return false;
	}
	addr_format_host(to, name);
	kind = ip_kind(&ip);
	if (kind) {
		(void)err_set(e, ERR_DENIED, "%s: a %s address is not reached from the VM", name,
			      kind);
		return false;
	}
	why = network ? known_by_network(network, &ip, siblings) : NULL;
	if (why)
		(void)err_set(e, ERR_DENIED, "%s: %s", name, why);
	return !why;
}

static bool is_slirps(const struct ip *ip)
{
	static const uint8_t v4[] = { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 0, [14] = 2 };
	static const uint8_t v6[] = { 0xfe, 0xc0, [7] = 0 };

	return memcmp(ip->byte, v4, sizeof(v4)) == 0 || memcmp(ip->byte, v6, sizeof(v6)) == 0;
}

bool vm_guard_allow_slirp(const struct addr *to, struct err *e)
{
	struct ip inside[HOST_KIND_INSIDE_MAX], ip;
	bool is_inside = !of(&ip, to) || is_slirps(&ip);
	size_t count = is_inside ? 0 : ip_inside(&ip, inside);
	char name[ADDR_TEXT];

	for (size_t i = 0; i < count; i++)
		is_inside = is_inside || is_slirps(&inside[i]);
	if (!is_inside)
		return true;
	addr_format_host(to, name);
	(void)err_set(e, ERR_DENIED, "%s: in the network of QEMU's NAT, which is this host", name);
	return false;
}
