#include "cmd/bridge/far.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/sock.h"

enum { PAUSE_FIRST_MS = 20, PAUSE_MOST_MS = 250, DIAL_LIMIT_MS = 5000 };

struct far {
	struct ev *ev;
	struct far_opts o;
	char name[ADDR_TEXT];
	struct list dialing, waiting, failed;
	struct ev_timer tick;
	unsigned held; /* in `waiting` */

	/* the outage: since when, why, how many */
	bool away, told, told_closed, told_many;
	int why, refused_with; /* errno; the latter of what waiting does not mend */
	unsigned pause_ms, closed;
	uint64_t away_ms, next_ms, look_ms; /* the last: when to look who has waited too long */
};

static void tick(void *arg);
static void dial(struct far *f, struct far_call *c);

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static const struct far_call *first(const struct list *l)
{
	return list_empty(l) ? NULL : CONTAINER_OF(l->next, struct far_call, node);
}

static void arm(struct far *f)
{
	const struct far_call *dials = first(&f->dialing);
	uint64_t at = UINT64_MAX, now = ev_now(f->ev);

	if (!list_empty(&f->failed))
		at = now;
	if (!list_empty(&f->waiting))
		at = dials ? least(at, f->look_ms) : least(at, least(f->look_ms, f->next_ms));
	if (dials)
		at = least(at, dials->dialed_ms + DIAL_LIMIT_MS);
	if (at == UINT64_MAX)
		ev_disarm(f->ev, &f->tick);
	else
		ev_arm(f->ev, &f->tick, at > now ? (unsigned)(at - now) : 0, tick, f);
}

/* ---- the outage ---- */

static bool waiting_may_mend(int sys)
{
	switch (sys) {
	case ECONNREFUSED:
	case ENOENT:
	case ECONNRESET:
	case ECONNABORTED:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EAGAIN: /* a Unix listener's backlog is full */
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM: return true;
	default: return false;
	}
}

static void go_away(struct far *f, int sys)
{
	if (!f->away) {
		f->away = true;
		f->away_ms = ev_now(f->ev);
		f->pause_ms = PAUSE_FIRST_MS;
		f->closed = 0;
		f->told = f->told_closed = f->told_many = false;
	}
	f->why = sys;
	f->next_ms = ev_now(f->ev) + f->pause_ms;
	f->pause_ms = 2 * f->pause_ms > PAUSE_MOST_MS ? PAUSE_MOST_MS : 2 * f->pause_ms;
	if (f->told || sys == EAGAIN)
		return;
	f->told = true;
	log_warn("bridge", "%s: %s: connections wait for it, %u s at most", f->name, strerror(sys),
		 f->o.wait_ms / 1000);
}

static void come_back(struct far *f)
{
	uint64_t ms = ev_now(f->ev) - f->away_ms;
	struct list *node;

	f->refused_with = 0;
	if (!f->away)
		return;
	f->away = false;
	if (f->told)
		log_warn("bridge",
			 "%s answers again after %u.%03u s: %u connections go on, %u were closed",
			 f->name, (unsigned)(ms / 1000), (unsigned)(ms % 1000), f->held + 1,
			 f->closed);
	while ((node = list_pop(&f->waiting)) != NULL) {
		struct far_call *c = CONTAINER_OF(node, struct far_call, node);

		c->waits = false;
		f->held--;
		dial(f, c);
		if (f->away) /* again, already: the rest keeps waiting */
			return;
	}
}

static void fail_soon(struct far *f, struct far_call *c)
{
	f->closed++;
	list_add_tail(&f->failed, &c->node);
}

static struct far_call *first_that_yields(const struct far *f)
{
	LIST_EACH (it, &f->waiting) {
		struct far_call *c = CONTAINER_OF(it, struct far_call, node);

		if (c->yields)
			return c;
	}
	return NULL;
}

/* Whoever has ended what he sends has left, maybe, and goes first. */
static bool make_room(struct far *f)
{
	struct far_call *c = first_that_yields(f);

	if (!c)
		return false;
	list_del(&c->node);
	c->waits = false;
	f->held--;
	fail_soon(f, c);
	return true;
}

static void hold(struct far *f, struct far_call *c)
{
	if (f->held >= f->o.held_max && !make_room(f)) {
		if (!f->told_many)
			log_warn("bridge",
				 "%s: %u connections wait for it: further ones are closed", f->name,
				 f->held);
		f->told_many = true;
		fail_soon(f, c);
		return;
	}
	c->waits = true;
	f->held++;
	list_add_tail(&f->waiting, &c->node);
}

/* ---- dialling ---- */

static void dial_failed(struct far *f, struct far_call *c, int sys)
{
	if (waiting_may_mend(sys)) {
		go_away(f, sys);
		hold(f, c);
	} else {
		if (f->refused_with != sys)
			log_warn("bridge", "%s: %s: connections are closed%s", f->name,
				 strerror(sys),
				 sys == EPERM || sys == EAFNOSUPPORT
					 ? " (a filter of system calls? start the bridge before it)"
					 : "");
		f->refused_with = sys;
		fail_soon(f, c);
	}
}

static void on_dialed(void *arg, unsigned what)
{
	struct far_call *c = arg;
	struct far *f = c->far;
	int fd = c->watch.fd, sys = 0;
	socklen_t n = sizeof(sys);

	(void)what;
	ev_unwatch(f->ev, &c->watch);
	list_del(&c->node);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &n) != 0)
		sys = errno;
	if (sys) {
		close(fd);
		dial_failed(f, c, sys);
		arm(f);
		return;
	}
	come_back(f);
	arm(f);
	c->far = NULL;
	c->fn(c->arg, fd);
}

static void dial(struct far *f, struct far_call *c)
{
	int fd = sock_open(f->o.addr.ss.ss_family), one = 1;
	struct err e;
	int sys;

	if (fd < 0) {
		dial_failed(f, c, errno);
		return;
	}
	if (f->o.addr.ss.ss_family != AF_UNIX) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		sock_keep_alive(fd);
	}
	if (connect(fd, (const struct sockaddr *)&f->o.addr.ss, f->o.addr.len) != 0 &&
	    errno != EINPROGRESS && errno != EINTR) {
		sys = errno;
		close(fd);
		dial_failed(f, c, sys);
		return;
	}
	if (ev_watch(f->ev, &c->watch, fd, EV_WRITE, on_dialed, c, &e) != 0) {
		close(fd);
		dial_failed(f, c, ENOMEM);
		return;
	}
	c->dialed_ms = ev_now(f->ev);
	list_add_tail(&f->dialing, &c->node);
}

static void drop_dial(struct far *f, struct far_call *c)
{
	int fd = c->watch.fd;

	if (!c->watch.on)
		return;
	ev_unwatch(f->ev, &c->watch);
	close(fd);
}

/* ---- time ---- */

static void end_slow_dials(struct far *f)
{
	const struct far_call *c;

	while ((c = first(&f->dialing)) != NULL && ev_now(f->ev) >= c->dialed_ms + DIAL_LIMIT_MS) {
		struct far_call *slow = CONTAINER_OF(list_pop(&f->dialing), struct far_call, node);

		drop_dial(f, slow);
		dial_failed(f, slow, ETIMEDOUT);
	}
}

static void end_long_wait(struct far *f, struct far_call *late)
{
	bool unix_path = f->o.addr.ss.ss_family == AF_UNIX;

	list_del(&late->node);
	late->waits = false;
	f->held--;
	if (!f->told_closed)
		log_warn("bridge", "%s: %s for %u s: what waited for it is closed%s", f->name,
			 strerror(f->why), f->o.wait_ms / 1000,
			 unix_path ? " (into a sandbox, bind the socket's directory: a socket "
				     "that was bound as a file stays the old one)"
				   : "");
	f->told_closed = true;
	fail_soon(f, late);
}

/* Whoever has tried in vain stands behind the others: their order is not that of their age. */
static void end_long_waits(struct far *f)
{
	uint64_t now = ev_now(f->ev);

	f->look_ms = now + PAUSE_MOST_MS;
	LIST_EACH (it, &f->waiting) {
		struct far_call *c = CONTAINER_OF(it, struct far_call, node);

		if (now >= c->since_ms + f->o.wait_ms)
			end_long_wait(f, c);
	}
}

/* One for all. */
static void dial_one(struct far *f)
{
	struct far_call *c = CONTAINER_OF(list_pop(&f->waiting), struct far_call, node);

	c->waits = false;
	f->held--;
	dial(f, c);
}

static void try_again(struct far *f)
{
	if (ev_now(f->ev) >= f->next_ms && list_empty(&f->dialing) && !list_empty(&f->waiting))
		dial_one(f);
}

static void tick(void *arg)
{
	struct far *f = arg;
	struct list *node;

	end_slow_dials(f);
	end_long_waits(f);
	try_again(f);
	while ((node = list_pop(&f->failed)) != NULL) {
		struct far_call *c = CONTAINER_OF(node, struct far_call, node);

		c->far = NULL;
		c->fn(c->arg, -1);
	}
	arm(f);
}

/* ---- who asks ---- */

int far_new(struct far **out, struct ev *ev, const struct far_opts *o, struct err *e)
{
	struct far *f = mem_alloc(sizeof(*f));

	if (!f)
		return err_set(e, ERR_NOMEM, "bridge");
	f->ev = ev;
	f->o = *o;
	addr_format(&o->addr, f->name);
	list_init(&f->dialing);
	list_init(&f->waiting);
	list_init(&f->failed);
	*out = f;
	return 0;
}

void far_free(struct far *f)
{
	if (f)
		ev_disarm(f->ev, &f->tick);
	mem_free(f);
}

bool far_is_away(const struct far *f)
{
	return f->away;
}

void far_ask(struct far *f, struct far_call *c, void (*fn)(void *arg, int fd), void *arg)
{
	*c = (struct far_call){ .far = f, .since_ms = ev_now(f->ev), .fn = fn, .arg = arg };
	if (f->away && f->o.wait_ms)
		hold(f, c);
	else
		dial(f, c);
	arm(f);
}

void far_may_yield(struct far_call *c)
{
	c->yields = true;
}

void far_cancel(struct far_call *c)
{
	struct far *f = c->far;

	if (!f)
		return;
	list_del(&c->node);
	if (c->waits)
		f->held--;
	drop_dial(f, c);
	c->far = NULL;
	arm(f);
}
