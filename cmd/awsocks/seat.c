/*
 * A listener's place at a worker: who is let in, who serves, and what goes
 * from one worker to another.
 *
 * Where several sockets can share an address each seat accepts for itself.
 * Elsewhere (Unix paths; systems that do not spread) only worker 0 has a
 * socket, and gives each connection to the worker with the fewest.
 */
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/rules.h"
#include "cmd/awsocks/worker.h"
#include "config/options.h"
#include "net/host_guard.h"
#include "net/listen.h"
#include "proxy/auth.h"
#include "proxy/handover.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"

enum { DUE_MS = 1000 }; /* for one that does not come; a busy loop has turns of some length */

/* One thread writes each counter, so that no locked instruction is needed. */
static void count(atomic_uint_least64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* ---- accepting ---- */

static void serve(struct seat *s, int fd, const struct addr *peer)
{
	unsigned before = loop_group_enter(s->worker->loop, s->group);

	count(&s->worker->accepted);
	proxy_accept(s->proxy, fd, peer);
	(void)loop_group_enter(s->worker->loop, before);
}

/* A connection on its way to another worker, with its place in the limits. */
struct parcel {
	struct loop_mail mail;
	struct seat *to;
	int fd;
	struct addr peer;
};

static void received(void *arg)
{
	struct parcel *p = arg;

	count(&p->to->worker->received);
	serve(p->to, p->fd, &p->peer);
	mem_free(p);
}

/* Clients that it has and those under way to it. */
static size_t load_of(const struct worker *w)
{
	uint64_t received_now = atomic_load_explicit(&w->received, memory_order_relaxed);

	return atomic_load_explicit(&w->connected, memory_order_relaxed) +
	       (size_t)(w->sent - received_now);
}

/* Of equals the next one round, so that short connections are spread too. */
static struct seat *least_busy(struct app_listener *l)
{
	struct app *a = l->app;
	size_t first = (a->gave_to + 1) % a->workers, best = first;

	for (size_t k = 1; k < a->workers; k++) {
		size_t i = (first + k) % a->workers;

		if (load_of(a->worker[i]) < load_of(a->worker[best]))
			best = i;
	}
	a->gave_to = best;
	return &l->seat[best];
}

static void give(struct seat *s, int fd, const struct addr *peer)
{
	struct seat *to = least_busy(s->listener);
	struct parcel *p = to == s ? NULL : mem_alloc(sizeof(*p));

	if (!p) { /* we are the least busy, or memory is short */
		serve(s, fd, peer);
		return;
	}
	*p = (struct parcel){ .to = to, .fd = fd, .peer = *peer };
	to->worker->sent++;
	loop_send(to->worker->loop, &p->mail, received, p);
}

static void resume(struct worker *w);

static void on_accept(void *arg, int fd, const struct addr *from)
{
	struct seat *s = arg;
	struct addr unmapped = *from;
	const struct addr *peer = &unmapped;
	const char *why;
	char text[ADDR_TEXT];

	if (s->worker->due == s)
		resume(s->worker); /* the next one, when there is another place */
	addr_unmap(&unmapped);
	why = listener_turns_away(s->listener, fd, peer);
	if (why) {
		addr_format(peer, text);
		log_warn("listen", "%s: %s is %s: refused", s->listener->name, text, why);
		proxy_turn_away(s->proxy, fd, peer, why);
	} else if (s->listener->handing) {
		give(s, fd, peer);
	} else {
		serve(s, fd, peer);
	}
}

static bool enter(void *arg)
{
	struct seat *s = arg;
	struct worker *w = s->worker;
	bool kept = w->due && w->due != s && loop_now_ms(w->loop) < w->due_until_ms;
	bool in = !kept && limits_enter(s->listener->limits);

	if (!in)
		atomic_store(&w->waits, true);
	return in;
}

static void leave(void *arg)
{
	limits_leave(((struct seat *)arg)->listener->limits);
}

/* The next one round of those that wait gets the place, and until it has come for it nobody else: a
 * listener that has not had to wait yet would be there first, each time. */
static void resume(struct worker *w)
{
	w->due = NULL;
	atomic_store(&w->waits, false);
	LIST_EACH (node, &w->seats) {
		struct seat *s = CONTAINER_OF(node, struct seat, node);

		if (s->socket && listen_resume(s->socket) && !w->due) {
			w->due = s;
			w->due_until_ms = loop_now_ms(w->loop) + DUE_MS;
		}
	}
	if (!w->due)
		return;
	list_del(&w->due->node);
	list_add_tail(&w->seats, &w->due->node);
}

static void wake_up(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->woken, false);
	resume(w);
}

/* Of the other workers the next one round that waits for a place; NULL: none does. */
static struct worker *next_waiting(struct worker *w)
{
	struct app *a = w->app;

	for (size_t k = 1; k <= a->workers; k++) {
		size_t i = (w->woke + k) % a->workers;

		if (i == w->index || !atomic_load(&a->worker[i]->waits))
			continue;
		w->woke = i;
		return a->worker[i];
	}
	return NULL;
}

/* A place and descriptors are free: any listener may be waiting for them. While others wait too
 * they get every second place of ours, or those that are busy would keep all. A place whose taker
 * does not need it any more is found by the next pause's end. */
static void on_ended(void *arg)
{
	struct worker *w = ((struct seat *)arg)->worker, *next = next_waiting(w);
	bool ours = atomic_load(&w->waits);

	if (next && (!ours || !w->passed)) {
		w->passed = true;
		if (!atomic_exchange(&next->woken, true))
			loop_send(next->loop, &next->wake, wake_up, next);
		if (ours)
			return;
	}
	w->passed = false;
	resume(w);
}

int seat_serve(struct seat *s, struct listen_bound *b, struct err *e)
{
	static const struct listen_gate gate = { enter, leave };
	unsigned before;

	if (host_guard_listener(s->worker->guard, &b->addr, e) != 0) {
		listen_drop(b);
		return -1;
	}
	before = loop_group_enter(s->worker->loop, s->group);
	s->socket = listen_serve(s->worker->loop, b, on_accept, s, e);
	(void)loop_group_enter(s->worker->loop, before);
	if (!s->socket)
		return -1;
	listen_set_gate(s->socket, &gate);
	return 0;
}

/* A socket on its way to the worker that will accept from it. */
struct socket_parcel {
	struct loop_mail mail;
	struct seat *to;
	struct listen_bound bound;
};

static void socket_received(void *arg)
{
	struct socket_parcel *p = arg;
	struct err e;

	/* The kernel goes on without this one. */
	if (seat_serve(p->to, &p->bound, &e) != 0)
		log_error("listen", "%s: worker %u: %s", p->to->listener->name,
			  p->to->worker->index, e.msg);
	mem_free(p);
}

int seat_send_socket(struct seat *s, struct listen_bound *b, struct err *e)
{
	struct socket_parcel *p = mem_alloc(sizeof(*p));

	if (!p) {
		listen_drop(b);
		return err_set(e, ERR_NOMEM, "listener");
	}
	p->to = s;
	p->bound = *b;
	b->fd = -1;
	loop_send(s->worker->loop, &p->mail, socket_received, p);
	return 0;
}

/* ---- users ---- */

/* Other users on their way to a worker. */
struct users_parcel {
	struct loop_mail mail;
	struct seat *to;
	struct auth_users *users;
};

static void users_received(void *arg)
{
	struct users_parcel *p = arg;

	if (p->to->proxy)
		proxy_set_users(p->to->proxy, p->users);
	auth_forget(p->to->worker->auth);
	auth_users_unref(p->users);
	mem_free(p);
}

int seat_send_users(struct seat *s, struct auth_users *users, struct err *e)
{
	struct users_parcel *p = mem_alloc(sizeof(*p));

	if (!p)
		return err_set(e, ERR_NOMEM, "users");
	p->to = s;
	p->users = auth_users_ref(users);
	loop_send(s->worker->loop, &p->mail, users_received, p);
	return 0;
}

/* ---- routes ---- */

static void taken_over(void *arg)
{
	struct handover *h = arg;
	struct seat *s = h->to;
	unsigned before = loop_group_enter(s->worker->loop, s->group);

	proxy_take_over(s->proxy, h);
	(void)loop_group_enter(s->worker->loop, before);
}

static void hand_over(void *arg, struct handover *h)
{
	struct seat *s = arg;

	count(&s->worker->handed_over);
	h->to = &s->listener->seat[0];
	loop_send(app_loop(s->worker->app), &h->mail, taken_over, h);
}

static struct backend *backend_of(void *arg, const struct route *route, struct err *e)
{
	struct worker *w = ((struct seat *)arg)->worker;

	if (route->kind == ROUTE_DIRECT)
		return w->direct;
	return app_backend(w->app, route, e); /* worker 0: the others hand over */
}

static const struct router *router_of(void *arg)
{
	const struct app_listener *l = ((struct seat *)arg)->listener;

	return l->router(l->router_arg);
}

/* Between two requests nothing moves either; without --idle-timeout, and at most: the proxy's own
 * limit. */
static unsigned between_requests(unsigned idle_timeout)
{
	enum { MOST_MS = 120000 };

	return idle_timeout && idle_timeout < MOST_MS ? idle_timeout : MOST_MS;
}

int seat_open(struct seat *s, struct worker *w, struct app_listener *l, struct err *e)
{
	struct app *a = l->app;
	const struct options *o = a->profile[0].options;
	struct proxy_opts p = {
		.loop = w->loop,
		.listener = l->name,
		.router = router_of,
		.backend = backend_of,
		.arg = s,
		.policy = rules_policy(o, l->guarded),
		.allow = l->guarded ? host_guard_allow : NULL,
		.allow_opened = l->guarded ? host_guard_allow_opened : NULL,
		.allow_name = l->guarded ? host_guard_allow_name : NULL,
		.allow_vm = host_guard_allow,
		.allow_vm_opened = host_guard_allow_opened,
		.allow_arg = w->guard,
		.check_sni = l->check_sni,
		.audit = a->audit,
		.learn = a->learn,
		.handshake_ms = (unsigned)o->handshake_timeout,
		.still_ms = (unsigned)o->idle_timeout,
		.exchange_ms = (unsigned)o->idle_timeout,
		.idle_ms = between_requests((unsigned)o->idle_timeout),
		.no_udp = w->upstream != NULL,
		.users = l->users,
		.auth = w->auth,
		.limits = l->limits,
		.ended = on_ended,
		.hand_over = w->index ? hand_over : NULL,
		.id_first = w->index,
		.id_step = a->workers,
		.connected = &w->connected,
		.counts = &s->counts,
	};

	s->worker = w;
	s->listener = l;
	s->group = loop_group_new(w->loop);
	if (addr_port(&l->address) && host_guard_listener(w->guard, &l->address, e) != 0)
		return -1;
	if (proxy_new(&s->proxy, &p, e) != 0)
		return -1;
	list_add_tail(&w->seats, &s->node);
	return 0;
}
