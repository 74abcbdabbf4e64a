/*
 * Listeners: who is let in, how many, and their sockets. All of it is worker 0's
 * work; a seat for each worker is made with the listener, a socket for each when
 * the address is there and the system spreads connections over several.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "net/listen.h"
#include "net/tcp.h"
#include "proxy/auth.h"
#include "proxy/limits.h"
#include "proxy/peer.h"
#include "proxy/proxy.h"
#include "routing/pattern.h"

enum { RETRY_MS = 1000 };

/* A Unix socket's peer has no address, but the kernel knows its user. */
static bool lets_in_uid(const struct app_listener *l, int fd)
{
	long uid, pid;

	if (!l->allow_uid_count)
		return true;
	if (!peer_id(fd, &uid, &pid))
		return false;
	for (size_t i = 0; i < l->allow_uid_count; i++)
		if (l->allow_uid[i] == uid)
			return true;
	return false;
}

static bool lets_in_address(const struct app_listener *l, const struct addr *peer)
{
	struct subject who;
	char host[ADDR_TEXT];

	if (!l->allow_count)
		return true;
	addr_format_host(peer, host);
	subject_init(&who, host, addr_port(peer));
	for (size_t i = 0; i < l->allow_count; i++)
		if (pattern_matches(&l->allow[i], &who))
			return true;
	return false;
}

const char *listener_turns_away(const struct app_listener *l, int fd, const struct addr *peer)
{
	if (peer->ss.ss_family == AF_UNIX)
		return lets_in_uid(l, fd) ? NULL : "not in allow-uid";
	return lets_in_address(l, peer) ? NULL : "not in allow-from";
}

static int take_allow(struct app_listener *l, const struct app_listener_opts *o, struct err *e)
{
	if (!o->allow_from_count)
		return 0;
	l->allow = mem_alloc(o->allow_from_count * sizeof(*l->allow));
	l->allow_text = mem_alloc(o->allow_from_count * sizeof(*l->allow_text));
	if (!l->allow || !l->allow_text)
		return err_set(e, ERR_NOMEM, "allow-from");
	for (; l->allow_count < o->allow_from_count; l->allow_count++) {
		size_t i = l->allow_count;

		if (pattern_parse(&l->allow[i], o->allow_from[i], e) != 0)
			return err_wrap(e, "allow-from");
		l->allow_text[i] = mem_strdup(o->allow_from[i]); /* NULL: not told */
	}
	return 0;
}

static int take_uids(struct app_listener *l, const struct app_listener_opts *o, struct err *e)
{
	if (!o->allow_uid_count)
		return 0;
	l->allow_uid = mem_alloc(o->allow_uid_count * sizeof(*l->allow_uid));
	if (!l->allow_uid)
		return err_set(e, ERR_NOMEM, "allow-uid");
	memcpy(l->allow_uid, o->allow_uid, o->allow_uid_count * sizeof(*l->allow_uid));
	l->allow_uid_count = o->allow_uid_count;
	return 0;
}

static void listener_free(struct app_listener *l)
{
	for (size_t i = 0; i < l->allow_count; i++) {
		pattern_free(&l->allow[i]);
		mem_free(l->allow_text[i]);
	}
	mem_free(l->allow_text);
	mem_free(l->allow);
	mem_free(l->allow_uid);
	auth_users_unref(l->users);
	mem_free(l->seat);
	limits_listener_free(l->limits);
	mem_free(l);
}

static int make_seats(struct app_listener *l, struct err *e)
{
	struct app *a = l->app;

	l->seat = mem_alloc(a->workers * sizeof(*l->seat));
	if (!l->seat)
		return err_set(e, ERR_NOMEM, "listener");
	for (size_t i = 0; i < a->workers; i++)
		if (seat_open(&l->seat[i], a->worker[i], l, e) != 0)
			return -1;
	return 0;
}

static int make_limits(struct app_listener *l, const struct app_listener_opts *o, struct err *e)
{
	struct limits_listener_opts opts = { .name = l->name,
					     .most = o->max_connections,
					     .per_peer = o->max_per_peer };

	return limits_listener_new(&l->limits, l->app->limits, &opts, e);
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
	l->rules = o->rules;
	l->address = o->address;
	l->mode = o->mode ? (mode_t)o->mode : 0600;
	l->guarded = o->guarded;
	l->check_sni = o->check_sni;
	l->users = auth_users_ref(o->users);
	if (!str_fmt(l->name, sizeof(l->name), "%s", o->name))
		(void)err_set(e, ERR_CONFIG, "listener name too long: %.80s", o->name);
	else if (take_allow(l, o, e) == 0 && take_uids(l, o, e) == 0 && make_limits(l, o, e) == 0) {
		/* From here on app_stop() ends it: there may be seats. */
		list_add_tail(&a->listeners, &l->node);
		return make_seats(l, e) == 0 ? l : NULL;
	}
	listener_free(l);
	return NULL;
}

/* As many sockets as there are workers, or one; how many. 0: *e tells, and there is none. */
static size_t bind_all(const struct app_listener *l, struct listen_bound *b, struct err *e)
{
	size_t n = 1;

	if (listen_bind(&b[0], &l->address, l->mode, e) != 0)
		return 0;
	while (n < l->app->workers && listen_bind_more(&b[0], &b[n], e) == 0)
		n++;
	if (n == l->app->workers || (n == 1 && e->code == ERR_UNSUPPORTED))
		return n;
	while (n)
		listen_drop(&b[--n]);
	return 0;
}

/* Each seat gets its socket. A thread that runs already gets it by mail, and when that fails the
 * kernel spreads connections over the others. */
static int serve_all(struct app_listener *l, struct listen_bound *b, size_t n, struct err *e)
{
	struct err lost;
	size_t i;

	for (i = 0; i < n; i++) {
		struct seat *s = &l->seat[i];

		if (!s->worker->running) {
			if (seat_serve(s, &b[i], e) != 0)
				break;
		} else if (seat_send_socket(s, &b[i], &lost) != 0) {
			log_error("listen", "%s: worker %zu: %s", l->name, i, lost.msg);
		}
	}
	if (i == n)
		return 0;
	while (++i < n)
		listen_drop(&b[i]);
	return -1;
}

static int serve_bound(struct app_listener *l, struct listen_bound *bound, size_t n, struct err *e)
{
	char text[ADDR_TEXT];

	l->handing = n < l->app->workers;
	addr_format(&bound[0].addr, text);
	if (serve_all(l, bound, n, e) != 0)
		return -1;
	log_info("listen", "%s: %s", l->name, text);
	return 0;
}

static int open_socket(struct app_listener *l, struct err *e)
{
	struct listen_bound bound[WORKERS_MAX];
	size_t n = bind_all(l, bound, e);

	return n ? serve_bound(l, bound, n, e) : -1;
}

/* One socket, that we did not make: the first worker accepts for all. */
static int take_given(struct app_listener *l, struct listen_bound *given, struct err *e)
{
	struct listen_bound bound = *given;

	given->fd = -1;
	l->given = true;
	return serve_bound(l, &bound, 1, e);
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
	if (o->given)
		return take_given(l, o->given, e);
	if (open_socket(l, e) == 0)
		return 0;
	if (e->sys != EADDRNOTAVAIL && e->sys != EWOULDBLOCK)
		return -1;
	if (e->sys == EADDRNOTAVAIL)
		log_warn("listen", "%s: %s: waiting until this host has that address", l->name,
			 e->msg);
	l->complained = e->sys;
	timer_arm(a->loop, &l->retry, RETRY_MS, try_again, l);
	return 0;
}

static int renew_socket(struct app_listener *l, struct err *e)
{
	struct listen_socket **socket = &l->seat[0].socket;
	struct err why = { 0 }; /* also set when it works: that there is one socket for all */

	if (!*socket || !listen_is_gone(*socket))
		return 0;
	log_warn("listen", "%s: its socket was removed: it is made again", l->name);
	listen_close(*socket);
	*socket = NULL;
	if (open_socket(l, &why) == 0)
		return 0;
	*e = why;
	l->complained = why.sys;
	timer_arm(l->app->loop, &l->retry, RETRY_MS, try_again, l);
	return -1;
}

int app_renew_sockets(struct app *a, struct err *e)
{
	struct err other;
	int result = 0;

	LIST_EACH (node, &a->listeners) {
		struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);

		if (renew_socket(l, result == 0 ? e : &other) != 0)
			result = -1;
	}
	return result;
}

static int set_users(struct app_listener *l, struct auth_users *users, struct err *e)
{
	if (!l->users)
		return 0;
	if (users && users != l->users) {
		auth_users_unref(l->users);
		l->users = auth_users_ref(users);
	}
	for (size_t i = 0; i < l->app->workers; i++)
		if (seat_send_users(&l->seat[i], l->users, e) != 0)
			return -1;
	return 0;
}

int app_set_users(struct app *a, struct auth_users *const *users, size_t n, struct err *e)
{
	size_t i = 0;

	LIST_EACH (node, &a->listeners) {
		struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);

		if (set_users(l, i < n ? users[i] : NULL, e) != 0)
			return -1;
		i++;
	}
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
	proxy_accept(l->seat[0].proxy, pair[1], &peer);
	return 0;
}

void app_listeners_close(struct app *a)
{
	LIST_EACH (node, &a->listeners)
		timer_disarm(a->loop, &CONTAINER_OF(node, struct app_listener, node)->retry);
	worker_close_sockets(a->worker[0]);
}

void app_listeners_free(struct app *a)
{
	LIST_EACH (node, &a->listeners)
		listener_free(CONTAINER_OF(node, struct app_listener, node));
	list_init(&a->listeners);
}
