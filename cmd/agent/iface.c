#include "cmd/agent/iface.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"

static int asker(struct err *e)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		(void)err_sys(e, errno, "socket");
	return fd;
}

static struct ifreq named(const char *name)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	(void)str_fmt(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return r;
}

/* ---- finding ---- */

static bool like_ethernet(int fd, const char *name, uint8_t mac[static 6])
{
	struct ifreq r = named(name);

	if (ioctl(fd, SIOCGIFHWADDR, &r) != 0 || r.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return false;
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	return true;
}

static bool first_of(int fd, const char *name, char out[static IFACE_NAME], uint8_t mac[static 6])
{
	struct if_nameindex *all = if_nameindex();
	bool found = false;

	for (const struct if_nameindex *i = all; i && i->if_name && !found; i++) {
		if (*name && strcmp(name, i->if_name) != 0)
			continue;
		found = like_ethernet(fd, i->if_name, mac) &&
			str_fmt(out, IFACE_NAME, "%s", i->if_name);
	}
	if (all)
		if_freenameindex(all);
	return found;
}

bool iface_find(const char *name, char out[static IFACE_NAME], uint8_t mac[static 6])
{
	int fd = asker(NULL);
	bool found;

	if (fd < 0)
		return false;
	found = first_of(fd, name, out, mac);
	close(fd);
	return found;
}

/* ---- setting ---- */

static int bring_up(int fd, const char *name, struct err *e)
{
	struct ifreq r = named(name);

	if (ioctl(fd, SIOCGIFFLAGS, &r) != 0)
		return err_sys(e, errno, "%s: flags", name);
	if (r.ifr_flags & IFF_UP)
		return 0;
	r.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r) == 0 ? 0 : err_sys(e, errno, "%s: up", name);
}

int iface_up(const char *name, struct err *e)
{
	int fd = asker(e), rc;

	if (fd < 0)
		return -1;
	rc = bring_up(fd, name, e);
	close(fd);
	return rc;
}

static void put_sockaddr(struct sockaddr *to, const struct sockaddr_in *in)
{
	memcpy(to, in, sizeof(*in));
}

static struct sockaddr_in v4(uint32_t host_order)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(host_order) };
}

static struct sockaddr_in of_addr(const struct addr *a)
{
	struct sockaddr_in in;

	memcpy(&in, &a->ss, sizeof(in));
	in.sin_port = 0;
	return in;
}

static uint32_t mask_of(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

/* what: ioctl() takes an int in one libc and an unsigned long in another. */
static int set_one(int fd, const char *name, unsigned short what, const struct sockaddr_in *in,
		   struct err *e)
{
	struct ifreq r = named(name);

	put_sockaddr(&r.ifr_addr, in);
	return ioctl(fd, what, &r) == 0 ? 0 : err_sys(e, errno, "%s: address", name);
}

static int set_address(int fd, const char *name, const struct iface_setup *s, struct err *e)
{
	struct sockaddr_in in = of_addr(&s->address), mask = v4(mask_of(s->prefix));

	if (set_one(fd, name, SIOCSIFADDR, &in, e) != 0)
		return -1;
	return set_one(fd, name, SIOCSIFNETMASK, &mask, e);
}

static int set_mtu(int fd, const char *name, unsigned mtu, struct err *e)
{
	struct ifreq r = named(name);

	if (!mtu)
		return 0;
	r.ifr_mtu = (int)mtu;
	return ioctl(fd, SIOCSIFMTU, &r) == 0 ? 0
					      : err_sys(e, errno, "%s: an MTU of %u", name, mtu);
}

static int route(int fd, char *name, unsigned short what, const struct sockaddr_in *to,
		 const struct sockaddr_in *gateway, uint32_t mask)
{
	struct sockaddr_in in = v4(mask);
	struct rtentry r;

	memset(&r, 0, sizeof(r));
	put_sockaddr(&r.rt_dst, to);
	put_sockaddr(&r.rt_genmask, &in);
	if (gateway)
		put_sockaddr(&r.rt_gateway, gateway);
	r.rt_flags = (unsigned short)(RTF_UP | (gateway ? RTF_GATEWAY : 0) |
				      (mask == UINT32_MAX ? RTF_HOST : 0));
	r.rt_dev = name;
	return ioctl(fd, what, &r);
}

/* A gateway may stand outside of the network (a /32, of passt): it is then told to be there. */
static int set_gateway(int fd, const char *name, const struct iface_setup *s, struct err *e)
{
	struct sockaddr_in gateway = of_addr(&s->gateway), all = v4(0);
	uint32_t own = ntohl(of_addr(&s->address).sin_addr.s_addr);
	uint32_t at = ntohl(gateway.sin_addr.s_addr);
	char device[IFACE_NAME];

	if (!s->gateway.len)
		return 0;
	(void)str_fmt(device, sizeof(device), "%s", name);
	if ((own ^ at) & mask_of(s->prefix))
		(void)route(fd, device, SIOCADDRT, &gateway, NULL, UINT32_MAX);
	(void)route(fd, device, SIOCDELRT, &all, NULL, 0);
	if (route(fd, device, SIOCADDRT, &all, &gateway, 0) != 0 && errno != EEXIST)
		return err_sys(e, errno, "%s: the default route", name);
	return 0;
}

int iface_set(const char *name, const struct iface_setup *s, struct err *e)
{
	int fd = asker(e), rc = -1;

	if (fd < 0)
		return -1;
	if (set_mtu(fd, name, s->mtu, e) == 0 && set_address(fd, name, s, e) == 0 &&
	    bring_up(fd, name, e) == 0)
		rc = set_gateway(fd, name, s, e);
	close(fd);
	return rc;
}

void iface_clear(const char *name)
{
	struct sockaddr_in none = v4(0);
	int fd = asker(NULL);

	if (fd < 0)
		return;
	(void)set_one(fd, name, SIOCSIFADDR, &none, NULL);
	close(fd);
}

/* ---- what is there ---- */

static struct addr from_v4(uint32_t network_order)
{
	struct sockaddr_in in = v4(ntohl(network_order));
	struct addr a = { .len = sizeof(in) };

	memcpy(&a.ss, &in, sizeof(in));
	return a;
}

/* A line of /proc/net/route: its numbers are as they stand in memory. */
static bool parse_default(const char *line, char name[static IFACE_NAME], unsigned *gateway)
{
	unsigned to, mask, flags;

	return sscanf(line, "%15s %8x %8x %4x %*d %*d %*d %8x", name, &to, gateway, &flags,
		      &mask) == 5 &&
	       to == 0 && mask == 0 && flags & RTF_UP;
}

static bool find_default(char name[static IFACE_NAME], unsigned *gateway)
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = parse_default(line, name, gateway);
	if (f)
		(void)fclose(f);
	return found;
}

static bool get_one(int fd, const char *name, unsigned short what, struct sockaddr_in *in)
{
	struct ifreq r = named(name);

	if (ioctl(fd, what, &r) != 0)
		return false;
	memcpy(in, &r.ifr_addr, sizeof(*in));
	return true;
}

static bool addresses_of(const char *name, struct frame_network *n)
{
	struct sockaddr_in in, mask;
	int fd = asker(NULL);
	bool ok;

	if (fd < 0)
		return false;
	ok = get_one(fd, name, SIOCGIFADDR, &in) && get_one(fd, name, SIOCGIFNETMASK, &mask);
	close(fd);
	if (!ok)
		return false;
	n->address = from_v4(in.sin_addr.s_addr);
	n->prefix = (uint8_t)__builtin_popcount(mask.sin_addr.s_addr);
	return true;
}

bool iface_of_default(struct frame_network *n)
{
	char name[IFACE_NAME];
	unsigned gateway;

	if (!find_default(name, &gateway) || !addresses_of(name, n))
		return false;
	if (gateway)
		n->gateway = from_v4(gateway);
	return true;
}
