#include "cmd/agent/lookup.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

/* A datagram socket's connect() looks for a route and sends nothing. */
static bool reaches_ipv6(void)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6,
				   .sin6_port = htons(53),
				   .sin6_addr.s6_addr = { 0x20 } };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return false;
	yes = connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;
	close(fd);
	return yes;
}

static void fail(struct resolved *r, const char *name, int rc)
{
	switch (rc) {
	case EAI_NONAME:
	case EAI_NODATA: r->why.cause = FRAME_CAUSE_NO_NAME; break;
	case EAI_MEMORY: r->why.cause = FRAME_CAUSE_LIMIT; break;
	default: r->why.cause = FRAME_CAUSE_RESOLVER; break;
	}
	if (r->why.cause == FRAME_CAUSE_NO_NAME)
		(void)str_fmt(r->why.text, sizeof(r->why.text), "%s: there is no such name", name);
	else
		(void)str_fmt(r->why.text, sizeof(r->why.text),
			      "%s: the VM's name server gives no answer: %s", name,
			      gai_strerror(rc));
}

/* The next one of that family at or behind *at. */
static const struct addrinfo *next_of(const struct addrinfo *at, bool of_first, int first)
{
	while (at && (at->ai_family == first) != of_first)
		at = at->ai_next;
	return at;
}

static void put(struct frame_addresses *to, const struct addrinfo *ai)
{
	struct addr *a = &to->list[to->count];

	if (ai->ai_addrlen > sizeof(a->ss) || to->count == FRAME_ADDRESSES_MAX)
		return;
	memcpy(&a->ss, ai->ai_addr, ai->ai_addrlen);
	a->len = ai->ai_addrlen;
	addr_set_port(a, 0);
	to->count++;
}

/* The resolver has sorted them (RFC 6724); the family that it prefers goes first, then they take
 * turns. */
static void put_all(struct frame_addresses *to, const struct addrinfo *all)
{
	const struct addrinfo *side[2] = { all, all };
	int turn = 0;

	while (to->count < FRAME_ADDRESSES_MAX) {
		side[0] = next_of(side[0], true, all->ai_family);
		side[1] = next_of(side[1], false, all->ai_family);
		if (!side[turn])
			turn = !turn;
		if (!side[turn])
			return;
		put(to, side[turn]);
		side[turn] = side[turn]->ai_next;
		turn = !turn;
	}
}

void lookup(const char *name, struct resolved *r)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_family = reaches_ipv6() ? AF_UNSPEC : AF_INET };
	struct addrinfo *all = NULL;
	int rc = getaddrinfo(name, NULL, &hints, &all);

	memset(r, 0, sizeof(*r));
	if (rc == 0 && all)
		put_all(&r->to, all);
	if (r->to.count == 0)
		fail(r, name, rc ? rc : EAI_NODATA);
	if (all)
		freeaddrinfo(all);
}
