#include "backend/ssm/pool_impl.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "stream/stream.h"

/*
 * Dials are finished in two steps: finish() puts them on a list with their
 * result, deliver(), a post, calls done() for one after the other. So no
 * callback of a dial's owner runs in the middle of a walk over our lists.
 */
enum {
	CLOSE_MS = 2800,
	PROOF_MIN_MS = 100,
	REOPEN_MS = 2000,
	REOPEN_MAX_MS = 30000,
};

static void assign(void *arg);
static void deliver(void *arg);

void pool_want_assign(struct pool *p)
{
	if (!p->closing)
		loop_post(p->loop, &p->assign, assign, p);
}

/* --- targets --- */

struct target *pool_target_of(struct pool *p, const char *host, uint16_t port, struct err *e)
{
	struct target *t;

	for (struct list *it = p->targets.next; it != &p->targets; it = it->next) {
		t = CONTAINER_OF(it, struct target, node);
		if (t->port == port && strcmp(t->host, host) == 0)
			return t;
	}
	t = mem_alloc(sizeof(*t));
	if (!t) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	if (!str_fmt(t->host, sizeof(t->host), "%s", host)) {
		mem_free(t);
		(void)err_set(e, ERR_PROTO, "host name of more than 255 bytes");
		return NULL;
	}
	t->pool = p;
	t->port = port;
	list_init(&t->members);
	list_init(&t->waiting);
	list_add_tail(&p->targets, &t->node);
	return t;
}

static void drop_if_unused(struct target *t)
{
	if (t->warm || !list_empty(&t->members) || !list_empty(&t->waiting))
		return;
	timer_disarm(t->pool->loop, &t->reopen);
	list_del(&t->node);
	mem_free(t);
}

static void on_reopen(void *arg)
{
	struct target *t = arg;

	pool_want_assign(t->pool);
}

/* While one session is there, another is not asked for again and again. */
void pool_pause_opening(struct target *t, const struct err *why)
{
	t->why = *why;
	t->reopen_ms = t->reopen_ms ? 2 * t->reopen_ms : REOPEN_MS;
	if (t->reopen_ms > REOPEN_MAX_MS)
		t->reopen_ms = REOPEN_MAX_MS;
	timer_arm(t->pool->loop, &t->reopen, t->reopen_ms, on_reopen, t);
}

/* --- the end of a dial --- */

static void finish(struct pool_dial *d, const struct err *why)
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
	loop_post(p->loop, &p->deliver, deliver, p);
}

static void free_all(struct pool *p)
{
	LIST_EACH (it, &p->targets) {
		timer_disarm(p->loop, &CONTAINER_OF(it, struct target, node)->reopen);
		list_del(it);
		mem_free(CONTAINER_OF(it, struct target, node));
	}
	mem_free(p);
}

static void maybe_closed(struct pool *p)
{
	void (*closed)(void *) = p->closed;
	void *arg = p->closed_arg;

	if (!p->closing || !list_empty(&p->members) || !list_empty(&p->finished))
		return;
	timer_disarm(p->loop, &p->close_limit);
	timer_disarm(p->loop, &p->look);
	loop_unpost(&p->assign);
	loop_unpost(&p->deliver);
	free_all(p);
	closed(arg);
}

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
	maybe_closed(p);
}

/* --- members --- */

static void leave(struct member *m);

static void on_idle(void *arg)
{
	struct member *m = arg;

	if (pool_keeps_warm(m))
		return;
	log_info("ssm", "%s: idle, ending the session", session_id(m->session));
	leave(m);
	session_end(m->session);
}

static bool is_idle(const struct member *m)
{
	return session_active(m->session) && session_streams(m->session) == 0 &&
	       list_empty(&m->dials);
}

static void watch_idle(struct member *m)
{
	struct pool *p = m->target->pool;

	if (!is_idle(m) || m->leaving) {
		timer_disarm(p->loop, &m->idle);
	} else if (!timer_armed(&m->idle)) {
		m->used_ms = loop_now_ms(p->loop);
		timer_arm(p->loop, &m->idle, p->o.session_idle_ms, on_idle, m);
	}
}

static void leave(struct member *m)
{
	struct pool *p = m->target->pool;

	if (m->leaving)
		return;
	m->leaving = true;
	p->count--;
	timer_disarm(p->loop, &m->idle);
	pool_want_assign(p);
}

static void on_active(void *arg)
{
	struct member *m = arg;
	struct pool *p = m->target->pool;

	m->target->reopen_ms = 0;
	watch_idle(m);
	p->handler->session_up(p->arg);
	assign(p);
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
		finish(d, NULL);
		return;
	}
	(void)err_set(&why, ERR_DIAL, "the agent could not connect to %s:%u", m->target->host,
		      m->target->port);
	finish(d, &why);
}

static void on_proof(void *arg)
{
	finish(arg, NULL);
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

static void on_changed(void *arg)
{
	struct member *m = arg;
	struct pool *p = m->target->pool;

	watch_idle(m);
	pool_want_assign(p);
	p->handler->changed(p->arg);
}

/* The agent never took its SYN: it is as if it had not been sent. */
static bool may_retry(const struct pool_dial *d, const struct err *why)
{
	return !d->acked && !d->retried && (!why || why->code == ERR_CLOSED) && !d->pool->closing;
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

static bool has_other(const struct target *t)
{
	for (const struct list *it = t->members.next; it != &t->members; it = it->next)
		if (!CONTAINER_OF(it, struct member, node)->leaving)
			return true;
	return false;
}

static void on_ended(void *arg, const struct err *why)
{
	struct member *m = arg;
	struct target *t = m->target;
	struct pool *p = t->pool;
	struct err closed;
	bool failed = why && !m->used_ms;

	(void)err_set(&closed, ERR_CLOSED, "the session has ended");
	leave(m);
	LIST_EACH (it, &m->dials) {
		struct pool_dial *d = CONTAINER_OF(it, struct pool_dial, node);

		if (may_retry(d, why))
			retry(d);
		else
			finish(d, why ? why : &closed);
	}
	if (failed && (has_other(t) || t->warm) && !p->closing)
		pool_pause_opening(t, why);
	if (failed && !has_other(t))
		LIST_EACH (it, &t->waiting)
			finish(CONTAINER_OF(it, struct pool_dial, node), why);
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

	leave(m);
	list_del(&m->node);
	list_del(&m->all);
	mem_free(m);
	drop_if_unused(t);
	maybe_closed(p);
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

/* --- dials to sessions --- */

static void start_stream(struct pool_dial *d, struct member *m)
{
	struct err e;

	d->stream = session_stream(m->session, &e);
	if (!d->stream) {
		finish(d, &e);
		return;
	}
	d->member = m;
	m->used_ms = loop_now_ms(d->pool->loop);
	list_del(&d->node);
	list_add_tail(&m->dials, &d->node);
	timer_disarm(d->pool->loop, &m->idle);
	pool_look_later(d->pool);
	if (d->target->proven)
		finish(d, NULL);
}

static bool one_is_coming(const struct target *t, unsigned *count)
{
	bool coming = false;

	*count = 0;
	for (struct list *it = t->members.next; it != &t->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		*count += !m->leaving;
		coming = coming || (!m->leaving && !session_active(m->session));
	}
	return coming;
}

static bool goes_before(const struct member *a, const struct member *b)
{
	if (pool_keeps_warm(a) != pool_keeps_warm(b))
		return pool_keeps_warm(b);
	return a->used_ms < b->used_ms;
}

/* The session that has been unused longest ends, so that another host has room. */
static bool make_room(struct pool *p)
{
	struct member *oldest = NULL;

	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		if (m->leaving || !is_idle(m) || !list_empty(&m->target->waiting))
			continue;
		if (!oldest || goes_before(m, oldest))
			oldest = m;
	}
	if (!oldest)
		return false;
	log_info("ssm", "%s: ended to make room for another host", session_id(oldest->session));
	leave(oldest);
	session_end(oldest->session);
	return true;
}

static void use(struct target *t, bool slow_too)
{
	struct member *m;

	while (!list_empty(&t->waiting) && (m = pool_best_member(t, slow_too)) != NULL)
		start_stream(CONTAINER_OF(t->waiting.next, struct pool_dial, node), m);
}

static void serve(struct target *t)
{
	struct pool *p = t->pool;
	struct err e;
	unsigned count;

	use(t, false);
	if (list_empty(&t->waiting) || one_is_coming(t, &count))
		return;
	if (count >= p->o.sessions || (count && timer_armed(&t->reopen)) ||
	    (p->count >= p->o.sessions_total && !make_room(p))) {
		use(t, true);
		return;
	}
	if (pool_add_member(t, &e))
		return;
	LIST_EACH (it, &t->waiting)
		finish(CONTAINER_OF(it, struct pool_dial, node), &e);
}

static void assign(void *arg)
{
	struct pool *p = arg;

	if (p->closing)
		return;
	LIST_EACH (it, &p->targets) {
		struct target *t = CONTAINER_OF(it, struct target, node);

		serve(t);
		pool_keep_warm(t);
		drop_if_unused(t);
	}
}

static void on_dial_limit(void *arg)
{
	struct pool_dial *d = arg;
	struct pool *p = d->pool;
	struct target *t = d->target;
	struct err e;
	unsigned count;

	if (!d->member && !one_is_coming(t, &count) && p->count >= p->o.sessions_total)
		(void)err_set(&e, ERR_LIMIT,
			      "no session for %s:%u: all %u are in use by other hosts "
			      "(--sessions-total)",
			      t->host, t->port, p->o.sessions_total);
	else if (!d->member && timer_armed(&t->reopen))
		e = t->why;
	else if (!d->member)
		(void)err_set(&e, ERR_TIMEOUT, "no session to %s:%u in time", t->host, t->port);
	else
		(void)err_set(&e, ERR_TIMEOUT, "the agent did not take the connection to %s:%u",
			      t->host, t->port);
	finish(d, &e);
	pool_want_assign(p); /* an unused target goes */
}

/* --- the backend's words --- */

struct pool *pool_new(const struct pool_opts *o, const struct pool_handler *handler, void *arg,
		      struct err *e)
{
	struct pool *p = mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "session pool");
		return NULL;
	}
	p->o = *o;
	p->loop = o->env->loop;
	p->handler = handler;
	p->arg = arg;
	list_init(&p->targets);
	list_init(&p->members);
	list_init(&p->finished);
	return p;
}

void pool_discard(struct pool *p)
{
	free_all(p);
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
		drop_if_unused(t);
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

int pool_open(struct pool *p, const char *host, uint16_t port, struct err *e)
{
	struct target *t = pool_target_of(p, host, port, e);

	if (!t)
		return -1;
	if (has_other(t) || pool_add_member(t, e))
		return 0;
	drop_if_unused(t);
	return -1;
}

static unsigned active_and_lost(const struct pool *p, unsigned *lost)
{
	unsigned active = 0;

	*lost = 0;
	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, all);

		if (m->leaving || !session_active(m->session))
			continue;
		active++;
		*lost += session_lost(m->session);
	}
	return active;
}

bool pool_lost(const struct pool *p)
{
	unsigned lost, active = active_and_lost(p, &lost);

	return active && lost == active;
}

bool pool_is_full(const struct pool *p, const char *host, uint16_t port)
{
	if (p->count < p->o.sessions_total)
		return false;
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, all);
		bool same = m->target->port == port && strcmp(m->target->host, host) == 0;

		if (!m->leaving && (same || (is_idle(m) && list_empty(&m->target->waiting))))
			return false;
	}
	return true;
}

bool pool_alive(const struct pool *p)
{
	unsigned lost;

	return active_and_lost(p, &lost) > 0;
}

void pool_describe(const struct pool *p, struct cJSON *sessions)
{
	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		cJSON *one = cJSON_CreateObject();

		session_describe(CONTAINER_OF(it, struct member, all)->session, one);
		if (!cJSON_AddItemToArray(sessions, one))
			cJSON_Delete(one);
	}
}

static void on_close_limit(void *arg)
{
	struct pool *p = arg;

	LIST_EACH (it, &p->members)
		session_drop(CONTAINER_OF(it, struct member, all)->session);
}

void pool_close(struct pool *p, void (*closed)(void *arg), void *arg)
{
	struct err e;

	(void)err_set(&e, ERR_CLOSED, "the backend is closing");
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	LIST_EACH (it, &p->targets) {
		struct target *t = CONTAINER_OF(it, struct target, node);

		LIST_EACH (w, &t->waiting)
			finish(CONTAINER_OF(w, struct pool_dial, node), &e);
	}
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		LIST_EACH (w, &m->dials)
			finish(CONTAINER_OF(w, struct pool_dial, node), &e);
		session_end(m->session);
	}
	timer_arm(p->loop, &p->close_limit, CLOSE_MS, on_close_limit, p);
	loop_post(p->loop, &p->deliver, deliver, p); /* closed() even if nothing is there */
}
