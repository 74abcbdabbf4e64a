/* Linux: an epoll set. It refuses files, which are always ready: those are in a short list. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/bridge/ev_impl.h"

enum { BATCH = 64, FILES = 4 };

struct ev_poll {
	int fd, count;
	struct epoll_event
		batch[BATCH]; /* told one after the other; data.ptr NULL: unwatched since */
	struct ev_watch *file[FILES];
};

int ev_poll_new(struct ev_poll **out, struct err *e)
{
	struct ev_poll *p = mem_alloc(sizeof(*p));

	if (!p)
		return err_set(e, ERR_NOMEM, "epoll");
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0) {
		(void)err_sys(e, errno, "epoll");
		mem_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

void ev_poll_free(struct ev_poll *p)
{
	close(p->fd);
	mem_free(p);
}

static uint32_t wanted(const struct ev_watch *w)
{
	return (w->want & EV_READ ? EPOLLIN | EPOLLRDHUP : 0u) |
	       (w->want & EV_END ? EPOLLRDHUP : 0u) | (w->want & EV_WRITE ? EPOLLOUT : 0u);
}

static int control(struct ev_poll *p, int op, struct ev_watch *w)
{
	struct epoll_event ev = { .events = wanted(w), .data.ptr = w };

	return epoll_ctl(p->fd, op, w->fd, &ev);
}

static int add_file(struct ev_poll *p, struct ev_watch *w, struct err *e)
{
	for (unsigned i = 0; i < FILES; i++)
		if (!p->file[i]) {
			p->file[i] = w;
			w->slot = i;
			w->always = true;
			return 0;
		}
	return err_set(e, ERR_LIMIT, "more than %d files at once", FILES);
}

int ev_poll_add(struct ev_poll *p, struct ev_watch *w, struct err *e)
{
	if (control(p, EPOLL_CTL_ADD, w) == 0)
		return 0;
	return errno == EPERM ? add_file(p, w, e) : err_sys(e, errno, "epoll");
}

void ev_poll_change(struct ev_poll *p, struct ev_watch *w)
{
	if (w->always || (w->asleep && !w->want))
		return;
	/* Neither can fail for a descriptor that was there before, but for want of memory: then
	 * it sleeps, and the next change tries again. */
	w->asleep = control(p, w->asleep ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, w) != 0;
}

void ev_poll_remove(struct ev_poll *p, struct ev_watch *w)
{
	if (w->always)
		p->file[w->slot] = NULL;
	else if (!w->asleep)
		(void)control(p, EPOLL_CTL_DEL, w);
	for (int i = 0; i < p->count; i++)
		if (p->batch[i].data.ptr == w)
			p->batch[i].data.ptr = NULL;
}

static void tell(struct ev_poll *p, struct ev_watch *w, uint32_t got)
{
	unsigned what = 0;

	if (got & (EPOLLERR | EPOLLHUP))
		what = EV_GONE | w->want;
	if (got & (EPOLLIN | EPOLLRDHUP))
		what |= EV_READ & w->want;
	if (got & EPOLLRDHUP)
		what |= EV_END & w->want;
	if (got & EPOLLOUT)
		what |= EV_WRITE & w->want;
	/* It would be told of in every turn from now on. */
	if (what == EV_GONE)
		w->asleep = control(p, EPOLL_CTL_DEL, w) == 0;
	if (what)
		w->fn(w->arg, what);
}

static bool file_waits(const struct ev_poll *p)
{
	for (unsigned i = 0; i < FILES; i++)
		if (p->file[i] && p->file[i]->want)
			return true;
	return false;
}

static void tell_files(struct ev_poll *p)
{
	for (unsigned i = 0; i < FILES; i++)
		if (p->file[i] && p->file[i]->want)
			p->file[i]->fn(p->file[i]->arg, p->file[i]->want);
}

int ev_poll_wait(struct ev_poll *p, int ms, void (*woken)(void *arg), void *arg, struct err *e)
{
	int n = epoll_wait(p->fd, p->batch, BATCH, file_waits(p) ? 0 : ms);

	woken(arg);
	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "epoll");
	p->count = n < 0 ? 0 : n;
	for (int i = 0; i < p->count; i++) {
		struct ev_watch *w = p->batch[i].data.ptr;

		if (w)
			tell(p, w, p->batch[i].events);
	}
	p->count = 0;
	tell_files(p);
	return 0;
}
