/*
 * What waits for a session, and is told. Dials are finished in two steps: pool_finish() puts
 * them on a list with their result, deliver(), a post, calls done() for one after the other. So no
 * callback of a dial's owner runs in the middle of a walk over our lists.
 */
#include "backend/ssm/pool_impl.h"

#include "base/mem.h"
#include "base/str.h"
#include "stream/stream.h"

static void deliver(void *arg)
{
	struct pool *p = arg;

	while (!list_empty(&p->finished)) {
		struct pool_dial *d = CONTAINER_OF(list_pop(&p->finished), struct pool_dial, node);
		struct stream *s = d->stream;

		d->done(d->arg, s, d->session_id, s ? NULL : &d->why);
		if (s)
			smux_wake(s);
		mem_free(d);
	}
	pool_maybe_closed(p);
}

void pool_deliver_later(struct pool *p)
{
	loop_post(p->loop, &p->deliver, deliver, p);
}

void pool_finish(struct pool_dial *d, const struct err *why)
{
	struct pool *p = d->pool;

	timer_disarm(p->loop, &d->limit);
	timer_disarm(p->loop, &d->proof);
	if (d->member)
		str_fmt(d->session_id, sizeof(d->session_id), "%s", session_id(d->member->session));
	if (why) {
		d->why = *why;
		if (d->stream)
			stream_close(d->stream);
		d->stream = NULL;
	}
	d->target = NULL;
	d->member = NULL;
	list_del(&d->node);
	list_add_tail(&p->finished, &d->node);
	pool_deliver_later(p);
}

static void on_dial_limit(void *arg)
{
	struct pool_dial *d = arg;
	struct pool *p = d->pool;
	struct target *t = d->target;
	struct err e;

	if (!d->member && !pool_has_other(t) && p->count >= p->o.sessions_total)
		(void)err_set(&e, ERR_LIMIT,
			      "no session for %s:%u: all %u are in use by other hosts "
			      "(--sessions-total)",
			      t->host, t->port, p->o.sessions_total);
	else if (!d->member && timer_armed(&t->reopen))
		e = t->why;
	else if (!d->member && !session_held(p->o.env, &e))
		(void)err_set(&e, ERR_TIMEOUT, "no session to %s:%u in time", t->host, t->port);
	else if (d->member)
		(void)err_set(&e, ERR_TIMEOUT, "the agent did not take the connection to %s:%u",
			      t->host, t->port);
	pool_finish(d, &e);
	pool_want_assign(p); /* an unused target goes */
}

struct pool_dial *pool_dial(struct pool *p, const char *host, uint16_t port, unsigned limit_ms,
			    pool_done_fn *done, void *arg, struct err *e)
{
	struct pool_dial *d;
	struct target *t;

	if (p->closing) {
		(void)err_set(e, ERR_CLOSED, "the backend is closing");
		return NULL;
	}
	t = pool_target_of(p, host, port, e);
	if (!t)
		return NULL;
	d = mem_alloc(sizeof(*d));
	if (!d) {
		(void)err_set(e, ERR_NOMEM, "dial");
		pool_drop_if_unused(t);
		return NULL;
	}
	d->pool = p;
	d->target = t;
	d->done = done;
	d->arg = arg;
	list_add_tail(&t->waiting, &d->node);
	timer_arm(p->loop, &d->limit, limit_ms, on_dial_limit, d);
	pool_want_assign(p);
	return d;
}

void pool_cancel(struct pool_dial *d)
{
	struct pool *p = d->pool;

	timer_disarm(p->loop, &d->limit);
	timer_disarm(p->loop, &d->proof);
	list_del(&d->node);
	if (d->stream)
		stream_close(d->stream);
	mem_free(d);
	pool_want_assign(p);
}
