#include "cmd/agent/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/sock.h"
#include "vm/guard.h"

enum { STAGGER_MS = 250 };

struct attempt {
	struct dial *dial; /* NULL: not under way */
	struct ev_watch watch;
	const struct addr *to;
	int fd;
};
struct dial {
	struct dials *of;
	struct list node;
	uint32_t id;
	struct frame_addresses to;
	size_t next, open;
	struct attempt attempt[FRAME_ADDRESSES_MAX];
	struct ev_timer stagger, limit;
	struct frame_failed why; /* cause 0: nothing yet */
};

static void try_next(struct dial *d);

/* ---- causes ---- */

static enum frame_cause cause_of(int sys, int family)
{
	switch (sys) {
	case ECONNREFUSED: return FRAME_CAUSE_REFUSED;
	case ENETUNREACH:
	case ENETDOWN:
	case EAFNOSUPPORT: return FRAME_CAUSE_NETUNREACH;
	case EHOSTUNREACH:
	case EHOSTDOWN: return FRAME_CAUSE_HOSTUNREACH;
	case ETIMEDOUT: return FRAME_CAUSE_TIMEOUT;
	/* of IPv4: no port is left; of IPv6: it is turned off */
	case EADDRNOTAVAIL: return family == AF_INET6 ? FRAME_CAUSE_NETUNREACH : FRAME_CAUSE_LIMIT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN: return FRAME_CAUSE_LIMIT;
	default: return FRAME_CAUSE_OTHER;
	}
}

/* How much a cause says: an answer more than none, and one about the host more than one about us.
 */
static int weight(uint8_t cause)
{
	static const uint8_t lightest_first[] = { FRAME_CAUSE_FORBIDDEN,   FRAME_CAUSE_OTHER,
						  FRAME_CAUSE_LIMIT,       FRAME_CAUSE_NETUNREACH,
						  FRAME_CAUSE_HOSTUNREACH, FRAME_CAUSE_TIMEOUT,
						  FRAME_CAUSE_REFUSED };

	for (int i = 0; i < (int)sizeof(lightest_first); i++)
		if (lightest_first[i] == cause)
			return i;
	return -1;
}

static void note(struct dial *d, enum frame_cause cause, const char *text)
{
	if (d->why.cause && weight((uint8_t)cause) <= weight(d->why.cause))
		return;
	d->why.cause = (uint8_t)cause;
	(void)str_fmt(d->why.text, sizeof(d->why.text), "%s", text);
}

static void note_errno(struct dial *d, const struct addr *to, int sys)
{
	char name[ADDR_TEXT], text[ADDR_TEXT + 128];

	addr_format(to, name);
	(void)str_fmt(text, sizeof(text), "%s: %s", name, strerror(sys));
	note(d, cause_of(sys, to->ss.ss_family), text);
}

/* ---- ends ---- */

static void drop(struct attempt *a)
{
	struct dial *d = a->dial;

	ev_unwatch(d->of->ev, &a->watch);
	close(a->fd);
	a->dial = NULL;
	d->open--;
}

static void dial_free(struct dial *d)
{
	for (size_t i = 0; i < FRAME_ADDRESSES_MAX; i++)
		if (d->attempt[i].dial)
			drop(&d->attempt[i]);
	ev_disarm(d->of->ev, &d->stagger);
	ev_disarm(d->of->ev, &d->limit);
	list_del(&d->node);
	mem_free(d);
}

static void fail(struct dial *d)
{
	struct frame_failed why = d->why;
	struct dials *all = d->of;
	uint32_t id = d->id;

	if (!why.cause)
		why = (struct frame_failed){ FRAME_CAUSE_OTHER, "no address was given" };
	dial_free(d);
	all->failed++;
	all->unreached(all->arg, id, &why);
}

static void win(struct attempt *a)
{
	struct dial *d = a->dial;
	struct dials *all = d->of;
	struct addr to = *a->to;
	uint32_t id = d->id;
	int fd = a->fd;

	ev_unwatch(all->ev, &a->watch);
	a->dial = NULL;
	d->open--;
	dial_free(d);
	all->connected(all->arg, id, fd, &to);
}

static void on_limit(void *arg)
{
	struct dial *d = arg;
	char text[64];

	(void)str_fmt(text, sizeof(text), "no answer within %u ms", d->of->limit_ms);
	if (d->open)
		note(d, FRAME_CAUSE_TIMEOUT, text);
	fail(d);
}

/* ---- attempts ---- */

static void on_attempt(void *arg, unsigned what)
{
	struct attempt *a = arg;
	struct dial *d = a->dial;
	socklen_t n = sizeof(int);
	int sys = 0;

	(void)what;
	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &sys, &n) != 0)
		sys = errno;
	if (sys == 0) {
		win(a);
		return;
	}
	note_errno(d, a->to, sys);
	drop(a);
	try_next(d);
}

static int connect_to(const struct addr *to)
{
	int fd = sock_open(to->ss.ss_family), one = 1, sys;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock_keep_alive(fd);
	if (connect(fd, (const struct sockaddr *)&to->ss, to->len) == 0 || errno == EINPROGRESS ||
	    errno == EINTR)
		return fd;
	sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

static bool allowed(struct dial *d, const struct addr *to)
{
	struct err e;

	if (d->of->allow_loopback && addr_is_loopback(to) && to->ss.ss_family != AF_UNIX)
		return true;
	if (vm_guard_allow(d->of->network, to, d->to.flags & FRAME_OPEN_SIBLINGS, &e))
		return true;
	note(d, FRAME_CAUSE_FORBIDDEN, e.msg);
	return false;
}

static bool begin(struct dial *d, struct attempt *a)
{
	struct dials *all = d->of;
	struct err e;

	if (!allowed(d, a->to))
		return false;
	a->fd = connect_to(a->to);
	if (a->fd < 0) {
		note_errno(d, a->to, errno);
		return false;
	}
	if (ev_watch(all->ev, &a->watch, a->fd, EV_WRITE, on_attempt, a, &e) != 0) {
		note(d, FRAME_CAUSE_LIMIT, e.msg);
		close(a->fd);
		return false;
	}
	a->dial = d;
	d->open++;
	return true;
}

static void on_stagger(void *arg)
{
	try_next(arg);
}

static void try_next(struct dial *d)
{
	bool begun = false;

	ev_disarm(d->of->ev, &d->stagger);
	while (!begun && d->next < d->to.count) {
		struct attempt *a = &d->attempt[d->next];

		a->to = &d->to.list[d->next++];
		begun = begin(d, a);
	}
	if (d->next < d->to.count)
		ev_arm(d->of->ev, &d->stagger, STAGGER_MS, on_stagger, d);
	else if (!d->open)
		fail(d);
}

void dial_start(struct dials *all, uint32_t id, const struct frame_addresses *to)
{
	struct frame_failed no_memory = { FRAME_CAUSE_LIMIT, "out of memory" };
	struct dial *d = mem_alloc(sizeof(*d));

	all->ever++;
	if (!d) {
		all->failed++;
		all->unreached(all->arg, id, &no_memory);
		return;
	}
	d->of = all;
	d->id = id;
	d->to = *to;
	list_add_tail(&all->all, &d->node);
	ev_arm(all->ev, &d->limit, all->limit_ms, on_limit, d);
	try_next(d);
}

void dial_cancel(struct dials *all, uint32_t id)
{
	LIST_EACH (it, &all->all) {
		struct dial *d = CONTAINER_OF(it, struct dial, node);

		if (d->id == id) {
			dial_free(d);
			return;
		}
	}
}

void dials_cancel_all(struct dials *all)
{
	LIST_EACH (it, &all->all)
		dial_free(CONTAINER_OF(it, struct dial, node));
}
