#include "net/host_guard.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/host_kind.h"
#include "net/iface.h"
#include "net/loop.h"
#include "net/sock.h"

enum {
	AGE_MS = 500, /* where the system does not tell of changes */
	LISTENERS_MAX = 512,
	NAME_MAX_LEN = 256
};

struct own {
	struct ip ip;
	unsigned bits; /* of the network it is in */
	bool broadcast, vm_net;
};

static const char neighbour[] = "a neighbouring VM's";

struct host_guard {
	struct loop *loop;
	int changes; /* descriptor; -1: not open, or the system does not tell */
	bool opened, read;
	uint64_t read_ms;
	size_t own_count;
	struct own *own;
	size_t listener_count;
	struct addr *listener;
};

/* ---- what this host has ---- */

static bool same_ip(const struct ip *a, const struct ip *b)
{
	return memcmp(a->byte, b->byte, sizeof(a->byte)) == 0;
}

static unsigned mask_bits(const struct sockaddr *mask, sa_family_t family)
{
	struct sockaddr_storage copy;
	unsigned bits = 0, from = family == AF_INET ? 96 : 0;
	struct ip ip;

	if (!mask)
		return 128;
	iface_mask(&copy, mask, family);
	if (!ip_from_sockaddr(&ip, (const struct sockaddr *)&copy))
		return 128;
	for (bits = from; bits < 128 && (ip.byte[bits / 8] & (0x80 >> bits % 8)); bits++)
		;
	return bits;
}

static bool in_net(const struct ip *ip, const struct ip *net, unsigned bits)
{
	size_t whole = bits / 8;

	if (memcmp(ip->byte, net->byte, whole) != 0)
		return false;
	return bits % 8 == 0 || (ip->byte[whole] ^ net->byte[whole]) >> (8 - bits % 8) == 0;
}

/* This host's address towards the world: what the system would send from. Connecting a UDP socket
 * sends nothing, and the address belongs to nobody (RFC 5737, RFC 3849). */
static bool way_out(const char *nobody, struct ip *out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct addr to;
	bool found;
	int fd;

	if (!addr_from_literal(nobody, 9, &to))
		return false;
	fd = sock_open_udp(to.ss.ss_family);
	if (fd < 0)
		return false;
	found = connect(fd, (const struct sockaddr *)&to.ss, to.len) == 0 &&
		getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
		ip_from_sockaddr(out, (const struct sockaddr *)&ss);
	close(fd);
	return found;
}

static bool has_name(const struct iface_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->name[i], name) == 0)
			return true;
	return false;
}

/* Does a listener of ours have this address? Not loopback: everyone has that. */
static bool is_listening(const struct host_guard *g, const struct ip *ip)
{
	struct ip at;

	if (ip_kind(ip))
		return false;
	for (size_t i = 0; i < g->listener_count; i++)
		if (ip_from_sockaddr(&at, (const struct sockaddr *)&g->listener[i].ss) &&
		    same_ip(&at, ip))
			return true;
	return false;
}

static void note(struct host_guard *g, const struct ifaddrs *i)
{
	const struct sockaddr *broadcast = i->ifa_flags & IFF_BROADCAST ? i->ifa_broadaddr : NULL;
	struct own *own = &g->own[g->own_count];

	*own = (struct own){ .bits = 128 };
	if (!ip_from_sockaddr(&own->ip, i->ifa_addr))
		return;
	own->bits = mask_bits(i->ifa_netmask, i->ifa_addr->sa_family);
	g->own_count++;
	own = &g->own[g->own_count];
	*own = (struct own){ .bits = 128, .broadcast = true };
	if (i->ifa_addr->sa_family == AF_INET && broadcast && ip_from_sockaddr(&own->ip, broadcast))
		g->own_count++;
}

/* Which of the networks that this host is in are its VMs'. Where that cannot be known all that the
 * default route does not need are taken for one. */
static void judge_nets(struct host_guard *g, const struct ifaddrs *list)
{
	struct ip out[2];
	bool known = false,
	     leads[2] = { way_out("192.0.2.1", &out[0]), way_out("2001:db8::1", &out[1]) };
	struct iface_names *names = mem_alloc(sizeof(*names));

	if (names)
		known = iface_vm_nets(names) == 0;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct ip ip;

		if (!ip_from_sockaddr(&ip, i->ifa_addr) || i->ifa_flags & IFF_POINTOPOINT ||
		    (leads[0] && same_ip(&ip, &out[0])) || (leads[1] && same_ip(&ip, &out[1])))
			continue;
		for (size_t k = 0; k < g->own_count; k++)
			if (same_ip(&g->own[k].ip, &ip))
				g->own[k].vm_net = !known || has_name(names, i->ifa_name) ||
						   is_listening(g, &ip);
	}
	mem_free(names);
}

static bool is_fresh(struct host_guard *g)
{
	if (!g->opened) {
		g->changes = iface_changes_open();
		g->opened = true;
	}
	if (g->changes >= 0)
		return !iface_changes_seen(g->changes) && g->read;
	return g->read && loop_now_ms(g->loop) - g->read_ms < AGE_MS;
}

/* What was known stays when it cannot be read. */
static void read_own(struct host_guard *g)
{
	struct ifaddrs *list;
	size_t n = 0;

	if (is_fresh(g) || getifaddrs(&list) != 0)
		return;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		n++;
	mem_free(g->own);
	g->own_count = 0;
	g->own = mem_alloc((2 * n + 1) * sizeof(*g->own)); /* an address and a broadcast each */
	g->read = g->own != NULL;
	g->read_ms = loop_now_ms(g->loop);
	if (g->read) {
		for (const struct ifaddrs *i = list; i; i = i->ifa_next)
			note(g, i);
		judge_nets(g, list);
	}
	freeifaddrs(list);
}

static const char *own_kind(const struct host_guard *g, const struct ip *ip)
{
	const char *kind = NULL;

	for (size_t i = 0; i < g->own_count; i++) {
		const struct own *own = &g->own[i];

		if (same_ip(&own->ip, ip))
			return own->broadcast ? "broadcast" : "this host's own";
		if (own->vm_net && in_net(ip, &own->ip, own->bits))
			kind = neighbour;
	}
	return kind;
}

/* ---- decisions ---- */

/* By a route of the host's, which a look at its interfaces does not show. */
static bool is_routed_here(const struct ip *ip)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (memcmp(ip->byte, mapped, sizeof(mapped)) == 0) {
		memcpy(&v4.sin_addr, ip->byte + sizeof(mapped), sizeof(v4.sin_addr));
		return iface_routes_here((const struct sockaddr *)&v4);
	}
	memcpy(&v6.sin6_addr, ip->byte, sizeof(v6.sin6_addr));
	return iface_routes_here((const struct sockaddr *)&v6);
}

static const char *own_or_routed(const struct host_guard *g, const struct ip *ip)
{
	const char *kind = own_kind(g, ip);

	return kind || !is_routed_here(ip) ? kind : "this host's own";
}

/* NULL: one like others. */
static const char *kind_of(struct host_guard *g, const struct ip *ip)
{
	struct ip inside[HOST_KIND_INSIDE_MAX];
	size_t n = ip_inside(ip, inside);
	const char *kind = ip_kind(ip);

	if (kind)
		return kind;
	read_own(g);
	if (!g->read)
		return "since this host's own cannot be read: an unknown";
	kind = own_or_routed(g, ip);
	for (size_t i = 0; !kind && i < n; i++)
		kind = own_or_routed(g, &inside[i]);
	return kind;
}

bool host_guard_allow(void *arg, const struct addr *to, struct err *e)
{
	struct host_guard *g = arg;
	char text[ADDR_TEXT];
	const char *kind;
	struct ip ip;

	addr_format_host(to, text);
	if (!ip_from_sockaddr(&ip, (const struct sockaddr *)&to->ss)) {
		(void)err_set(e, ERR_DENIED, "the host guard refuses %s", text);
		return false;
	}
	kind = kind_of(g, &ip);
	if (!kind)
		return true;
	(void)err_set(
		e, ERR_DENIED,
		"the host guard refuses %s, %s address (a rule of the listener's own file with "
		"allow-host: true opens it)",
		text, kind);
	return false;
}

/* ---- our own listeners ---- */

int host_guard_listener(struct host_guard *g, const struct addr *at, struct err *e)
{
	struct addr *more;
	struct ip ip;

	if (!ip_from_sockaddr(&ip, (const struct sockaddr *)&at->ss))
		return 0;
	for (size_t i = 0; i < g->listener_count; i++)
		if (addr_same_host(&g->listener[i], at) &&
		    addr_port(&g->listener[i]) == addr_port(at))
			return 0;
	if (g->listener_count == LISTENERS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d listeners", LISTENERS_MAX);
	more = mem_resize(g->listener, (g->listener_count + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_NOMEM, "host guard");
	g->listener = more;
	g->listener[g->listener_count++] = *at;
	g->read = false; /* its network may be a VM's now */
	return 0;
}

static bool is_unspecified(const struct addr *a)
{
	const char *odd = addr_not_one_host(a);

	return odd && strcmp(odd, "unspecified") == 0;
}

/* An unspecified address is every one of this host: to listen at, and to connect to. Of what
 * stands for an IPv4 address only the mapped form can be connected to here. */
static bool is_at(struct host_guard *g, const struct addr *bound, const struct addr *to,
		  const struct ip *ip)
{
	const char *kind;
	struct ip at;

	if (addr_port(bound) != addr_port(to) ||
	    !ip_from_sockaddr(&at, (const struct sockaddr *)&bound->ss))
		return false;
	if (same_ip(&at, ip) || is_unspecified(to))
		return true;
	kind = is_unspecified(bound) ? kind_of(g, ip) : NULL;
	return kind && kind != neighbour;
}

bool host_guard_allow_opened(void *arg, const struct addr *to, struct err *e)
{
	struct host_guard *g = arg;
	char text[ADDR_TEXT];
	bool ours = false;
	struct ip ip;

	ours = !ip_from_sockaddr(&ip, (const struct sockaddr *)&to->ss);
	for (size_t i = 0; !ours && i < g->listener_count; i++)
		ours = is_at(g, &g->listener[i], to, &ip);
	if (!ours)
		return true;
	addr_format(to, text);
	(void)err_set(e, ERR_DENIED,
		      "the host guard refuses %s: a listener of awsocks itself, which "
		      "allow-host does not open",
		      text);
	return false;
}

/* ---- names ---- */

static bool is_one_of(const char *host, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(host, *names) == 0)
			return true;
	return false;
}

/* As the system calls itself, its first label, and that in the domain of mDNS. */
static bool is_this_host(const char *host)
{
	char own[NAME_MAX_LEN] = "";
	size_t n, label;

	if (gethostname(own, sizeof(own) - 1) != 0 || !*own)
		return false;
	n = strlen(own);
	label = strcspn(own, ".");
	if (n && own[n - 1] == '.')
		own[n - 1] = 0;
	if (strcasecmp(host, own) == 0)
		return true;
	return strncasecmp(host, own, label) == 0 &&
	       (!host[label] || strcmp(host + label, ".local") == 0);
}

static const char *kind_of_name(const char *host)
{
	/* Debian, Fedora, Red Hat, and their cloud images */
	static const char *const loopback[] = { "localhost",     "localhost.localdomain",
						"localhost4",    "localhost4.localdomain4",
						"localhost6",    "localhost6.localdomain6",
						"ip6-localhost", "ip6-loopback",
						"loopback",      NULL };
	static const char *const metadata[] = { "instance-data", "metadata.google.internal",
						"metadata.goog", "metadata", NULL };

	if (is_one_of(host, loopback) || str_ends(host, ".localhost"))
		return "a name of the loopback";
	if (is_one_of(host, metadata) || str_starts(host, "instance-data."))
		return "a metadata service's name";
	return is_this_host(host) ? "this host's own name" : NULL;
}

bool host_guard_allow_name(void *arg, const char *host, struct err *e)
{
	const char *kind;
	struct addr addr;

	if (addr_from_literal(host, 0, &addr))
		return host_guard_allow(arg, &addr, e);
	kind = kind_of_name(host);
	if (!kind)
		return true;
	(void)err_set(e, ERR_DENIED, "the host guard refuses %.200s, %s", host, kind);
	return false;
}

/* ---- its life ---- */

struct host_guard *host_guard_new(struct loop *loop, struct err *e)
{
	struct host_guard *g = mem_alloc(sizeof(*g));

	if (!g) {
		(void)err_set(e, ERR_NOMEM, "host guard");
		return NULL;
	}
	g->loop = loop;
	g->changes = -1;
	return g;
}

void host_guard_free(struct host_guard *g)
{
	if (!g)
		return;
	if (g->changes >= 0)
		close(g->changes);
	mem_free(g->own);
	mem_free(g->listener);
	mem_free(g);
}
