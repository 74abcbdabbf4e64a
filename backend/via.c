/*
 *   literal:         allow? -> egress_dial
 *   name, judged:    net_resolve -> allow? -> egress_dial(address) -> the next address ...
 *   name:            egress_dial(name)
 */
#include "backend/via.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/egress.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/tcp.h"

enum { LIMIT_MS = 30000, TRIES = 4 };

struct via {
	struct via_opts opts;
	char *host;
	uint16_t port;
	bool (*allow)(void *arg, const struct addr *, struct err *);
	void *allow_arg;
	via_done_fn *done;
	void *arg;
	struct loop_timer limit;
	struct loop_post post;
	struct net_resolve *resolve;
	struct egress_dial *dial;
	struct addr addr[TRIES]; /* allowed, and not tried yet */
	size_t count, next;
	struct err why;
};

static struct egress_target target_of(const char *host, uint16_t port)
{
	/* tls: the proxy that counts is the only one */
	return (struct egress_target){ .tls = true, .host = host, .port = port };
}

bool via_proxy(struct egress *g, const struct dest *d)
{
	const struct egress_target t = target_of(d->host, d->port);

	return g && egress_proxy_for(g, &t);
}

static void via_free(struct via *v)
{
	timer_disarm(v->opts.loop, &v->limit);
	loop_unpost(&v->post);
	if (v->resolve)
		net_resolve_cancel(v->resolve);
	egress_cancel(v->dial);
	mem_free(v->host);
	mem_free(v);
}

void via_cancel(struct via *v)
{
	via_free(v);
}

static void conclude(struct via *v, struct stream *s, const char *address, const struct err *why)
{
	via_done_fn *done = v->done;
	void *arg = v->arg;
	struct err copy = why ? *why : (struct err){ 0 };

	via_free(v);
	done(arg, s, address, s ? NULL : &copy);
}

static void fail_later(void *arg)
{
	struct via *v = arg;

	conclude(v, NULL, "", &v->why);
}

/* done() never comes from inside via_dial(). */
static void fail(struct via *v)
{
	loop_post(v->opts.loop, &v->post, fail_later, v);
}

static void too_late(void *arg)
{
	struct via *v = arg;

	(void)err_set(&v->why, ERR_TIMEOUT, "no connection through the upstream proxy in time");
	conclude(v, NULL, "", &v->why);
}

static void try_next(struct via *v);

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct via *v = arg;
	char text[ADDR_TEXT] = "";
	struct stream *s;

	v->dial = NULL;
	if (fd < 0) {
		v->why = *why;
		try_next(v);
		return;
	}
	addr_format(to, text);
	s = tcp_stream_new(v->opts.loop, fd, &v->why);
	conclude(v, s, text, &v->why);
}

static int dial(struct via *v, const char *host, struct err *e)
{
	struct egress_target t = target_of(host, v->port);

	t.ca_file = v->opts.ca_file;
	t.limit_ms = v->opts.limit_ms;
	t.for_client = true;
	v->dial = egress_dial(v->opts.loop, v->opts.egress, &t, on_dialed, v, e);
	return v->dial ? 0 : -1;
}

/* What the proxy could not reach may be reached at another address of the name. */
static void try_next(struct via *v)
{
	char host[ADDR_TEXT];

	while (v->next < v->count) {
		addr_format_host(&v->addr[v->next++], host);
		if (dial(v, host, &v->why) == 0)
			return;
	}
	fail(v);
}

static void on_resolved(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct via *v = arg;

	v->resolve = NULL;
	if (!list) {
		v->why = *why;
		(void)err_wrap(&v->why, "this listener's names are resolved here before the "
					"upstream proxy gets them");
		fail(v);
		return;
	}
	for (size_t i = 0; i < n && v->count < TRIES; i++)
		if (!v->allow || v->allow(v->allow_arg, &list[i], &v->why))
			v->addr[v->count++] = list[i];
	try_next(v);
}

static int start(struct via *v, bool judged, struct err *e)
{
	struct addr literal;

	if (addr_from_literal(v->host, v->port, &literal)) {
		if (v->allow && !v->allow(v->allow_arg, &literal, e))
			return -1;
		return dial(v, v->host, e);
	}
	if (!judged)
		return dial(v, v->host, e);
	v->resolve = net_resolve(v->opts.loop, v->host, v->port, on_resolved, v, e);
	return v->resolve ? 0 : -1;
}

struct via *via_dial(const struct via_opts *o, const struct dest *d, via_done_fn *done, void *arg,
		     struct err *e)
{
	struct via *v = mem_alloc(sizeof(*v));

	if (!v) {
		(void)err_set(e, ERR_NOMEM, "direct: dial");
		return NULL;
	}
	v->opts = *o;
	v->port = d->port;
	v->allow = d->allow;
	v->allow_arg = d->allow_arg;
	v->done = done;
	v->arg = arg;
	v->host = mem_strdup(d->host);
	if (!v->host)
		(void)err_set(e, ERR_NOMEM, "direct: dial");
	else if (start(v, d->judged, e) == 0) {
		timer_arm(o->loop, &v->limit, o->limit_ms ? o->limit_ms : LIMIT_MS, too_late, v);
		return v;
	}
	via_free(v);
	return NULL;
}
