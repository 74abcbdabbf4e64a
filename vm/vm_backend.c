/*
 * Streams out of the VM's NAT.
 *
 *     dial -> machine runs? --no--> machine_wait() -> vm_conn_dial() with the rest of the limit
 *
 * A dial whose link went away under it (the VM died) waits for the machine once more: nothing of
 * the client's had been sent.
 */
#include "vm/vm_backend.h"

#include <cjson/cJSON.h>

#include "backend/backend_impl.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "vm/conn.h"
#include "vm/guard.h"
#include "vm/machine.h"

enum { LIMIT_MS = 30000, START_MS = 180000, FIRST_INIT_MS = 60000, LEAST_MS = 100 };

struct vm_backend {
	struct backend backend;
	struct loop *loop;
	struct machine *machine;
	unsigned limit_ms;
	enum vm_user user;
	struct list dials, starts;
	struct loop_post post;
	uint64_t asked_ms; /* when it was first wanted; 0: never */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct vm_backend_dial {
	struct dial dial;
	struct list node;
	struct vm_backend *of;
	struct dest to; /* its host is ours */
	uint64_t until_ms;
	struct machine_wait *wait;
	struct vm_conn *conn; /* that it is on; only compared */
	struct vm_dial *vm;
	struct loop_post post;
	bool again; /* it has lost a link already */
	struct err why;
};

struct start {
	struct list node;
	struct vm_backend *of;
	struct machine_wait *wait;
	void (*started)(void *arg, const struct err *);
	void *arg;
	struct err why;
};

static struct vm_backend *vm_of(const struct backend *b)
{
	return CONTAINER_OF(b, struct vm_backend, backend);
}

/* ---- dials ---- */

static void dial_free(struct vm_backend_dial *d)
{
	if (d->wait)
		machine_wait_cancel(d->wait);
	if (d->vm)
		vm_dial_cancel(d->vm);
	loop_unpost(&d->post);
	list_del(&d->node);
	mem_free((char *)d->to.host);
	mem_free(d);
}

static void dial_end(struct vm_backend_dial *d, const struct dialed *got, const struct err *why)
{
	dialed_fn *done = d->dial.done;
	void *arg = d->dial.arg;
	struct err copy = why ? *why : (struct err){ 0 };

	dial_free(d);
	done(arg, got, got ? NULL : &copy);
}

static unsigned time_left(const struct vm_backend_dial *d)
{
	uint64_t now = loop_now_ms(d->of->loop);

	return now + LEAST_MS < d->until_ms ? (unsigned)(d->until_ms - now) : LEAST_MS;
}

static int dial_next(struct vm_backend_dial *d, struct err *e);

static bool link_has_gone(const struct vm_backend_dial *d)
{
	return machine_conn(d->of->machine) != d->conn;
}

/* On the turn after the failure: by now the machine knows, too, when its link is lost. */
static void after_failure(void *arg)
{
	struct vm_backend_dial *d = arg;
	struct err why = d->why;

	if (d->again || !link_has_gone(d) || loop_now_ms(d->of->loop) >= d->until_ms) {
		dial_end(d, NULL, &why);
		return;
	}
	d->again = true;
	if (dial_next(d, &why) != 0)
		dial_end(d, NULL, &why);
}

/* Causes that a lost link has; those that the guest gives are answers. */
static bool may_be_the_link(enum err_code code)
{
	return code == ERR_CLOSED || code == ERR_PROTO || code == ERR_RESET || code == ERR_IO ||
	       code == ERR_TIMEOUT;
}

static void look_again(struct vm_backend_dial *d, const struct err *why)
{
	d->why = *why;
	loop_post(d->of->loop, &d->post, after_failure, d);
}

static void on_dialed(void *arg, const struct dialed *got, const struct err *why)
{
	struct vm_backend_dial *d = arg;

	d->vm = NULL;
	if (got || !may_be_the_link(why->code))
		dial_end(d, got, why);
	else
		look_again(d, why);
}

static int dial_now(struct vm_backend_dial *d, struct err *e)
{
	d->conn = machine_conn(d->of->machine);
	if (!d->conn)
		return err_set(e, ERR_CLOSED, "the VM has gone again");
	d->vm = vm_conn_dial(d->conn, d->of->user, &d->to, time_left(d), on_dialed, d, e);
	if (d->vm)
		return 0;
	if (!may_be_the_link(e->code))
		return -1;
	look_again(d, e); /* it is lost, and the machine has not heard of it yet */
	return 0;
}

static void on_waited(void *arg, const struct err *why)
{
	struct vm_backend_dial *d = arg;
	struct err e;

	d->wait = NULL;
	if (why)
		dial_end(d, NULL, why);
	else if (dial_now(d, &e) != 0)
		dial_end(d, NULL, &e);
}

static int dial_next(struct vm_backend_dial *d, struct err *e)
{
	struct machine *m = d->of->machine;

	if (machine_conn(m))
		return dial_now(d, e);
	d->wait = machine_wait(m, time_left(d), on_waited, d, e);
	return d->wait ? 0 : -1;
}

/* What no running VM would make right need not start one. */
static int judge_literal(const struct dest *to, struct err *e)
{
	struct addr addr;

	if (!addr_from_literal(to->host, to->port, &addr))
		return 0;
	if (!vm_guard_allow(NULL, &addr, to->host_allowed, e) ||
	    (to->allow && !to->allow(to->allow_arg, &addr, e)))
		return -1;
	return 0;
}

static void note_asked(struct vm_backend *x)
{
	if (!x->asked_ms)
		x->asked_ms = loop_now_ms(x->loop);
}

static struct vm_backend_dial *dial_new(struct vm_backend *x, const struct dest *to, struct err *e)
{
	struct vm_backend_dial *d = mem_alloc(sizeof(*d));

	if (!d) {
		(void)err_set(e, ERR_NOMEM, "vm-direct: dial");
		return NULL;
	}
	d->of = x;
	d->to = *to;
	d->to.host = mem_strdup(to->host);
	d->until_ms = loop_now_ms(x->loop) + x->limit_ms;
	list_add_tail(&x->dials, &d->node);
	if (d->to.host)
		return d;
	(void)err_set(e, ERR_NOMEM, "vm-direct: dial");
	dial_free(d);
	return NULL;
}

static struct dial *vm_backend_dial(struct backend *b, const struct dest *to, dialed_fn *done,
				    void *arg, struct err *e)
{
	struct vm_backend *x = vm_of(b);
	struct vm_backend_dial *d;

	if (x->closing) {
		(void)err_set(e, ERR_CLOSED, "vm-direct: closing");
		return NULL;
	}
	if (judge_literal(to, e) != 0)
		return NULL;
	note_asked(x);
	d = dial_new(x, to, e);
	if (!d)
		return NULL;
	d->dial = (struct dial){ .backend = b, .done = done, .arg = arg };
	if (dial_next(d, e) == 0)
		return &d->dial;
	dial_free(d);
	return NULL;
}

static void vm_backend_cancel(struct dial *dial)
{
	dial_free(CONTAINER_OF(dial, struct vm_backend_dial, dial));
}

/* ---- state ---- */

static enum backend_state vm_backend_state(const struct backend *b)
{
	static const enum backend_state states[MACHINE_STATE_COUNT] = {
		[MACHINE_STOPPED] = BACKEND_IDLE,   [MACHINE_STARTING] = BACKEND_INITIALIZING,
		[MACHINE_RUNNING] = BACKEND_ACTIVE, [MACHINE_STOPPING] = BACKEND_IDLE,
		[MACHINE_FAILED] = BACKEND_FAILED,
	};
	enum machine_state s = machine_state(vm_of(b)->machine);

	return s < MACHINE_STATE_COUNT ? states[s] : BACKEND_FAILED;
}

static bool vm_backend_first_init(const struct backend *b)
{
	const struct vm_backend *x = vm_of(b);

	return machine_first_start(x->machine) &&
	       (!x->asked_ms || loop_now_ms(x->loop) - x->asked_ms < FIRST_INIT_MS);
}

static void vm_backend_wake(struct backend *b)
{
	struct vm_backend *x = vm_of(b);

	if (x->closing)
		return;
	note_asked(x);
	machine_start(x->machine, false);
}

static void vm_backend_describe(struct backend *b, struct cJSON *into)
{
	struct vm_backend *x = vm_of(b);
	const struct err *why = machine_why(x->machine);
	uint64_t next = machine_next_try_ms(x->machine), now = loop_now_ms(x->loop);

	if (why)
		cJSON_AddStringToObject(into, "reason", why->msg);
	if (next)
		cJSON_AddNumberToObject(into, "next_try_ms", next > now ? (double)(next - now) : 0);
}

/* ---- start and close ---- */

static void start_end(struct start *s, const struct err *why)
{
	void (*started)(void *, const struct err *) = s->started;
	void *arg = s->arg;

	if (s->wait)
		machine_wait_cancel(s->wait);
	list_del(&s->node);
	mem_free(s);
	started(arg, why);
}

static void on_start_waited(void *arg, const struct err *why)
{
	struct start *s = arg;

	s->wait = NULL;
	start_end(s, why);
}

/* Those whose wait could not even begin; then, when closing, everybody. */
static void serve(void *arg)
{
	struct vm_backend *x = arg;
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "vm-direct: closing");
	LIST_EACH (it, &x->starts) {
		struct start *s = CONTAINER_OF(it, struct start, node);
		struct err own = s->why;

		if (!s->wait)
			start_end(s, &own);
	}
	if (!x->closing)
		return;
	while (!list_empty(&x->starts))
		start_end(CONTAINER_OF(x->starts.next, struct start, node), &why);
	while (!list_empty(&x->dials))
		dial_end(CONTAINER_OF(x->dials.next, struct vm_backend_dial, node), NULL, &why);
	x->closed(x->closed_arg);
	loop_unpost(&x->post);
	mem_free(x);
}

static void vm_backend_start(struct backend *b, void (*started)(void *arg, const struct err *),
			     void *arg)
{
	struct vm_backend *x = vm_of(b);
	struct start *s = mem_alloc(sizeof(*s));
	struct err e;

	note_asked(x);
	if (!s) { /* there is nothing to tell it later with */
		(void)err_set(&e, ERR_NOMEM, "vm-direct: start");
		started(arg, &e);
		return;
	}
	s->of = x;
	s->started = started;
	s->arg = arg;
	list_add_tail(&x->starts, &s->node);
	s->wait = machine_wait(x->machine, START_MS, on_start_waited, s, &s->why);
	if (!s->wait)
		loop_post(x->loop, &x->post, serve, x);
}

static void vm_backend_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	struct vm_backend *x = vm_of(b);

	x->closing = true;
	x->closed = closed;
	x->closed_arg = arg;
	loop_post(x->loop, &x->post, serve, x);
}

static const struct backend_ops vm_backend_ops = {
	.dial = vm_backend_dial,
	.cancel = vm_backend_cancel,
	.state = vm_backend_state,
	.first_init = vm_backend_first_init,
	.wake = vm_backend_wake,
	.start = vm_backend_start,
	.describe = vm_backend_describe,
	.close = vm_backend_close,
};

struct backend *vm_backend_new(const struct vm_backend_opts *o, struct err *e)
{
	struct vm_backend *x = mem_alloc(sizeof(*x));

	if (!x) {
		(void)err_set(e, ERR_NOMEM, "vm-direct");
		return NULL;
	}
	x->backend.ops = &vm_backend_ops;
	(void)str_fmt(x->backend.name, sizeof(x->backend.name), "vm");
	x->loop = o->loop;
	x->machine = o->machine;
	x->limit_ms = o->limit_ms ? o->limit_ms : LIMIT_MS;
	x->user = o->user;
	list_init(&x->dials);
	list_init(&x->starts);
	return &x->backend;
}
