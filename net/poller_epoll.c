/*
 * Linux: an epoll set is the outer wait; libuv's own descriptor is one of its
 * members, and libuv runs only when that is ready or has something due. This
 * costs a third fewer system calls per connection than a uv_poll per socket.
 *
 *     epoll_wait --+--> reg -> watch -> owner
 *                  +--> uv_backend_fd -> uv_run(NOWAIT) -> curl, pool, signals
 *
 * A registration (struct reg) belongs to a descriptor and outlives its watch
 * until the batch of events in hand has been dealt with, so that an owner may
 * delete any watch from any callback. Edge watches are registered once for
 * everything and never changed; a level watch that wants nothing is taken out
 * of the set, because epoll would report its hang-up for ever.
 *
 * The second group that is asked for makes each of them a set of its own, which is a member of the
 * outer one. A set is asked for few events at a time: what else became ready meanwhile, in
 * other sets, is then not behind all of this one's.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_impl.h"

enum { BATCH = 256, NEVER_MS = 1 << 30 };
enum {
	GROUPS = 128,
	SHARE = 16, /* events of a group a turn; one when others had some lately */
	LATELY_MS = 20,
};

/* What epoll reports: a descriptor, or a group's set. */
enum kind { KIND_REG, KIND_SET };

struct set {
	enum kind kind;
	int ep;
	uint8_t group;
};

struct reg {
	enum kind kind;
	uint8_t group;
	int ep;                   /* the set that it is in */
	struct loop_watch *watch; /* NULL: deleted, freed after the batch */
	struct reg *next_dead;
	uint32_t in_kernel; /* what epoll was told; 0: not in the set */
};

struct poller {
	struct loop *loop;
	int ep;
	bool turning;
	struct reg *dead;
	uv_timer_t alive; /* without any handle uv_backend_timeout() is 0 */
	struct epoll_event ev[BATCH];
	struct set *set[GROUPS]; /* by group; NULL: its members are in the outer set */
	unsigned groups;         /* that were given out */
	/* The group of the last event, and when that was another one than before. */
	uint8_t last_group;
	bool has_mixed;
	uint64_t mixed_ms;
};

static void never(uv_timer_t *t)
{
	(void)t;
}

int poller_new(struct loop *l, struct poller **out, struct err *e)
{
	struct poller *p = mem_alloc(sizeof(*p));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	int sys;

	*out = NULL;
	if (!p)
		return err_set(e, ERR_NOMEM, "poller");
	p->loop = l;
	p->ep = epoll_create1(EPOLL_CLOEXEC);
	if (p->ep < 0 || epoll_ctl(p->ep, EPOLL_CTL_ADD, uv_backend_fd(&l->uv), &ev) != 0) {
		sys = errno;
		if (p->ep >= 0)
			close(p->ep);
		mem_free(p);
		return err_sys(e, sys, "epoll");
	}
	uv_timer_init(&l->uv, &p->alive);
	uv_timer_start(&p->alive, never, NEVER_MS, NEVER_MS);
	*out = p;
	return 0;
}

static void bury(struct poller *p)
{
	struct reg *r;

	while ((r = p->dead)) {
		p->dead = r->next_dead;
		mem_free(r);
	}
}

void poller_close(struct poller *p)
{
	uv_close((uv_handle_t *)&p->alive, NULL);
}

void poller_free(struct poller *p)
{
	bury(p);
	for (size_t i = 0; i < GROUPS; i++)
		if (p->set[i]) {
			close(p->set[i]->ep);
			mem_free(p->set[i]);
		}
	close(p->ep);
	mem_free(p);
}

/* ---- groups ---- */

static struct set *set_new(struct poller *p, unsigned group)
{
	struct set *s = mem_alloc(sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };

	if (!s)
		return NULL;
	*s = (struct set){ .kind = KIND_SET, .group = (uint8_t)group };
	s->ep = epoll_create1(EPOLL_CLOEXEC);
	if (s->ep >= 0 && epoll_ctl(p->ep, EPOLL_CTL_ADD, s->ep, &ev) == 0)
		return s;
	if (s->ep >= 0)
		close(s->ep);
	mem_free(s);
	return NULL;
}

/* With one group there is nobody to be fair to: it stays in the outer set. */
unsigned poller_group_new(struct poller *p)
{
	if (p->groups + 1 == GROUPS)
		return 0;
	p->groups++;
	for (unsigned g = 1; p->groups > 1 && g <= p->groups; g++)
		if (!p->set[g])
			p->set[g] = set_new(p, g);
	return p->groups;
}

bool poller_is_contended(const struct poller *p)
{
	return p->groups > 1 && p->has_mixed && p->loop->now_ms - p->mixed_ms < LATELY_MS;
}

static uint32_t wanted(const struct loop_watch *w)
{
	uint32_t ev = 0;

	if (w->edge)
		return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	if (w->events & WATCH_READ)
		ev |= EPOLLIN | EPOLLRDHUP;
	if (w->events & WATCH_WRITE)
		ev |= EPOLLOUT;
	return ev;
}

static int tell_kernel(struct reg *r)
{
	struct epoll_event ev = { .events = wanted(r->watch), .data.ptr = r };
	int op = ev.events == 0 ? EPOLL_CTL_DEL : r->in_kernel == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (ev.events == r->in_kernel)
		return 0;
	if (epoll_ctl(r->ep, op, r->watch->fd, &ev) != 0)
		return -1;
	r->in_kernel = ev.events;
	return 0;
}

int poller_add(struct poller *p, struct loop_watch *w, struct err *e)
{
	struct reg *r = mem_alloc(sizeof(*r));
	int sys;

	if (!r)
		return err_set(e, ERR_NOMEM, "descriptor watch");
	r->watch = w;
	r->group = p->loop->group;
	r->ep = p->set[r->group] ? p->set[r->group]->ep : p->ep;
	if (tell_kernel(r) != 0) {
		sys = errno;
		mem_free(r);
		return err_sys(e, sys, "watch descriptor %d", w->fd);
	}
	w->impl = r;
	return 0;
}

void poller_set(struct poller *p, struct loop_watch *w)
{
	(void)p;
	/* Adding again can only fail for want of memory; the owner then sees
	 * nothing until its own time limit, as when the peer is silent. */
	(void)tell_kernel(w->impl);
}

void poller_del(struct poller *p, struct loop_watch *w, bool closing)
{
	struct reg *r = w->impl;

	if (r->in_kernel && !closing) /* closing the last descriptor removes it by itself */
		(void)epoll_ctl(r->ep, EPOLL_CTL_DEL, w->fd, NULL);
	w->impl = NULL;
	r->watch = NULL;
	if (p->turning) {
		r->next_dead = p->dead;
		p->dead = r;
	} else {
		mem_free(r);
	}
}

void poller_move(struct poller *p, struct loop_watch *from, struct loop_watch *to)
{
	struct reg *r = to->impl;

	(void)p;
	(void)from;
	r->watch = to;
}

static unsigned ready_bits(uint32_t ev)
{
	unsigned ready = 0;

	if (ev & EPOLLIN)
		ready |= WATCH_READ;
	if (ev & EPOLLOUT)
		ready |= WATCH_WRITE;
	if (ev & EPOLLRDHUP)
		ready |= WATCH_READ | WATCH_HUP;
	if (ev & (EPOLLHUP | EPOLLERR))
		ready |= WATCH_READ | WATCH_WRITE | WATCH_HUP;
	return ready;
}

/* The shorter of libuv's own limit and ours; -1 is the longest. */
static int shorter(int a, int b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

static void call(struct poller *p, struct reg *r, uint32_t events)
{
	if (!r->watch)
		return;
	if (r->group != p->last_group) {
		p->last_group = r->group;
		p->mixed_ms = loop_now_ms(p->loop);
		p->has_mixed = true;
	}
	p->loop->group = r->group;
	r->watch->fn(r->watch->arg, ready_bits(events));
}

static void call_some(struct poller *p, const struct set *s)
{
	struct epoll_event ev[SHARE];
	int n = epoll_wait(s->ep, ev, poller_is_contended(p) ? 1 : SHARE, 0);

	for (int i = 0; i < n; i++)
		call(p, ev[i].data.ptr, ev[i].events);
}

void poller_turn(struct poller *p, int wait_ms)
{
	uv_loop_t *uv = &p->loop->uv;
	bool uv_ready = false;
	int i, n;

	uv_update_time(uv);
	n = epoll_wait(p->ep, p->ev, BATCH, shorter(wait_ms, uv_backend_timeout(uv)));
	loop_renew_time(p->loop);
	p->turning = true;
	for (i = 0; i < n; i++) {
		const enum kind *kind = p->ev[i].data.ptr;

		if (!kind)
			uv_ready = true;
		else if (*kind == KIND_SET)
			call_some(p, p->ev[i].data.ptr);
		else
			call(p, p->ev[i].data.ptr, p->ev[i].events);
	}
	p->turning = false;
	p->loop->group = 0;
	bury(p);
	uv_update_time(uv);
	if (uv_ready || uv_backend_timeout(uv) == 0)
		uv_run(uv, UV_RUN_NOWAIT);
}
