/*
 * A worker's life. Everything it begins with is made in the main thread before
 * its own thread exists, so that what can fail fails where it is told.
 *
 *   worker_new -> seats -> worker_start ==> loop_run
 *   worker_stop ~~mail~~> sockets closed, seats closing ~~mail~~> quiet
 *                         seats closed, direct closed   ~~mail~~> ended -> worker_join
 *
 * Loops are freed last of all: that waits for look-ups which the system does not break off,
 * and the others shall end, and signals be heard, before.
 *
 * An ended worker may still be sent word of a free place (seat.c); its loop's end reads it.
 *
 * Mail from one sender keeps its order. So whatever worker 0 sent before the
 * stop arrives before it, and whatever this worker handed over arrives before its "quiet".
 */
#include "cmd/awsocks/worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/direct.h"
#include "base/mem.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/upstream.h"
#include "config/options.h"
#include "net/host_guard.h"
#include "net/tcp.h"
#include "proxy/auth.h"
#include "proxy/proxy.h"

/* A proxy in front of us that is one of our own listeners. */
static bool is_own(void *arg, const struct addr *to)
{
	return !host_guard_allow_opened(((struct worker *)arg)->guard, to, NULL);
}

int worker_new(struct worker **out, struct app *a, unsigned index, struct err *e)
{
	struct worker *w = mem_alloc(sizeof(*w));
	struct direct_opts direct = { 0 };

	*out = w;
	if (!w)
		return err_set(e, ERR_NOMEM, "worker");
	w->app = a;
	w->index = index;
	list_init(&w->seats);
	if (loop_new(&w->loop, e) != 0)
		return -1;
	direct.loop = w->loop;
	direct.limit_ms = (unsigned)a->profile[0].options->connect_timeout;
	w->guard = host_guard_new(w->loop, e);
	w->auth = w->guard ? auth_new(w->loop, e) : NULL;
	if (w->auth &&
	    upstream_open(a->profile[0].options, w->loop, is_own, w, &w->upstream, e) != 0)
		return -1;
	direct.egress = w->upstream;
	direct.ca_file = a->profile[0].options->ca_bundle;
	w->direct = w->auth ? direct_backend_new(&direct, e) : NULL;
	return w->direct ? 0 : -1;
}

static void *run(void *arg)
{
	loop_run(((struct worker *)arg)->loop);
	return NULL;
}

int worker_start(struct worker *w, struct err *e)
{
	sigset_t all, before;
	int sys;

	/* Signals are the main thread's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	sys = pthread_create(&w->thread, NULL, run, w);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (sys == EAGAIN) { /* of the system, or of this user or its memory */
		(void)err_set(e, ERR_LIMIT,
			      "--workers %zu: the system has no thread for worker %u (%s)",
			      w->app->workers, w->index, "limits of processes or memory");
		return -1;
	}
	if (sys != 0)
		return err_sys(e, sys, "thread of worker %u", w->index);
	w->running = true;
	return 0;
}

/* ---- the end ---- */

void worker_close_sockets(struct worker *w)
{
	LIST_EACH (node, &w->seats) {
		struct seat *s = CONTAINER_OF(node, struct seat, node);

		listen_close(s->socket);
		s->socket = NULL;
	}
}

static void closed_one(struct worker *w)
{
	if (--w->pending == 0)
		w->closed(w->closed_arg);
}

static void on_proxy_closed(void *arg)
{
	struct seat *s = arg;

	s->proxy = NULL;
	closed_one(s->worker);
}

void worker_close_seats(struct worker *w, unsigned grace_ms, loop_fn *closed, void *arg)
{
	w->closed = closed;
	w->closed_arg = arg;
	w->pending = 1; /* so that closed() comes when all have begun to close */
	LIST_EACH (node, &w->seats) {
		struct seat *s = CONTAINER_OF(node, struct seat, node);

		w->pending++;
		proxy_close(s->proxy, grace_ms, on_proxy_closed, s);
	}
	closed_one(w);
}

static void on_ended(void *arg)
{
	app_worker_ended(arg);
}

static void direct_closed(void *arg)
{
	struct worker *w = arg;

	w->direct = NULL;
	loop_stop(w->loop);
	loop_send(app_loop(w->app), &w->ended, on_ended, w);
}

static void seats_closed(void *arg)
{
	struct worker *w = arg;

	backend_close(w->direct, direct_closed, w);
}

static void on_quiet(void *arg)
{
	app_closed_one(arg);
}

static void stop_here(void *arg)
{
	struct worker *w = arg;

	worker_close_sockets(w);
	worker_close_seats(w, w->grace_ms, seats_closed, w);
	loop_send(app_loop(w->app), &w->quiet, on_quiet, w->app);
}

void worker_stop(struct worker *w, unsigned grace_ms)
{
	w->grace_ms = grace_ms;
	if (w->running) {
		loop_send(w->loop, &w->stop, stop_here, w);
		return;
	}
	/* The start failed before there was a thread. It has served nobody. */
	stop_here(w);
	loop_run(w->loop);
}

void worker_join(struct worker *w)
{
	if (w->running)
		(void)pthread_join(w->thread, NULL);
	w->running = false;
}

static void nothing(void *arg)
{
	(void)arg;
}

bool worker_free(struct worker *w)
{
	bool all_ended;

	if (!w)
		return true;
	if (w->direct) /* app_new() failed; the loop's end lets it end */
		backend_close(w->direct, nothing, NULL);
	host_guard_free(w->guard);
	auth_free(w->auth);
	egress_free(w->upstream);
	all_ended = loop_free(w->loop);
	mem_free(w);
	return all_ended;
}
