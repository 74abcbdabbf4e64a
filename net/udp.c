/*
 * The watch is a level one: what a turn leaves is reported again. While datagrams come
 * singly one is read per turn, since a second read would only say EAGAIN; more while
 * every turn finds as many as it reads. A socket that
 * is not connected hears of no ICMP error on Linux; elsewhere one may come as
 * the error of a read, which takes it away. Only a socket on which nothing but
 * errors is read has come to its end.
 */
#include "net/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock.h"

enum { FAILURES_MAX = 64, STREAK = 4 };

_Static_assert(UDP_FRONT + UDP_MAX + 1 <= LOOP_SHARED, "a datagram fits in the shared buffer");

struct udp {
	struct loop *loop;
	struct loop_watch watch;
	const struct udp_handler *handler;
	void *arg;
	struct addr addr;
	uint64_t overlong;
	unsigned failures;      /* reads in a row */
	unsigned burst, streak; /* to read per turn; turns in a row that read as many */
	bool busy, dead;
};

static void fail(struct udp *u, int sys)
{
	struct err e;

	if (++u->failures < FAILURES_MAX)
		return;
	watch_set(u->loop, &u->watch, 0);
	(void)err_sys(&e, sys, "UDP socket");
	u->handler->broken(u->arg, &e);
}

/* False: nothing more to read in this turn. */
static bool receive(struct udp *u)
{
	struct addr from;
	/* One byte more than is passed on, so that a longer one shows without MSG_TRUNC too. */
	struct iovec iov = { .iov_base = u->loop->shared + UDP_FRONT, .iov_len = UDP_MAX + 1 };
	struct msghdr msg = { .msg_name = &from.ss,
			      .msg_namelen = sizeof(from.ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	ssize_t n = recvmsg(u->watch.fd, &msg, MSG_DONTWAIT);

	if (n < 0) {
		if (errno == EAGAIN)
			return false;
		if (errno != EINTR)
			fail(u, errno);
		return u->failures < FAILURES_MAX;
	}
	u->failures = 0;
	if (n > UDP_MAX || (msg.msg_flags & MSG_TRUNC)) {
		u->overlong++;
		return true;
	}
	from.len = msg.msg_namelen;
	u->handler->received(u->arg, &from, iov.iov_base, (size_t)n);
	return true;
}

/* A turn read as much as it was to, or less. */
static void adapt(struct udp *u, bool full)
{
	u->streak = full ? u->streak + 1 : 0;
	if (!full)
		u->burst = 1;
	else if (u->streak >= STREAK && u->burst < UDP_PER_TURN)
		u->burst *= 2;
}

static void readable(void *arg, unsigned ready)
{
	struct udp *u = arg;
	unsigned n = 0;

	(void)ready;
	u->busy = true;
	while (n < u->burst && !u->dead && receive(u))
		n++;
	adapt(u, n == u->burst);
	u->busy = false;
	if (u->dead)
		mem_free(u);
}

/* Binds, and learns the port. */
static int bind_at(struct udp *u, int fd, const struct addr *at)
{
	int one = 1;

	if (at->ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&at->ss, at->len) != 0)
		return -1;
	u->addr.len = sizeof(u->addr.ss);
	return getsockname(fd, (struct sockaddr *)&u->addr.ss, &u->addr.len);
}

struct udp *udp_open(struct loop *l, const struct addr *at, const struct udp_handler *handler,
		     void *arg, struct err *e)
{
	struct udp *u = mem_alloc(sizeof(*u));
	int fd;

	if (!u) {
		(void)err_set(e, ERR_NOMEM, "UDP socket");
		return NULL;
	}
	u->loop = l;
	u->handler = handler;
	u->arg = arg;
	u->burst = 1;
	fd = sock_open_udp(at->ss.ss_family);
	if (fd >= 0 && !loop_may_use_fd(l, fd))
		(void)err_sys(e, EMFILE, "UDP socket");
	else if (fd < 0 || bind_at(u, fd, at) != 0)
		(void)err_sys(e, errno, "UDP socket");
	else if (watch_add(l, &u->watch, fd, WATCH_READ, readable, u, e) == 0)
		return u;
	if (fd >= 0)
		close(fd);
	mem_free(u);
	return NULL;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	watch_close(u->loop, &u->watch);
	u->dead = true;
	if (!u->busy)
		mem_free(u);
}

const struct addr *udp_addr(const struct udp *u)
{
	return &u->addr;
}

int udp_send(struct udp *u, const struct addr *to, const void *p, size_t n)
{
	enum { TRIES = 3 }; /* an error that waits is told once, and taken away by that */
	const struct sockaddr *sa = (const struct sockaddr *)&to->ss;

	for (int i = 0; i < TRIES; i++) {
		if (sendto(u->watch.fd, p, n, MSG_DONTWAIT, sa, to->len) >= 0)
			return 0;
		if (errno != EINTR && errno != ECONNREFUSED)
			return errno;
	}
	return errno;
}

uint64_t udp_overlong(const struct udp *u)
{
	return u->overlong;
}
