/*
 * Where there is no epoll: a uv_poll per watch, and the loop's wait is
 * libuv's. uv_poll is level-triggered, so edge watches are level watches whose
 * owner remembers more than it needs to. Between its wait and the callbacks libuv
 * says nothing: the first callback that asks for the time finds that it has passed.
 *
 * A uv_poll handle lives until libuv's close callback, the watch may be gone
 * long before: the handle is a struct of its own that knows its watch, or
 * NULL. A uv_poll must be stopped before the descriptor is closed, which
 * poller_del() does at once.
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop_impl.h"

enum { NEVER_MS = 1 << 30 };

struct reg {
	uv_poll_t uv;
	struct loop_watch *watch; /* NULL: closing */
};

struct poller {
	struct loop *loop;
	uv_timer_t alarm;
};

int poller_new(struct loop *l, struct poller **out, struct err *e)
{
	struct poller *p = mem_alloc(sizeof(*p));

	*out = NULL;
	if (!p)
		return err_set(e, ERR_NOMEM, "poller");
	p->loop = l;
	uv_timer_init(&l->uv, &p->alarm);
	*out = p;
	return 0;
}

void poller_close(struct poller *p)
{
	uv_close((uv_handle_t *)&p->alarm, NULL);
}

void poller_free(struct poller *p)
{
	mem_free(p);
}

static void ready(uv_poll_t *h, int status, int events)
{
	struct reg *r = h->data;
	unsigned bits = 0;

	if (!r->watch)
		return;
	if (events & UV_READABLE)
		bits |= WATCH_READ;
	if (events & UV_WRITABLE)
		bits |= WATCH_WRITE;
	if (events & UV_DISCONNECT)
		bits |= WATCH_READ | WATCH_HUP;
	if (status < 0) {
		bits |= WATCH_READ | WATCH_WRITE | WATCH_HUP;
		r->watch->events = 0; /* libuv has stopped the handle */
	}
	r->watch->fn(r->watch->arg, bits);
}

static int start(struct reg *r)
{
	unsigned events = r->watch->events;
	int uv = 0;

	if (events & WATCH_READ)
		uv |= UV_READABLE | UV_DISCONNECT;
	if (events & WATCH_WRITE)
		uv |= UV_WRITABLE;
	return uv ? uv_poll_start(&r->uv, uv, ready) : uv_poll_stop(&r->uv);
}

static void gone(uv_handle_t *h)
{
	mem_free(h->data);
}

static void drop(struct reg *r)
{
	r->watch = NULL;
	uv_close((uv_handle_t *)&r->uv, gone);
}

int poller_add(struct poller *p, struct loop_watch *w, struct err *e)
{
	struct reg *r = mem_alloc(sizeof(*r));
	int res;

	if (!r)
		return err_set(e, ERR_NOMEM, "descriptor watch");
	r->watch = w;
	r->uv.data = r;
	res = uv_poll_init(&p->loop->uv, &r->uv, w->fd);
	if (res != 0) {
		mem_free(r);
		return err_sys(e, -res, "watch descriptor %d", w->fd);
	}
	r->uv.data = r;
	res = start(r);
	if (res != 0) {
		drop(r);
		return err_sys(e, -res, "watch descriptor %d", w->fd);
	}
	w->impl = r;
	return 0;
}

void poller_set(struct poller *p, struct loop_watch *w)
{
	int res = start(w->impl);

	(void)p;
	if (res != 0)
		log_error("loop", "watch descriptor %d: %s", w->fd, uv_strerror(res));
}

void poller_del(struct poller *p, struct loop_watch *w, bool closing)
{
	(void)p;
	(void)closing;
	drop(w->impl); /* stops it too, in the kernel at once */
	w->impl = NULL;
}

void poller_move(struct poller *p, struct loop_watch *from, struct loop_watch *to)
{
	struct reg *r = to->impl;

	(void)p;
	(void)from;
	r->watch = to;
}

/* The alarm only ends the wait: the loop looks at its timers after it. It runs before
 * the wait too, and so may not ask for the time. */
static void rang(uv_timer_t *t)
{
	(void)t;
}

void poller_turn(struct poller *p, int wait_ms)
{
	uv_loop_t *uv = &p->loop->uv;
	uint64_t ms = wait_ms < 0 ? NEVER_MS : (uint64_t)wait_ms;

	uv_update_time(uv);
	uv_timer_start(&p->alarm, rang, ms, 0);
	p->loop->time_passes = true;
	uv_run(uv, wait_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
}

/* libuv tells of what is ready in its own order: no groups. */
unsigned poller_group_new(struct poller *p)
{
	(void)p;
	return 0;
}

bool poller_is_contended(const struct poller *p)
{
	(void)p;
	return false;
}
