/*
 * Accepting. The watch is a level one, and few connections are taken
 * per turn: one while they come singly (a second accept would only say
 * EAGAIN), more while every turn finds as many as it takes.
 *
 * Out of descriptors, or with the gate shut, the pending connection stays
 * pending and the socket readable: without a pause that would be a busy loop.
 * The pause ends when the owner knows of something that has become free
 * (listen_resume()), otherwise after PAUSE_MS: others may have freed it. While it
 * lasts there is no watch, so that a new one that fails is known, and tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tcp.h"

enum { PAUSE_MS = 100, BURST_MAX = 64, STREAK = 4, SAY_AGAIN_MS = 60000 };

struct listen_socket {
	struct loop *loop;
	struct loop_watch watch; /* not added: paused */
	struct loop_timer pause;
	accepted_fn *accepted;
	struct listen_gate gate;
	void *arg;
	struct listen_bound bound;
	unsigned group;         /* of the loop: whoever comes here belongs to it */
	unsigned burst, streak; /* to take per turn; turns in a row that took as many */
	uint64_t complained_ms; /* when the log was told of a shortage; 0: never */
	bool busy, dead;
};

/* ---- accepting ---- */

static bool enter(const struct listen_socket *ls)
{
	return !ls->gate.enter || ls->gate.enter(ls->arg);
}

static void leave(const struct listen_socket *ls)
{
	if (ls->gate.leave)
		ls->gate.leave(ls->arg);
}

/* Is there a descriptor for one more? Listeners without a gate serve the program itself. */
static bool has_descriptor(const struct listen_socket *ls)
{
	int fd;

	if (!ls->gate.enter)
		return true;
	fd = fcntl(ls->bound.fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return false;
	close(fd);
	return loop_may_use_fd(ls->loop, fd);
}

static void ready(void *arg, unsigned bits);

static bool may_go_on(const struct listen_socket *ls)
{
	if (!enter(ls))
		return false;
	leave(ls);
	return has_descriptor(ls);
}

static void on_pause_over(void *arg);

static bool go_on(struct listen_socket *ls)
{
	unsigned before = loop_group_enter(ls->loop, ls->group);
	bool on = may_go_on(ls) &&
		  watch_add(ls->loop, &ls->watch, ls->bound.fd, WATCH_READ, ready, ls, NULL) == 0;

	if (!on)
		timer_arm(ls->loop, &ls->pause, PAUSE_MS, on_pause_over, ls);
	(void)loop_group_enter(ls->loop, before);
	return on;
}

static void on_pause_over(void *arg)
{
	(void)go_on(arg);
}

static void pause_accepting(struct listen_socket *ls)
{
	watch_del(ls->loop, &ls->watch);
	timer_arm(ls->loop, &ls->pause, PAUSE_MS, on_pause_over, ls);
}

bool listen_resume(struct listen_socket *ls)
{
	if (!timer_armed(&ls->pause))
		return false;
	timer_disarm(ls->loop, &ls->pause);
	return go_on(ls);
}

/* Not for every connection that finds the shortage lasting. */
static void complain(struct listen_socket *ls, int sys)
{
	uint64_t now = loop_now_ms(ls->loop);
	char text[ADDR_TEXT];
	struct err e;

	if (ls->complained_ms && now - ls->complained_ms < SAY_AGAIN_MS)
		return;
	ls->complained_ms = now ? now : 1;
	addr_format(&ls->bound.addr, text);
	(void)err_sys(&e, sys, "accept at %s", text);
	log_warn("net", "%s; new connections wait until some are closed", e.msg);
}

static bool is_shortage(int sys)
{
	return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

/* False: nothing (more) to take now. Other errors belong to one connection. */
static bool take_one(struct listen_socket *ls)
{
	struct addr peer;
	int fd, sys;

	if (!enter(ls)) {
		pause_accepting(ls);
		return false;
	}
	fd = sock_accept(ls->bound.fd, &peer);
	sys = errno;
	if (fd >= 0) {
		ls->accepted(ls->arg, fd, &peer);
		if (ls->dead || !ls->gate.enter || loop_may_use_fd(ls->loop, fd))
			return !ls->dead;
		sys = EMFILE; /* the rest is not for clients */
		complain(ls, sys);
		pause_accepting(ls);
		return false;
	}
	leave(ls);
	if (!is_shortage(sys))
		return sys != EAGAIN;
	complain(ls, sys);
	pause_accepting(ls);
	return false;
}

static void adapt(struct listen_socket *ls, unsigned taken)
{
	if (taken < ls->burst) {
		ls->burst = taken ? taken : 1;
		ls->streak = 0;
	} else if (++ls->streak >= STREAK && ls->burst < BURST_MAX) {
		ls->burst *= 2;
		ls->streak = 0;
	}
}

static void ready(void *arg, unsigned bits)
{
	struct listen_socket *ls = arg;
	unsigned taken = 0, most;

	(void)bits;
	ls->busy = true;
	/* Where others wait, one: what follows from each takes its turns with theirs. */
	most = loop_is_contended(ls->loop) ? 1 : ls->burst;
	while (taken < most && take_one(ls))
		taken++;
	ls->busy = false;
	if (ls->dead)
		mem_free(ls);
	else if (most == ls->burst)
		adapt(ls, taken);
}

/* ---- public ---- */

struct listen_socket *listen_open(struct loop *l, const struct addr *a, accepted_fn *accepted,
				  void *arg, struct err *e)
{
	return listen_open_mode(l, a, 0600, accepted, arg, e);
}

struct listen_socket *listen_open_mode(struct loop *l, const struct addr *a, mode_t mode,
				       accepted_fn *accepted, void *arg, struct err *e)
{
	struct listen_bound b;

	return listen_bind(&b, a, mode, e) == 0 ? listen_serve(l, &b, accepted, arg, e) : NULL;
}

struct listen_socket *listen_serve(struct loop *l, struct listen_bound *b, accepted_fn *accepted,
				   void *arg, struct err *e)
{
	struct listen_socket *ls = mem_alloc(sizeof(*ls));

	if (!ls) {
		listen_drop(b);
		(void)err_set(e, ERR_NOMEM, "listener");
		return NULL;
	}
	*ls = (struct listen_socket){ .loop = l, .accepted = accepted, .arg = arg, .burst = 1 };
	ls->group = loop_group_enter(l, 0);
	(void)loop_group_enter(l, ls->group);
	if (watch_add(l, &ls->watch, b->fd, WATCH_READ, ready, ls, e) != 0) {
		listen_drop(b);
		mem_free(ls);
		return NULL;
	}
	ls->bound = *b;
	*b = (struct listen_bound){ .fd = -1 };
	return ls;
}

void listen_set_gate(struct listen_socket *ls, const struct listen_gate *gate)
{
	ls->gate = *gate;
}

void listen_close(struct listen_socket *ls)
{
	if (!ls)
		return;
	timer_disarm(ls->loop, &ls->pause);
	watch_del(ls->loop, &ls->watch);
	listen_drop(&ls->bound);
	if (ls->busy)
		ls->dead = true;
	else
		mem_free(ls);
}

bool listen_is_gone(const struct listen_socket *ls)
{
	return listen_path_is_gone(&ls->bound);
}

const struct addr *listen_addr(const struct listen_socket *ls)
{
	return &ls->bound.addr;
}
