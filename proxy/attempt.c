/*
 * The order here is the promise (design section 4): first the host in its
 * canonical form, then the rules, then a backend. Nothing leaves this machine,
 * not even a DNS query, before attempt_dial().
 */
#include <string.h>

#include "backend/backend.h"
#include "net/addr.h"
#include "proxy/attempt.h"
#include "proxy/audit.h"
#include "proxy/proxy_impl.h"

static void note_route(struct attempt *a, enum audit_mark mark)
{
	char text[80];

	route_format(&a->route, text);
	if (mark != AUDIT_PLAIN && !a->rec->first_route) {
		a->rec->first_route = a->rec->route;
		a->rec->route = NULL;
	}
	audit_text(&a->rec->route, text);
	a->rec->mark = mark;
}

void attempt_show_host(const char *host, size_t n, char text[static HOST_MAX])
{
	size_t i;

	for (i = 0; i < n && i < HOST_MAX - 1; i++)
		text[i] = (char)(host[i] > 0x20 && host[i] < 0x7f ? host[i] : '?');
	text[i] = 0;
}

void attempt_blocked(const struct decision *d, struct err *e)
{
	const char *sep = d->reason ? ": " : "", *reason = d->reason ? d->reason : "";

	if (d->by == ROUTE_BY_DEFAULT)
		err_set(e, ERR_DENIED, "blocked by the default (%s)%s%s", d->origin, sep, reason);
	else
		err_set(e, ERR_DENIED, "blocked by rule \"%s\" (%s)%s%s", d->pattern, d->origin,
			sep, reason);
}

/* Lazy start: while `proxy` initialises for the first time, what came by default may go another
 * way. */
static void bypass(struct attempt *a)
{
	const struct proxy_opts *o = &a->proxy->opts;
	struct backend *b = o->backend(o->arg, &a->route, NULL);

	if (!b)
		return; /* attempt_dial() will say so */
	backend_wake(b);
	if (!backend_first_init(b))
		return;
	switch (policy_while_initializing(&a->decision, &o->policy)) {
	case INIT_WAIT: return;
	case INIT_DIRECT: a->route = (struct route){ .kind = ROUTE_DIRECT }; break;
	case INIT_VM_DIRECT: a->route = (struct route){ .kind = ROUTE_VM_DIRECT }; break;
	}
	note_route(a, AUDIT_BYPASS);
}

/* Where the far side resolves, the host guard can judge only what the client named: its loopback
 * and metadata would be the instance's own. Before anything is woken or dialled. What the VM
 * resolves comes back and is judged besides (vm/conn.h). */
static int guard_name(struct attempt *a, struct err *e)
{
	const struct proxy_opts *o = &a->proxy->opts;

	if (a->route.kind == ROUTE_DIRECT || a->decision.allow_host || !o->allow_name ||
	    o->allow_name(o->allow_arg, a->host.text, e))
		return 0;
	return -1;
}

enum attempt_step attempt_decide(struct attempt *a, struct proxy *p, struct audit_record *rec,
				 const char *host, size_t n, uint16_t port, struct err *e)
{
	struct decision *d = &a->decision;
	enum attempt_step step = ATTEMPT_HERE;
	char text[HOST_MAX];

	*a = (struct attempt){ .proxy = p, .rec = rec, .port = port };
	rec->port = port;
	rec->action = AUDIT_REFUSE;
	if (host_normalize(host, n, &a->host, e)) {
		attempt_show_host(host, n, text);
		audit_text(&rec->host, text);
		return ATTEMPT_REFUSED;
	}
	audit_text(&rec->host, a->host.text);
	if (!port) {
		err_set(e, ERR_PROTO, "%s: port 0 is not a destination", a->host.text);
		return ATTEMPT_REFUSED;
	}
	router_decide(p->opts.router(p->opts.arg), a->host.text, port, d);
	audit_text(&rec->rule, d->origin);
	a->route = d->route;
	note_route(a, AUDIT_PLAIN);
	rec->action = AUDIT_ALLOW;
	if (d->route.kind == ROUTE_BLOCK) {
		rec->action = AUDIT_BLOCK;
		attempt_blocked(d, e);
		step = ATTEMPT_REFUSED;
	} else if (d->route.kind != ROUTE_DIRECT && p->opts.hand_over) {
		step = ATTEMPT_ELSEWHERE;
	}
	d->origin = d->pattern = d->reason = NULL;
	if (step == ATTEMPT_HERE && guard_name(a, e)) {
		rec->action = AUDIT_REFUSE;
		return ATTEMPT_REFUSED;
	}
	if (d->route.kind == ROUTE_PROXY && step == ATTEMPT_HERE)
		bypass(a);
	return step;
}

static void dialed(void *arg, const struct dialed *d, const struct err *why);

typedef bool guard_fn(void *arg, const struct addr *, struct err *);

static guard_fn *guard_of(const struct attempt *a)
{
	const struct proxy_opts *o = &a->proxy->opts;

	if (a->route.kind == ROUTE_VM_DIRECT && !o->allow)
		return a->decision.allow_host ? o->allow_vm_opened : o->allow_vm;
	return a->decision.allow_host ? o->allow_opened : o->allow;
}

/* The host guard, for one address of the host. */
static bool allow(void *arg, const struct addr *to, struct err *e)
{
	struct attempt *a = arg;
	bool allowed = guard_of(a)(a->proxy->opts.allow_arg, to, e);

	a->guarded_off = a->guarded_off || !allowed;
	return allowed;
}

static int dial(struct attempt *a, struct err *e)
{
	const struct proxy_opts *o = &a->proxy->opts;
	struct backend *b = o->backend(o->arg, &a->route, e);
	struct dest dest = { .host = a->host.text,
			     .port = a->port,
			     .judged = o->allow != NULL,
			     .host_allowed = a->decision.allow_host };

	if (!b)
		return -1;
	if (guard_of(a)) {
		dest.allow = allow;
		dest.allow_arg = a;
	}
	a->dial = backend_dial(b, &dest, dialed, a, e);
	return a->dial ? 0 : -1;
}

/* After a failure: true when the attempt goes on by another route. *e is the
 * failure to report when it does not. */
static bool falls_back(struct attempt *a, struct err *e)
{
	struct err second = { 0 };

	if (a->route.kind != ROUTE_PROXY || a->rec->mark != AUDIT_PLAIN ||
	    !policy_falls_back(&a->decision, e->code, &a->proxy->opts.policy, &a->route))
		return false;
	if (a->route.kind == ROUTE_BLOCK) {
		note_route(a, AUDIT_FALLBACK);
		return false;
	}
	note_route(a, AUDIT_FALLBACK);
	if (!dial(a, &second))
		return true;
	*e = second;
	return false;
}

/* The host guard, or the VM's own, which is there on every listener. */
static void note_refusal(struct attempt *a, const struct err *e)
{
	if ((a->guarded_off || a->route.kind == ROUTE_VM_DIRECT) && e->code == ERR_DENIED)
		a->rec->action = AUDIT_REFUSE;
}

static void explain(const struct attempt *a, struct err *e)
{
	char text[80];

	route_format(&a->route, text);
	err_wrap(e, "%s:%u by %s", a->host.text, (unsigned)a->port, text);
}

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct attempt *a = arg;
	struct err e;

	a->dial = NULL;
	if (d) {
		if (d->address[0])
			audit_text(&a->rec->address, d->address);
		if (d->session[0])
			audit_text(&a->rec->session, d->session);
		a->done(a->arg, d->stream, NULL);
		return;
	}
	e = *why;
	if (falls_back(a, &e))
		return;
	note_refusal(a, &e);
	explain(a, &e);
	a->done(a->arg, NULL, &e);
}

int attempt_dial(struct attempt *a, attempted_fn *done, void *arg, struct err *e)
{
	a->done = done;
	a->arg = arg;
	if (!dial(a, e) || falls_back(a, e))
		return 0;
	note_refusal(a, e);
	explain(a, e);
	return -1;
}

void attempt_cancel(struct attempt *a)
{
	if (a->dial)
		backend_cancel(a->dial);
	a->dial = NULL;
}
