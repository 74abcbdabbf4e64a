/*
 * rtnetlink(7): one dump of all links. A bridge's ports name it as their
 * master, and may stand before or behind it, so that all are noted first.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/iface.h"

enum {
	LINKS_MAX = 4096,
	REPLY_MAX = 64 * 1024, /* more than the kernel puts into one answer */
	WAIT_S = 2,            /* for a kernel that answers inside the call: a back stop */
	TAP = 2                /* IFF_TAP, as IFLA_TUN_TYPE has it */
};

struct link {
	char name[IF_NAMESIZE];
	int index, master; /* 0: none */
	bool bridge, tap, local;
};
struct links {
	struct link link[LINKS_MAX];
	size_t count;
	bool done;
	_Alignas(struct nlmsghdr) uint8_t reply[REPLY_MAX];
};

static int route_socket(int flags, unsigned groups)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);

	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* ---- changes ---- */

int iface_changes_open(void)
{
	return route_socket(SOCK_NONBLOCK, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
						   RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
}

bool iface_changes_seen(int fd)
{
	char told[64]; /* what does not fit is dropped with it */
	bool seen = false;
	ssize_t n;

	do {
		n = recv(fd, told, sizeof(told), MSG_DONTWAIT | MSG_TRUNC);
		/* ENOBUFS: told more than the socket holds */
		seen = seen || n >= 0 || (errno != EAGAIN && errno != EINTR);
	} while (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)));
	return seen;
}

/* ---- routes ---- */

struct route_question {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr to;
	uint8_t address[16];
};

static size_t ask_route(struct route_question *q, const struct sockaddr *to)
{
	const struct sockaddr_in *v4 = (const void *)to;
	const struct sockaddr_in6 *v6 = (const void *)to;
	uint8_t n = to->sa_family == AF_INET ? 4 : 16;

	*q = (struct route_question){
		.head = { .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
		.route = { .rtm_family = (uint8_t)to->sa_family, .rtm_dst_len = (uint8_t)(n * 8) },
		.to = { .rta_len = (unsigned short)RTA_LENGTH(n), .rta_type = RTA_DST },
	};
	if (n == 4)
		memcpy(q->address, &v4->sin_addr, n);
	else
		memcpy(q->address, &v6->sin6_addr, n);
	q->head.nlmsg_len = (uint32_t)(offsetof(struct route_question, address) + n);
	return q->head.nlmsg_len;
}

bool iface_routes_here(const struct sockaddr *to)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
	} answer;
	struct timeval limit = { .tv_sec = WAIT_S };
	int fd = route_socket(0, 0);
	struct route_question q;
	size_t n = ask_route(&q, to);
	ssize_t got = -1;

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &q, n, 0) == (ssize_t)n)
		got = recv(fd, &answer, sizeof(answer), 0); /* what does not fit is dropped */
	close(fd);
	if (got < 0)
		return true;
	return got == (ssize_t)sizeof(answer) && answer.head.nlmsg_type == RTM_NEWROUTE &&
	       (answer.route.rtm_type == RTN_LOCAL || answer.route.rtm_type == RTN_ANYCAST);
}

/* ---- links ---- */

void iface_mask(struct sockaddr_storage *out, const struct sockaddr *mask, sa_family_t family)
{
	memset(out, 0, sizeof(*out));
	memcpy(out, mask,
	       family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	out->ss_family = family;
}

static const struct rtattr *attribute(const struct rtattr *a, unsigned n, unsigned short type)
{
	for (; RTA_OK(a, n); a = RTA_NEXT(a, n))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static const struct rtattr *inside(const struct rtattr *a, unsigned short type)
{
	return a ? attribute(RTA_DATA(a), (unsigned)RTA_PAYLOAD(a), type) : NULL;
}

static bool says(const struct rtattr *a, const char *text)
{
	return a && RTA_PAYLOAD(a) >= strlen(text) &&
	       strncmp(RTA_DATA(a), text, RTA_PAYLOAD(a)) == 0;
}

static void note_link(struct links *all, const struct ifinfomsg *info, unsigned n)
{
	const struct rtattr *first = IFLA_RTA(info), *name = attribute(first, n, IFLA_IFNAME),
			    *master = attribute(first, n, IFLA_MASTER),
			    *about = attribute(first, n, IFLA_LINKINFO),
			    *kind = inside(about, IFLA_INFO_KIND),
			    *type = inside(inside(about, IFLA_INFO_DATA), IFLA_TUN_TYPE);
	struct link *l = &all->link[all->count];

	if (!name || RTA_PAYLOAD(name) > IF_NAMESIZE || all->count == LINKS_MAX)
		return;
	*l = (struct link){ .index = info->ifi_index };
	memcpy(l->name, RTA_DATA(name), RTA_PAYLOAD(name));
	l->name[IF_NAMESIZE - 1] = 0;
	if (master && RTA_PAYLOAD(master) == sizeof(l->master))
		memcpy(&l->master, RTA_DATA(master), sizeof(l->master));
	l->bridge = says(kind, "bridge");
	l->tap = says(kind, "tun") && type && *(const uint8_t *)RTA_DATA(type) == TAP;
	l->local = says(kind, "veth") || says(kind, "tun");
	all->count++;
}

/* One answer of the kernel, which may be one of several. */
static int read_answer(struct links *all, size_t n)
{
	const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)all->reply;
	unsigned left = (unsigned)n;

	for (; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
		if (m->nlmsg_type == NLMSG_ERROR) {
			errno = EIO;
			return -1;
		}
		if (m->nlmsg_type == NLMSG_DONE)
			all->done = true;
		else if (m->nlmsg_type == RTM_NEWLINK)
			note_link(all, NLMSG_DATA(m), (unsigned)IFLA_PAYLOAD(m));
	}
	return 0;
}

static int dump(int fd, struct links *all)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} ask = { .head = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = RTM_GETLINK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		  .info = { .ifi_family = AF_UNSPEC } };
	struct timeval limit = { .tv_sec = WAIT_S };
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &ask, sizeof(ask), 0) < 0)
		return -1;
	while (!all->done) {
		n = recv(fd, all->reply, sizeof(all->reply), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || read_answer(all, (size_t)n) != 0)
			return -1;
	}
	return 0;
}

/* With a network card (or a VLAN, a tunnel) among its ports a bridge is a way out, as that is. */
static bool leads_out(const struct links *all, int bridge)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->link[i].master == bridge && !all->link[i].local)
			return true;
	return false;
}

static int choose(const struct links *all, struct iface_names *out)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct link *l = &all->link[i];

		if (!l->tap && (!l->bridge || leads_out(all, l->index)))
			continue;
		if (out->count == IFACE_VM_MAX) {
			errno = E2BIG;
			return -1;
		}
		memcpy(out->name[out->count++], l->name, IF_NAMESIZE);
	}
	return 0;
}

int iface_vm_nets(struct iface_names *out)
{
	struct links *all = mem_alloc(sizeof(*all));
	int fd = route_socket(0, 0), rc = -1, sys;

	out->count = 0;
	if (!all)
		errno = ENOMEM;
	else if (fd >= 0)
		rc = dump(fd, all);
	if (rc == 0)
		rc = choose(all, out);
	sys = errno;
	if (fd >= 0)
		close(fd);
	mem_free(all);
	errno = sys;
	return rc;
}
