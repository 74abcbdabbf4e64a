#include "cmd/bridge/pair.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_side(struct pair *p, int i, unsigned what);

static void on_first(void *arg, unsigned what)
{
	on_side(arg, 0, what);
}

static void on_second(void *arg, unsigned what)
{
	on_side(arg, 1, what);
}

static void on_first_out(void *arg, unsigned what)
{
	on_side(arg, 0, what & EV_GONE && !(what & EV_WRITE) ? what | EV_WRITE : what);
}

static void on_second_out(void *arg, unsigned what)
{
	on_side(arg, 1, what & EV_GONE && !(what & EV_WRITE) ? what | EV_WRITE : what);
}

static bool is_one(const struct pair_side *s)
{
	return s->in == s->out;
}

/* What is held waits for the sink; otherwise the source is waited for. */
static void want(struct pair *p, int i)
{
	struct pair_side *s = &p->side[i];
	const struct lane *from = &p->lane[i], *to = &p->lane[!i];
	unsigned in = !p->done[i] && !from->eof && !lane_holds(from) ? EV_READ : 0;
	unsigned out = !p->done[!i] && lane_holds(to) ? EV_WRITE : 0;

	if (is_one(s)) {
		ev_want(p->ev, &s->watch_in, in | out);
		return;
	}
	ev_want(p->ev, &s->watch_in, in);
	ev_want(p->ev, &s->watch_out, out);
}

/* The end of what goes to this side. */
static void pass_end_on(struct pair *p, int i)
{
	struct pair_side *s = &p->side[i];

	if (shutdown(s->out, SHUT_WR) == 0 || errno != ENOTSOCK || is_one(s))
		return;
	ev_unwatch(p->ev, &s->watch_out);
	close(s->out);
	s->out = -1;
}

/* 0: goes on. Otherwise the pair has ended and may be gone. */
static int run(struct pair *p, int i)
{
	if (p->done[i])
		return 0;
	switch (lane_run(p->shared, &p->lane[i], p->side[i].in, p->side[!i].out)) {
	case LANE_ENDED:
		p->done[i] = true;
		pass_end_on(p, !i);
		if (!p->done[!i])
			return 0;
		p->ended(p->arg, 0);
		return -1;
	case LANE_BROKEN: p->ended(p->arg, errno ? errno : EIO); return -1;
	default: return 0;
	}
}

static void on_side(struct pair *p, int i, unsigned what)
{
	/* It has said all, and hears nothing any more: nobody is there. */
	bool deserted = what & EV_GONE && is_one(&p->side[i]) && p->done[i] && !p->done[!i];

	if (deserted || (what & EV_GONE && what & EV_WRITE && !is_one(&p->side[i]))) {
		p->ended(p->arg, EPIPE);
		return;
	}
	if (what & EV_READ && run(p, i) != 0)
		return;
	if (what & EV_WRITE && run(p, !i) != 0)
		return;
	want(p, 0);
	want(p, 1);
}

static int watch_side(struct pair *p, int i, struct err *e)
{
	struct pair_side *s = &p->side[i];

	if (ev_watch(p->ev, &s->watch_in, s->in, EV_READ, i ? on_second : on_first, p, e) != 0)
		return -1;
	if (is_one(s) ||
	    ev_watch(p->ev, &s->watch_out, s->out, 0, i ? on_second_out : on_first_out, p, e) == 0)
		return 0;
	ev_unwatch(p->ev, &s->watch_in);
	return -1;
}

int pair_start(struct pair *p, struct ev *ev, struct lane_shared *shared, enum pair_kind kind,
	       struct pair_fds a, struct pair_fds b, void (*ended)(void *arg, int sys), void *arg,
	       struct err *e)
{
	*p = (struct pair){ .ev = ev, .shared = shared, .ended = ended, .arg = arg };
	p->side[0] = (struct pair_side){ .in = a.in, .out = a.out };
	p->side[1] = (struct pair_side){ .in = b.in, .out = b.out };
	lane_init(&p->lane[0], kind == PAIR_STDIO ? LANE_FROM_STDIO : LANE_SOCKETS);
	lane_init(&p->lane[1], kind == PAIR_STDIO ? LANE_TO_STDIO : LANE_SOCKETS);
	if (watch_side(p, 0, e) != 0)
		return -1;
	if (watch_side(p, 1, e) != 0) {
		ev_unwatch(ev, &p->side[0].watch_in);
		ev_unwatch(ev, &p->side[0].watch_out);
		return -1;
	}
	p->started = true;
	return 0;
}

/* A reset instead of an end, unless it has been told the end already: then it has, or will have,
 * all there was, and a reset would take that away. Unix sockets know no resets. */
static void close_side(struct pair *p, int i, bool broken)
{
	struct pair_side *s = &p->side[i];
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	ev_unwatch(p->ev, &s->watch_in);
	ev_unwatch(p->ev, &s->watch_out);
	if (broken && !p->done[!i])
		(void)setsockopt(s->in, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s->in);
	if (!is_one(s) && s->out >= 0)
		close(s->out);
}

void pair_close(struct pair *p, bool broken)
{
	if (!p->started)
		return;
	p->started = false;
	close_side(p, 0, broken);
	close_side(p, 1, broken);
	lane_free(p->shared, &p->lane[0]);
	lane_free(p->shared, &p->lane[1]);
}

bool pair_is_settled(const struct pair *p)
{
	struct pollfd in = { .fd = p->side[0].in, .events = POLLIN };

	return p->done[0] || (!lane_holds(&p->lane[0]) && poll(&in, 1, 0) == 0);
}
