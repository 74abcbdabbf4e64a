#include "cmd/localaws/target.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/world.h"
#include "net/dialer.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "stream/stream.h"

enum { DIAL_LIMIT_MS = 130000 }; /* the agent has none of its own: Linux gives up then */

/* A look-up by the system (`--resolve-system`) or an answer on its way. It owns
 * what its thread touches, and outlives a session that ends meanwhile. */
struct target_lookup {
	struct target *of; /* NULL: nobody waits any more */
	target_resolved_fn *done;
	void *arg;
	struct loop_post post;
	struct loop_work *work;
	char host[TARGET_HOST], port[8];
	struct addr addr[TARGET_ADDRS];
	size_t count;
	struct err why;
};

struct target_dial {
	struct target *of;
	target_dialed_fn *done;
	void *arg;
	size_t next;
	struct net_dial *dial;
	struct loop_post post;
	struct err why;
};

void target_init(struct target *t, struct world *w, const char *account, const char *host,
		 uint16_t port)
{
	*t = (struct target){ .w = w, .port = port };
	(void)str_fmt(t->host, sizeof(t->host), "%s", host);
	(void)str_fmt(t->account, sizeof(t->account), "%s", account);
}

/* --- resolution --- */

static void check_denied(struct target *t, struct err *why)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < t->count; i++)
		if (names_denied(&t->addr[i])) {
			addr_format_host(&t->addr[i], text);
			(void)err_set(why, ERR_DENIED, "Forwarding to IP address %s is forbidden.",
				      text);
			return;
		}
}

static void answer(void *arg)
{
	struct target_lookup *l = arg;
	struct target *t = l->of;

	if (t) {
		t->lookup = NULL;
		memcpy(t->addr, l->addr, sizeof(t->addr));
		t->count = l->count;
		if (t->count)
			check_denied(t, &l->why);
		else
			(void)err_set(&l->why, ERR_RESOLVE, "lookup %s: no such host", t->host);
		l->done(l->arg, l->why.code == ERR_NONE ? NULL : &l->why);
	}
	mem_free(l);
}

static void ask_system(void *arg)
{
	struct target_lookup *l = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;

	if (getaddrinfo(l->host, l->port, &hints, &all) != 0)
		return;
	for (struct addrinfo *a = all; a && l->count < TARGET_ADDRS; a = a->ai_next) {
		struct addr *to = &l->addr[l->count++];

		memcpy(&to->ss, a->ai_addr, a->ai_addrlen);
		to->len = a->ai_addrlen;
	}
	freeaddrinfo(all);
}

static void system_answered(void *arg, bool cancelled)
{
	(void)cancelled;
	answer(arg);
}

/* The table, then what needs no table: localhost and literals. */
static bool find(const struct target *t, struct addr *out)
{
	if (names_find(&t->w->opts->names, t->account, t->host, t->port, out))
		return true;
	return addr_from_literal(str_eq_nocase(t->host, "localhost") ? "127.0.0.1" : t->host,
				 t->port, out);
}

int target_resolve(struct target *t, target_resolved_fn *done, void *arg, struct err *e)
{
	struct target_lookup *l = mem_alloc(sizeof(*l));

	if (!l)
		return err_set(e, ERR_NOMEM, "look-up");
	l->of = t;
	l->done = done;
	l->arg = arg;
	l->count = find(t, &l->addr[0]) ? 1 : 0;
	if (l->count || !t->w->opts->resolve_system) {
		loop_post(t->w->loop, &l->post, answer, l);
	} else {
		(void)str_fmt(l->host, sizeof(l->host), "%s", t->host);
		(void)str_fmt(l->port, sizeof(l->port), "%u", (unsigned)t->port);
		l->work = work_start(t->w->loop, ask_system, system_answered, l, e);
		if (!l->work) {
			mem_free(l);
			return -1;
		}
	}
	t->lookup = l;
	return 0;
}

void target_free(struct target *t)
{
	struct target_lookup *l = t->lookup;

	if (!l)
		return;
	t->lookup = NULL;
	l->of = NULL;
	if (l->work)
		return; /* freed when its thread is done */
	loop_unpost(&l->post);
	mem_free(l);
}

/* --- dialling --- */

static void next_address(struct target_dial *d);

static void tell(struct target_dial *d, struct stream *s)
{
	struct world *w = d->of->w;
	target_dialed_fn *done = d->done;
	void *arg = d->arg;
	struct err why = d->why;

	if (!s)
		w->stats.dials_failed++;
	mem_free(d);
	done(arg, s, s ? NULL : &why);
}

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct target_dial *d = arg;
	struct stream *s;

	(void)to;
	d->dial = NULL;
	if (fd < 0) {
		d->why = *why;
		next_address(d);
		return;
	}
	s = tcp_stream_new(d->of->w->loop, fd, &d->why);
	tell(d, s);
}

static void on_failed(void *arg)
{
	tell(arg, NULL);
}

static void fail_later(struct target_dial *d)
{
	loop_post(d->of->w->loop, &d->post, on_failed, d);
}

static bool allowed(const struct world *w, const struct addr *a, struct err *why)
{
	char text[ADDR_TEXT];

	if (w->opts->allow_dial || addr_is_loopback(a))
		return true;
	addr_format(a, text);
	log_warn("agent", "%s is not a loopback address and is not dialled (--allow-dial)", text);
	(void)err_set(why, ERR_DENIED, "%s is not a loopback address", text);
	return false;
}

static void next_address(struct target_dial *d)
{
	struct net_dial_opts opts = { .limit_ms = DIAL_LIMIT_MS };
	struct target *t = d->of;

	while (d->next < t->count) {
		const struct addr *a = &t->addr[d->next++];

		if (!allowed(t->w, a, &d->why))
			continue;
		d->dial = net_dial_addr(t->w->loop, a, &opts, on_dialed, d, &d->why);
		if (d->dial)
			return;
	}
	fail_later(d);
}

struct target_dial *target_dial(struct target *t, target_dialed_fn *done, void *arg, struct err *e)
{
	struct target_dial *d = mem_alloc(sizeof(*d));

	if (!d) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	d->of = t;
	d->done = done;
	d->arg = arg;
	t->w->stats.dials++;
	if (fault_take(&t->w->faults, FAULT_REFUSE_TARGET)) {
		(void)err_set(&d->why, ERR_REFUSED, "refused by a fault");
		fail_later(d);
	} else {
		if (!t->count)
			(void)err_set(&d->why, ERR_RESOLVE, "lookup %s: no such host", t->host);
		next_address(d);
	}
	return d;
}

void target_dial_cancel(struct target_dial *d)
{
	if (!d)
		return;
	if (d->dial)
		net_dial_cancel(d->dial);
	loop_unpost(&d->post);
	mem_free(d);
}
