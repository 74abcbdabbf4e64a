#include "cmd/bridge/bridge.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/bridge/far.h"
#include "cmd/bridge/pair.h"
#include "net/listen.h"
#include "net/sock.h"

enum { ACCEPTS = 16, SHORTAGE_MS = 100, DRAIN_STEP_MS = 5 };

struct listener {
	struct bridge *bridge;
	struct listen_bound bound;
	struct ev_watch watch;
};

struct bridge {
	struct ev *ev;
	struct lane_shared *shared;
	struct far *far;
	struct listener listener[BRIDGE_LISTENERS];
	size_t listener_count;
	struct list links;
	unsigned count, max;
	bool told_full, told_short;
	struct ev_timer pause; /* of accepting */

	struct ev_timer drain;
	uint64_t drain_end_ms;
	void (*drained)(void *arg);
	void *drained_arg;
};

/* One client. */
struct link {
	struct list node;
	struct bridge *bridge;
	int fd;
	struct ev_watch watch; /* while it waits: it may go away */
	struct far_call call;
	struct pair pair;
};

/* ---- accepting goes on, or not ---- */

static void accept_all(struct bridge *b, bool on)
{
	for (size_t i = 0; i < b->listener_count; i++)
		ev_want(b->ev, &b->listener[i].watch, on ? EV_READ : 0);
}

static void on_pause_over(void *arg)
{
	struct bridge *b = arg;

	if (b->count < b->max)
		accept_all(b, true);
}

static void is_full(struct bridge *b)
{
	if (!b->told_full)
		log_warn("bridge", "%u connections: further clients wait", b->max);
	b->told_full = true;
	accept_all(b, false);
}

static void is_short(struct bridge *b, int sys)
{
	if (!b->told_short)
		log_warn("bridge", "accept: %s: further clients wait", strerror(sys));
	b->told_short = true;
	accept_all(b, false);
	ev_arm(b->ev, &b->pause, SHORTAGE_MS, on_pause_over, b);
}

/* ---- a client ---- */

static void link_free(struct link *l, bool broken)
{
	struct bridge *b = l->bridge;

	ev_unwatch(b->ev, &l->watch);
	far_cancel(&l->call);
	pair_close(&l->pair, broken);
	if (l->fd >= 0)
		close(l->fd);
	list_del(&l->node);
	mem_free(l);
	if (b->count-- == b->max && !list_linked(&b->pause.node))
		accept_all(b, true);
	if (b->count < b->max - b->max / 8)
		b->told_full = b->told_short = false;
}

static void on_ended(void *arg, int sys)
{
	struct link *l = arg;

	if (sys)
		log_debug("bridge", "connection: %s", strerror(sys));
	link_free(l, sys != 0);
}

static void on_far(void *arg, int fd)
{
	struct link *l = arg;
	struct err e;

	ev_unwatch(l->bridge->ev, &l->watch);
	if (fd < 0) {
		link_free(l, true);
		return;
	}
	if (pair_start(&l->pair, l->bridge->ev, l->bridge->shared, PAIR_SOCKETS,
		       (struct pair_fds){ l->fd, l->fd }, (struct pair_fds){ fd, fd }, on_ended, l,
		       &e) != 0) {
		log_warn("bridge", "connection: %s", e.msg);
		close(fd);
		link_free(l, true);
		return;
	}
	l->fd = -1;
}

static void on_waiting(void *arg, unsigned what)
{
	struct link *l = arg;

	if (what & EV_GONE) {
		link_free(l, true);
		return;
	}
	ev_want(l->bridge->ev, &l->watch, 0);
	far_may_yield(&l->call);
	log_debug("bridge", "a client that waits has ended what it sends");
}

static void serve(struct bridge *b, int fd)
{
	struct link *l = mem_alloc(sizeof(*l));
	struct err e;

	if (!l || ev_watch(b->ev, &l->watch, fd, EV_END, on_waiting, l, &e) != 0) {
		mem_free(l);
		close(fd);
		is_short(b, ENOMEM);
		return;
	}
	l->bridge = b;
	l->fd = fd;
	list_add_tail(&b->links, &l->node);
	b->count++;
	far_ask(b->far, &l->call, on_far, l);
}

static void on_client(void *arg, unsigned what)
{
	struct listener *l = arg;
	struct bridge *b = l->bridge;
	struct addr peer;

	(void)what;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd;

		if (b->count >= b->max) {
			is_full(b);
			return;
		}
		fd = sock_accept(l->bound.fd, &peer);
		if (fd >= 0) {
			serve(b, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			is_short(b, errno);
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- the end ---- */

static bool is_settled(const struct link *l)
{
	struct pollfd in = { .fd = l->fd, .events = POLLIN };

	if (l->pair.started)
		return pair_is_settled(&l->pair);
	return far_is_away(l->bridge->far) || poll(&in, 1, 0) == 0;
}

static void on_drain(void *arg)
{
	struct bridge *b = arg;

	LIST_EACH (it, &b->links) {
		if (!is_settled(CONTAINER_OF(it, struct link, node)) &&
		    ev_now(b->ev) < b->drain_end_ms) {
			ev_arm(b->ev, &b->drain, DRAIN_STEP_MS, on_drain, b);
			return;
		}
	}
	b->drained(b->drained_arg);
}

static void stop_listening(struct bridge *b)
{
	for (size_t i = 0; i < b->listener_count; i++) {
		ev_unwatch(b->ev, &b->listener[i].watch);
		listen_drop(&b->listener[i].bound);
	}
	b->listener_count = 0;
	ev_disarm(b->ev, &b->pause);
}

void bridge_drain(struct bridge *b, unsigned limit_ms, void (*done)(void *arg), void *arg)
{
	struct addr peer;
	int fd;

	for (size_t i = 0; i < b->listener_count; i++)
		while (b->count < b->max && (fd = sock_accept(b->listener[i].bound.fd, &peer)) >= 0)
			serve(b, fd);
	stop_listening(b);
	b->drain_end_ms = ev_now(b->ev) + limit_ms;
	b->drained = done;
	b->drained_arg = arg;
	ev_arm(b->ev, &b->drain, 0, on_drain, b);
}

/* ---- the beginning ---- */

static bool same_place(const struct addr *a, const struct addr *b)
{
	if (a->ss.ss_family == AF_UNIX)
		return b->ss.ss_family == AF_UNIX && a->len == b->len &&
		       memcmp(&a->ss, &b->ss, a->len) == 0;
	return addr_port(a) == addr_port(b) && (addr_same_host(a, b) || addr_not_one_host(a));
}

static int listen_at(struct bridge *b, const struct bridge_opts *o, const struct addr *at,
		     struct err *e)
{
	struct listener *l = &b->listener[b->listener_count];
	char name[ADDR_TEXT], to[ADDR_TEXT];

	if (same_place(at, &o->to)) {
		addr_format(at, name);
		return err_set(e, ERR_USAGE, "%s: the bridge would be its own other end", name);
	}
	l->bridge = b;
	if (listen_bind(&l->bound, at, o->mode, e) != 0)
		return -1;
	b->listener_count++;
	if (ev_watch(b->ev, &l->watch, l->bound.fd, EV_READ, on_client, l, e) != 0)
		return -1;
	addr_format(&l->bound.addr, name);
	addr_format(&o->to, to);
	log_info("bridge", "%s -> %s", name, to);
	if (!addr_is_loopback(&l->bound.addr))
		log_warn("bridge", "%s: other machines may connect, and nobody is asked who he is",
			 name);
	return 0;
}

int bridge_new(struct bridge **out, struct ev *ev, const struct bridge_opts *o, struct err *e)
{
	struct far_opts far = { o->to, o->wait_ms, o->max_waiting };
	struct bridge *b = mem_alloc(sizeof(*b));
	int rc;

	if (!b)
		return err_set(e, ERR_NOMEM, "bridge");
	b->ev = ev;
	b->max = o->max;
	list_init(&b->links);
	rc = lane_shared_new(&b->shared, e) != 0 || far_new(&b->far, ev, &far, e) != 0 ? -1 : 0;
	for (size_t i = 0; rc == 0 && i < o->listen_count; i++)
		rc = listen_at(b, o, &o->listen[i], e);
	if (rc != 0) {
		bridge_free(b);
		return -1;
	}
	*out = b;
	return 0;
}

void bridge_free(struct bridge *b)
{
	if (!b)
		return;
	ev_disarm(b->ev, &b->drain);
	stop_listening(b);
	LIST_EACH (it, &b->links)
		link_free(CONTAINER_OF(it, struct link, node), true);
	far_free(b->far);
	lane_shared_free(b->shared);
	mem_free(b);
}

const struct addr *bridge_address(const struct bridge *b, size_t i)
{
	return &b->listener[i].bound.addr;
}
