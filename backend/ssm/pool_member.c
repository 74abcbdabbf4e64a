/* The sessions of a target: what they report, when they are idle, their streams. */
#include "backend/ssm/pool_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "stream/stream.h"

enum { PROOF_MIN_MS = 100 };

void pool_leave(struct member *m)
{
	struct pool *p = m->target->pool;

	if (m->leaving)
		return;
	m->leaving = true;
	p->count--;
	timer_disarm(p->loop, &m->idle);
	pool_want_assign(p);
}

static void on_idle(void *arg)
{
	struct member *m = arg;

	if (pool_keeps_warm(m))
		return;
	log_info("ssm", "%s: idle, ending the session", session_id(m->session));
	pool_leave(m);
	session_end(m->session);
}

bool pool_is_idle(const struct member *m)
{
	return session_active(m->session) && session_streams(m->session) == 0 &&
	       list_empty(&m->dials);
}

static void watch_idle(struct member *m)
{
	struct pool *p = m->target->pool;

	if (!pool_is_idle(m) || m->leaving) {
		timer_disarm(p->loop, &m->idle);
	} else if (!timer_armed(&m->idle)) {
		m->used_ms = loop_now_ms(p->loop);
		timer_arm(p->loop, &m->idle, p->o.session_idle_ms, on_idle, m);
	}
}

static void on_active(void *arg)
{
	struct member *m = arg;
	struct pool *p = m->target->pool;

	m->target->reopen_ms = 0;
	watch_idle(m);
	p->handler->session_up(p->arg);
	pool_assign(p);
}

static struct pool_dial *dial_with(struct member *m, const struct stream *s)
{
	for (struct list *it = m->dials.next; it != &m->dials; it = it->next) {
		struct pool_dial *d = CONTAINER_OF(it, struct pool_dial, node);

		if (d->stream == s)
			return d;
	}
	return NULL;
}

static void on_decided(void *arg, struct stream *stream, enum smux_fate fate)
{
	struct member *m = arg;
	struct pool_dial *d = dial_with(m, stream);
	struct err why;

	m->target->proven = fate != SMUX_REFUSED && (m->target->proven || fate == SMUX_CARRIES);
	if (!d)
		return;
	if (fate != SMUX_REFUSED) {
		pool_finish(d, NULL);
		return;
	}
	(void)err_set(&why, ERR_DIAL, "the agent could not connect to %s:%u", m->target->host,
		      m->target->port);
	pool_finish(d, &why);
}

static void on_proof(void *arg)
{
	pool_finish(arg, NULL);
}

static void on_acked(void *arg)
{
	struct member *m = arg;
	unsigned wait = 2 * session_srtt_ms(m->session);

	for (struct list *it = m->dials.next; it != &m->dials; it = it->next) {
		struct pool_dial *d = CONTAINER_OF(it, struct pool_dial, node);

		if (d->acked || !session_syn_acked(m->session, d->stream))
			continue;
		d->acked = true;
		timer_arm(d->pool->loop, &d->proof, wait > PROOF_MIN_MS ? wait : PROOF_MIN_MS,
			  on_proof, d);
	}
}

/* The agent never took its SYN: it is as if it had not been sent. */
static bool may_retry(const struct pool_dial *d)
{
	return !d->acked && !d->retried && !d->pool->closing;
}

static void retry(struct pool_dial *d)
{
	stream_close(d->stream);
	d->stream = NULL;
	d->member = NULL;
	d->retried = true;
	list_del(&d->node);
	list_add_tail(&d->target->waiting, &d->node);
}

static void on_changed(void *arg)
{
	struct member *m = arg;
	struct pool *p = m->target->pool;

	if (session_away(m->session))
		LIST_EACH (it, &m->dials) {
			struct pool_dial *d = CONTAINER_OF(it, struct pool_dial, node);

			if (may_retry(d))
				retry(d);
		}
	watch_idle(m);
	pool_want_assign(p);
	p->handler->changed(p->arg);
}

static void on_ended(void *arg, const struct err *why)
{
	struct member *m = arg;
	struct target *t = m->target;
	struct pool *p = t->pool;
	struct err closed;
	bool failed = why && !m->used_ms;

	(void)err_set(&closed, ERR_CLOSED, "the session has ended");
	pool_leave(m);
	LIST_EACH (it, &m->dials) {
		struct pool_dial *d = CONTAINER_OF(it, struct pool_dial, node);

		if (may_retry(d) && (!why || why->code == ERR_CLOSED))
			retry(d);
		else
			pool_finish(d, why ? why : &closed);
	}
	if (failed && (pool_has_other(t) || t->warm) && !p->closing)
		pool_pause_opening(t, why);
	if (failed && !pool_has_other(t))
		LIST_EACH (it, &t->waiting)
			pool_finish(CONTAINER_OF(it, struct pool_dial, node), why);
	if (p->closing)
		return;
	if (failed)
		p->handler->session_failed(p->arg, why, session_aws_code(m->session));
	p->handler->changed(p->arg);
}

static void on_freed(void *arg)
{
	struct member *m = arg;
	struct target *t = m->target;
	struct pool *p = t->pool;

	pool_leave(m);
	list_del(&m->node);
	list_del(&m->all);
	mem_free(m);
	pool_drop_if_unused(t);
	pool_maybe_closed(p);
}

static const struct session_handler session_handler = {
	.active = on_active,
	.decided = on_decided,
	.acked = on_acked,
	.changed = on_changed,
	.ended = on_ended,
	.freed = on_freed,
};

struct member *pool_add_member(struct target *t, struct err *e)
{
	struct pool *p = t->pool;
	struct member *m = mem_alloc(sizeof(*m));
	struct session_goal goal = { API_REMOTE_HOST, t->host, t->port };

	if (!m) {
		(void)err_set(e, ERR_NOMEM, "session");
		return NULL;
	}
	m->target = t;
	list_init(&m->dials);
	m->session = session_new(p->o.env, &goal, &session_handler, m, e);
	if (!m->session) {
		mem_free(m);
		return NULL;
	}
	list_add_tail(&t->members, &m->node);
	list_add_tail(&p->members, &m->all);
	p->count++;
	return m;
}

void pool_start_stream(struct pool_dial *d, struct member *m)
{
	struct err e;

	d->stream = session_stream(m->session, &e);
	if (!d->stream) {
		pool_finish(d, &e);
		return;
	}
	d->member = m;
	m->used_ms = loop_now_ms(d->pool->loop);
	list_del(&d->node);
	list_add_tail(&m->dials, &d->node);
	timer_disarm(d->pool->loop, &m->idle);
	pool_look_later(d->pool);
	if (d->target->proven)
		pool_finish(d, NULL);
}
