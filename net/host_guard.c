/* The host's own addresses are read again when they are older than OWN_AGE_MS: interfaces of VMs
 * come and go. */
#include "net/host_guard.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "net/loop.h"

enum { OWN_MAX = 256, OWN_AGE_MS = 2000 };

struct ip { /* IPv4 as its mapped IPv6 form, so that there is one kind */
	uint8_t byte[16];
};

struct host_guard {
	struct loop *loop;
	uint64_t read_ms;
	bool read;
	size_t own_count;
	struct ip own[OWN_MAX];
};

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b }; /* RFC 6052, 2.1 */
static const uint8_t compatible[12] = { 0 };              /* RFC 4291, 2.5.5.1 */

static bool ip_of(const struct sockaddr *sa, struct ip *out)
{
	if (sa && sa->sa_family == AF_INET) {
		memcpy(out->byte, mapped, 12);
		memcpy(out->byte + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
		       4);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(out->byte, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
		return true;
	}
	return false;
}

/* The IPv4 address inside, whatever its wrapping; NULL: there is none. */
static const uint8_t *v4_inside(const struct ip *ip)
{
	bool wrapped = memcmp(ip->byte, mapped, 12) == 0 || memcmp(ip->byte, nat64, 12) == 0;

	/* ::1 and :: have the compatible form's prefix but are IPv6's own. */
	if (!wrapped && memcmp(ip->byte, compatible, 12) == 0 &&
	    (ip->byte[12] || ip->byte[13] || ip->byte[14]))
		wrapped = true;
	return wrapped ? ip->byte + 12 : NULL;
}

static const char *kind_of_v4(const uint8_t *p)
{
	if (p[0] == 127)
		return "loopback";
	if (p[0] == 0)
		return "unspecified";
	if (p[0] == 169 && p[1] == 254)
		return "link-local";
	if (p[0] >= 224)
		return p[0] < 240 ? "multicast" : "reserved";
	return NULL;
}

static const char *kind_of_v6(const uint8_t *p)
{
	static const uint8_t loopback[16] = { [15] = 1 }, unspecified[16] = { 0 };
	static const uint8_t metadata[14] = { 0xfd, 0x00, 0x0e, 0xc2 }; /* fd00:ec2::/112 */

	if (memcmp(p, loopback, 16) == 0)
		return "loopback";
	if (memcmp(p, unspecified, 16) == 0)
		return "unspecified";
	if (p[0] == 0xfe && (p[1] & 0xc0) == 0x80)
		return "link-local";
	if (p[0] == 0xff)
		return "multicast";
	if (memcmp(p, metadata, 14) == 0)
		return "metadata service's";
	return NULL;
}

static void read_own(struct host_guard *g)
{
	uint64_t now = loop_now_ms(g->loop);
	struct ifaddrs *list;

	if (g->read && now - g->read_ms < OWN_AGE_MS)
		return;
	if (getifaddrs(&list) != 0)
		return;
	g->read = true;
	g->read_ms = now;
	g->own_count = 0;
	for (const struct ifaddrs *i = list; i && g->own_count < OWN_MAX; i = i->ifa_next)
		if (ip_of(i->ifa_addr, &g->own[g->own_count]))
			g->own_count++;
	freeifaddrs(list);
}

static bool is_own(const struct host_guard *g, const struct ip *ip)
{
	for (size_t i = 0; i < g->own_count; i++)
		if (memcmp(g->own[i].byte, ip->byte, sizeof(ip->byte)) == 0)
			return true;
	return false;
}

struct host_guard *host_guard_new(struct loop *loop, struct err *e)
{
	struct host_guard *g = mem_alloc(sizeof(*g));

	if (!g)
		(void)err_set(e, ERR_NOMEM, "host guard");
	else
		g->loop = loop;
	return g;
}

void host_guard_free(struct host_guard *g)
{
	mem_free(g);
}

bool host_guard_allow(void *arg, const struct addr *to, struct err *e)
{
	struct host_guard *g = arg;
	const uint8_t *v4;
	const char *kind;
	char text[ADDR_TEXT];
	struct ip ip;

	addr_format_host(to, text);
	if (!ip_of((const struct sockaddr *)&to->ss, &ip)) {
		(void)err_set(e, ERR_DENIED, "the host guard refuses %s", text);
		return false;
	}
	v4 = v4_inside(&ip);
	kind = v4 ? kind_of_v4(v4) : kind_of_v6(ip.byte);
	if (v4) {
		/* Compared in one form with the host's own. */
		uint8_t copy[4];

		memcpy(copy, v4, 4);
		memcpy(ip.byte, mapped, 12);
		memcpy(ip.byte + 12, copy, 4);
	}
	read_own(g);
	if (!kind && is_own(g, &ip))
		kind = "this host's own";
	if (!kind && g->read)
		return true;
	(void)err_set(
		e, ERR_DENIED,
		"the host guard refuses %s, %s address (a rule of the listener's own file with "
		"allow-host: true opens it)",
		text, kind ? kind : "since this host's own addresses cannot be read: an unknown");
	return false;
}
