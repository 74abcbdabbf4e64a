/* poll(2). Its array and the watches stand side by side; a place that is left is filled with the
 * last one. */
#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "cmd/bridge/ev_impl.h"

#ifndef POLLRDHUP /* macOS */
#define POLLRDHUP 0
#endif

struct ev_poll {
	struct pollfd *fd;
	struct ev_watch **watch;
	unsigned n, size;
};

int ev_poll_new(struct ev_poll **out, struct err *e)
{
	*out = mem_alloc(sizeof(**out));
	return *out ? 0 : err_set(e, ERR_NOMEM, "poll");
}

void ev_poll_free(struct ev_poll *p)
{
	mem_free(p->fd);
	mem_free(p->watch);
	mem_free(p);
}

static int grow(struct ev_poll *p, struct err *e)
{
	unsigned size = p->size ? 2 * p->size : 16;
	struct pollfd *fd = mem_resize(p->fd, size * sizeof(*fd));
	struct ev_watch **watch;

	if (fd)
		p->fd = fd;
	watch = mem_resize(p->watch, size * sizeof(struct ev_watch *));
	if (watch)
		p->watch = watch;
	if (!fd || !watch)
		return err_set(e, ERR_NOMEM, "poll");
	p->size = size;
	return 0;
}

static void set(struct ev_poll *p, const struct ev_watch *w)
{
	struct pollfd *f = &p->fd[w->slot];

	f->fd = w->asleep ? -1 : w->fd;
	f->events = (short)((w->want & EV_READ ? POLLIN : 0) | (w->want & EV_WRITE ? POLLOUT : 0) |
			    (w->want & EV_END ? POLLRDHUP : 0));
}

int ev_poll_add(struct ev_poll *p, struct ev_watch *w, struct err *e)
{
	if (p->n == p->size && grow(p, e) != 0)
		return -1;
	w->slot = p->n++;
	p->watch[w->slot] = w;
	p->fd[w->slot].revents = 0; /* one that comes during a turn is told in the next */
	set(p, w);
	return 0;
}

void ev_poll_change(struct ev_poll *p, struct ev_watch *w)
{
	w->asleep = w->asleep && !w->want;
	set(p, w);
}

void ev_poll_remove(struct ev_poll *p, struct ev_watch *w)
{
	unsigned last = --p->n;

	p->fd[w->slot] = p->fd[last];
	p->watch[w->slot] = p->watch[last];
	p->watch[w->slot]->slot = w->slot;
}

static void tell(struct ev_poll *p, struct ev_watch *w, int got)
{
	unsigned what = 0;

	if (got & (POLLERR | POLLHUP | POLLNVAL))
		what = EV_GONE | w->want;
	if (got & POLLIN)
		what |= EV_READ & w->want;
	if (got & POLLRDHUP)
		what |= EV_END & w->want;
	if (got & POLLOUT)
		what |= EV_WRITE & w->want;
	if (what == EV_GONE) {
		w->asleep = true;
		set(p, w);
	}
	if (what)
		w->fn(w->arg, what);
}

/* From the end, so that what fills a place that was left has had its turn already: at worst it
 * is told twice, and says EAGAIN. */
static void tell_all(struct ev_poll *p)
{
	for (unsigned i = p->n; i-- > 0;) {
		int got;

		if (i >= p->n)
			continue;
		got = p->fd[i].revents;
		p->fd[i].revents = 0;
		if (got)
			tell(p, p->watch[i], got);
	}
}

int ev_poll_wait(struct ev_poll *p, int ms, void (*woken)(void *arg), void *arg, struct err *e)
{
	int n = poll(p->fd, p->n, ms);

	woken(arg);
	if (n < 0)
		return errno == EINTR ? 0 : err_sys(e, errno, "poll");
	tell_all(p);
	return 0;
}
