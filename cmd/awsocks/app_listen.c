/* Listeners: who is let in, and what serves them. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/rules.h"
#include "config/options.h"
#include "net/host_guard.h"
#include "net/tcp.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"
#include "routing/pattern.h"

enum { RETRY_MS = 1000 };

static bool let_in(const struct app_listener *l, const struct addr *peer)
{
	struct subject who;
	char host[ADDR_TEXT];

	/* A Unix socket's peer has no address: its file's mode says who may. */
	if (!l->allow_count || peer->ss.ss_family == AF_UNIX)
		return true;
	addr_format_host(peer, host);
	subject_init(&who, host, addr_port(peer));
	for (size_t i = 0; i < l->allow_count; i++)
		if (pattern_matches(&l->allow[i], &who))
			return true;
	return false;
}

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct app_listener *l = arg;
	char text[ADDR_TEXT];

	if (!let_in(l, peer)) {
		addr_format(peer, text);
		log_warn("listen", "%s: %s is not in allow-from: refused", l->name, text);
		proxy_turn_away(l->proxy, fd, peer, "not in allow-from");
		return;
	}
	l->app->accepted++;
	proxy_accept(l->proxy, fd, peer);
}

static bool enter(void *arg)
{
	return limits_enter(((struct app_listener *)arg)->limits);
}

static void leave(void *arg)
{
	limits_leave(((struct app_listener *)arg)->limits);
}

/* A place and descriptors are free: any listener may be waiting for them. */
static void on_ended(void *arg)
{
	const struct app *a = ((struct app_listener *)arg)->app;

	LIST_EACH (node, &a->listeners) {
		struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);

		if (l->socket)
			listen_resume(l->socket);
	}
}

static struct backend *backend_of(void *arg, const struct route *route, struct err *e)
{
	struct app_listener *l = arg;

	return app_backend(l->app, route, e);
}

static const struct router *router_of(void *arg)
{
	struct app_listener *l = arg;

	return l->router(l->router_arg);
}

static int take_allow(struct app_listener *l, const struct app_listener_opts *o, struct err *e)
{
	if (!o->allow_from_count)
		return 0;
	l->allow = mem_alloc(o->allow_from_count * sizeof(*l->allow));
	if (!l->allow)
		return err_set(e, ERR_NOMEM, "allow-from");
	for (; l->allow_count < o->allow_from_count; l->allow_count++)
		if (pattern_parse(&l->allow[l->allow_count], o->allow_from[l->allow_count], e) != 0)
			return err_wrap(e, "allow-from");
	return 0;
}

static void listener_free(struct app_listener *l)
{
	for (size_t i = 0; i < l->allow_count; i++)
		pattern_free(&l->allow[i]);
	mem_free(l->allow);
	limits_listener_free(l->limits);
	mem_free(l);
}

static int make_limits(struct app_listener *l, const struct app_listener_opts *o, struct err *e)
{
	struct limits_listener_opts opts = { .name = l->name,
					     .most = o->max_connections,
					     .per_peer = o->max_per_peer };

	return limits_listener_new(&l->limits, l->app->limits, &opts, e);
}

static int make_proxy(struct app *a, struct app_listener *l, bool guarded, struct err *e)
{
	const struct options *o = a->profile[0].options;
	struct proxy_opts p = {
		.loop = a->loop,
		.listener = l->name,
		.router = router_of,
		.backend = backend_of,
		.arg = l,
		.policy = rules_policy(o, guarded),
		.allow = guarded ? host_guard_allow : NULL,
		.allow_arg = a->guard,
		.audit = a->audit,
		.handshake_ms = (unsigned)o->handshake_timeout,
		.still_ms = (unsigned)o->idle_timeout,
		.limits = l->limits,
		.ended = on_ended,
	};

	return proxy_new(&l->proxy, &p, e);
}

/* All of a listener but its socket. */
static struct app_listener *listener_new(struct app *a, const struct app_listener_opts *o,
					 struct err *e)
{
	struct app_listener *l = mem_alloc(sizeof(*l));

	if (!l) {
		(void)err_set(e, ERR_NOMEM, "listener");
		return NULL;
	}
	l->app = a;
	l->router = o->router;
	l->router_arg = o->router_arg;
	l->address = o->address;
	l->mode = o->mode ? (mode_t)o->mode : 0600;
	if (!str_fmt(l->name, sizeof(l->name), "%s", o->name))
		(void)err_set(e, ERR_CONFIG, "listener name too long: %.80s", o->name);
	else if (take_allow(l, o, e) == 0 && make_limits(l, o, e) == 0 &&
		 make_proxy(a, l, o->guarded, e) == 0) {
		list_add_tail(&a->listeners, &l->node);
		return l;
	}
	listener_free(l);
	return NULL;
}

static int open_socket(struct app_listener *l, struct err *e)
{
	static const struct listen_gate gate = { enter, leave };
	char text[ADDR_TEXT];

	l->socket = listen_open_mode(l->app->loop, &l->address, l->mode, on_accept, l, e);
	if (!l->socket)
		return -1;
	listen_set_gate(l->socket, &gate);
	addr_format(listen_addr(l->socket), text);
	log_info("listen", "%s: %s", l->name, text);
	return 0;
}

static void try_again(void *arg)
{
	struct app_listener *l = arg;
	struct err e = { 0 };

	if (open_socket(l, &e) == 0)
		return;
	if (e.sys != l->complained)
		log_warn("listen", "%s: %s; tried again until it works", l->name, e.msg);
	l->complained = e.sys;
	timer_arm(l->app->loop, &l->retry, RETRY_MS, try_again, l);
}

int app_listen(struct app *a, const struct app_listener_opts *o, struct err *e)
{
	struct app_listener *l = listener_new(a, o, e);

	if (!l)
		return -1; /* app_stop() ends what is there */
	if (open_socket(l, e) == 0)
		return 0;
	if (e->sys != EADDRNOTAVAIL)
		return -1;
	log_warn("listen", "%s: %s: waiting until this host has that address", l->name, e->msg);
	l->complained = EADDRNOTAVAIL;
	timer_arm(a->loop, &l->retry, RETRY_MS, try_again, l);
	return 0;
}

int app_serve_pair(struct app *a, const struct app_listener_opts *o, int *fd, struct err *e)
{
	struct app_listener *l = listener_new(a, o, e);
	struct addr peer = { 0 };
	int pair[2];

	if (!l || tcp_make_pair(pair, e) != 0)
		return -1;
	(void)limits_enter(l->limits); /* the only client there is */
	peer.ss.ss_family = AF_UNIX;
	*fd = pair[0];
	proxy_accept(l->proxy, pair[1], &peer);
	return 0;
}

static void on_proxy_closed(void *arg)
{
	struct app_listener *l = arg;
	struct app *a = l->app;

	list_del(&l->node);
	listener_free(l);
	app_closed_one(a);
}

size_t app_listeners_close(struct app *a, unsigned grace_ms)
{
	size_t n = 0;

	LIST_EACH (node, &a->listeners) {
		struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);

		timer_disarm(a->loop, &l->retry);
		if (l->socket)
			listen_close(l->socket);
		l->socket = NULL;
		proxy_close(l->proxy, grace_ms, on_proxy_closed, l);
		n++;
	}
	return n;
}
