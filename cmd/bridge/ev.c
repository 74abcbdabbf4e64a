#include "cmd/bridge/ev.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/bridge/ev_impl.h"

static void read_time(void *arg)
{
	struct ev *ev = arg;

	ev->now_ms = clock_mono_ms(&clock_system);
}

int ev_new(struct ev **out, struct err *e)
{
	struct ev *ev = mem_alloc(sizeof(*ev));

	if (!ev)
		return err_set(e, ERR_NOMEM, "event loop");
	list_init(&ev->timers);
	read_time(ev);
	if (ev_poll_new(&ev->poll, e) != 0) {
		mem_free(ev);
		return -1;
	}
	*out = ev;
	return 0;
}

void ev_free(struct ev *ev)
{
	if (!ev)
		return;
	ev_poll_free(ev->poll);
	mem_free(ev);
}

uint64_t ev_now(const struct ev *ev)
{
	return ev->now_ms;
}

void ev_stop(struct ev *ev)
{
	ev->stopped = true;
}

static struct ev_timer *first_timer(const struct ev *ev)
{
	return list_empty(&ev->timers) ? NULL
				       : CONTAINER_OF(ev->timers.next, struct ev_timer, node);
}

static int until_timer(const struct ev *ev)
{
	enum { MOST_MS = 60000 };
	const struct ev_timer *t = first_timer(ev);

	if (!t)
		return -1;
	if (t->at_ms <= ev->now_ms)
		return 0;
	return t->at_ms - ev->now_ms > MOST_MS ? MOST_MS : (int)(t->at_ms - ev->now_ms);
}

static void run_timers(struct ev *ev)
{
	struct ev_timer *t;

	while (!ev->stopped && (t = first_timer(ev)) != NULL && t->at_ms <= ev->now_ms) {
		list_del(&t->node);
		t->fn(t->arg);
	}
}

int ev_run(struct ev *ev, struct err *e)
{
	ev->stopped = false;
	read_time(ev);
	while (!ev->stopped) {
		if (ev_poll_wait(ev->poll, until_timer(ev), read_time, ev, e) != 0)
			return -1;
		run_timers(ev);
	}
	return 0;
}

int ev_watch(struct ev *ev, struct ev_watch *w, int fd, unsigned want,
	     void (*fn)(void *arg, unsigned what), void *arg, struct err *e)
{
	*w = (struct ev_watch){ .fd = fd, .want = want, .on = true, .fn = fn, .arg = arg };
	if (ev_poll_add(ev->poll, w, e) == 0)
		return 0;
	*w = (struct ev_watch){ .fd = -1 };
	return -1;
}

void ev_want(struct ev *ev, struct ev_watch *w, unsigned want)
{
	if (!w->on || w->want == want)
		return;
	w->want = want;
	ev_poll_change(ev->poll, w);
}

void ev_unwatch(struct ev *ev, struct ev_watch *w)
{
	if (w->on)
		ev_poll_remove(ev->poll, w);
	w->on = false;
}

void ev_arm(struct ev *ev, struct ev_timer *t, unsigned ms, void (*fn)(void *arg), void *arg)
{
	struct list *before;

	list_del(&t->node);
	t->at_ms = ev->now_ms + ms;
	t->fn = fn;
	t->arg = arg;
	before = ev->timers.next;
	while (before != &ev->timers &&
	       CONTAINER_OF(before, struct ev_timer, node)->at_ms <= t->at_ms)
		before = before->next;
	list_add_tail(before, &t->node);
}

void ev_disarm(struct ev *ev, struct ev_timer *t)
{
	(void)ev;
	list_del(&t->node);
}
