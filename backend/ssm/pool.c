#include "backend/ssm/pool.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "stream/stream.h"

/*
 * Dials are finished in two steps: finish() puts them on a list with their
 * result, deliver(), a post, calls done() for one after the other. So no
 * callback of a dial's owner runs in the middle of a walk over our lists.
 *
 * One session carries about 0.7 MB/s down, whatever the instance: the agent
 * sleeps after each KiB. So while streams run, every LOOK_MS the sessions'
 * rates are looked at; when all of a target's stay busy, as many again are
 * opened, within the limits, to be there for its next streams. Those that run
 * cannot move.
 */
enum {
	CLOSE_MS = 2800,
	PROOF_MIN_MS = 100,
	REOPEN_MS = 2000,
	REOPEN_MAX_MS = 30000,
	LOOK_MS = 250,
	BUSY_LOOKS = 3,        /* in a row: a page that loads is not worth a session */
	BUSY_RATE = 384 * 1024 /* bytes per second: half of what the agent gives */
};

struct target {
	struct pool *pool;
	struct list node;
	struct list members;      /* struct member.node */
	struct list waiting;      /* struct pool_dial.node */
	struct loop_timer reopen; /* armed: no session is asked for, the last try failed */
	unsigned reopen_ms;
	struct err why;
	bool proven; /* it has carried data */
	uint16_t port;
	char host[256];
};

struct member { /* a session in its target */
	struct list node, all;
	struct list dials; /* waiting for proof */
	struct target *target;
	struct session *session;
	struct loop_timer idle;
	uint64_t used_ms;
	uint64_t moved; /* session_moved() at the last look */
	unsigned busy;  /* looks in a row that found it so */
	bool leaving;   /* counted no more */
};

struct pool_dial {
	struct list node; /* target's waiting, member's dials, or pool's finished */
	struct pool *pool;
	struct target *target; /* NULL when finished */
	struct member *member; /* NULL when waiting or finished */
	struct stream *stream;
	struct loop_timer limit, proof;
	pool_done_fn *done;
	void *arg;
	bool acked, retried;
	struct err why;
	char session_id[API_ID_MAX];
};

struct pool {
	struct pool_opts o;
	struct loop *loop;
	const struct pool_handler *handler;
	void *arg;
	struct list targets, members, finished;
	struct loop_post assign, deliver;
	struct loop_timer close_limit, look;
	uint64_t looked_ms;
	unsigned count; /* members that are not leaving */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void assign(void *arg);
static void deliver(void *arg);

static void want_assign(struct pool *p)
{
	if (!p->closing)
		loop_post(p->loop, &p->assign, assign, p);
}

/* --- targets --- */

static struct target *target_of(struct pool *p, const char *host, uint16_t port, struct err *e)
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
	if (!list_empty(&t->members) || !list_empty(&t->waiting))
		return;
	timer_disarm(t->pool->loop, &t->reopen);
	list_del(&t->node);
	mem_free(t);
}

static void on_reopen(void *arg)
{
	struct target *t = arg;

	want_assign(t->pool);
}

/* While one session is there, another is not asked for again and again. */
static void pause_opening(struct target *t, const struct err *why)
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
	LIST_EACH (it, &p->targets) {
		timer_disarm(p->loop, &CONTAINER_OF(it, struct target, node)->reopen);
		list_del(it);
		mem_free(CONTAINER_OF(it, struct target, node));
	}
	mem_free(p);
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
	want_assign(p);
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
	want_assign(p);
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
	if (failed && has_other(t) && !p->closing)
		pause_opening(t, why);
	else if (failed)
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

static struct member *add_member(struct target *t, struct err *e)
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

/* --- rates --- */

static void on_look(void *arg);

static void look_later(struct pool *p)
{
	if (p->closing || timer_armed(&p->look))
		return;
	p->looked_ms = loop_now_ms(p->loop);
	timer_arm(p->loop, &p->look, LOOK_MS, on_look, p);
}

/* Its streams are there to be carried, and it carries about what it can. */
static void measure(struct member *m, uint64_t ms)
{
	uint64_t moved = session_moved(m->session);

	if (session_streams(m->session) && (moved - m->moved) * 1000 >= BUSY_RATE * ms)
		m->busy++;
	else
		m->busy = 0;
	m->moved = moved;
}

static unsigned opened(struct target *t, unsigned more)
{
	struct pool *p = t->pool;
	struct err e;
	unsigned n = 0;

	while (n < more && p->count < p->o.sessions_total && add_member(t, &e))
		n++;
	return n;
}

/* Are all of its sessions busy, and none on its way? */
static void widen(struct target *t)
{
	unsigned count = 0;

	for (struct list *it = t->members.next; it != &t->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving)
			continue;
		if (m->busy < BUSY_LOOKS || !session_active(m->session))
			return;
		count++;
	}
	if (count == 0 || count >= t->pool->o.sessions || timer_armed(&t->reopen))
		return;
	count = opened(t,
		       count < t->pool->o.sessions - count ? count : t->pool->o.sessions - count);
	if (count)
		log_info("ssm", "%s:%u: its sessions are busy, %u more opened", t->host, t->port,
			 count);
}

static void on_look(void *arg)
{
	struct pool *p = arg;
	uint64_t ms = loop_now_ms(p->loop) - p->looked_ms;
	bool running = false;

	if (p->closing)
		return;
	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		measure(m, ms ? ms : 1);
		running = running || session_streams(m->session);
	}
	LIST_EACH (it, &p->targets)
		widen(CONTAINER_OF(it, struct target, node));
	if (running)
		look_later(p);
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
	look_later(d->pool);
	if (d->target->proven)
		finish(d, NULL);
}

/* Streams that wait for a half-close, or are just kept open, are no load. */
static bool better(const struct member *a, const struct member *b)
{
	size_t moving_a = session_moving(a->session), moving_b = session_moving(b->session);

	if (moving_a != moving_b)
		return moving_a < moving_b;
	return session_streams(a->session) < session_streams(b->session);
}

static struct member *best_member(const struct target *t, bool slow_too)
{
	struct member *best = NULL;

	for (struct list *it = t->members.next; it != &t->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || !session_usable(m->session) ||
		    (session_slow(m->session) && !slow_too))
			continue;
		if (!best || better(m, best))
			best = m;
	}
	return best;
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

/* The session that has been unused longest ends, so that another host has room. */
static bool make_room(struct pool *p)
{
	struct member *oldest = NULL;

	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		if (m->leaving || !is_idle(m) || !list_empty(&m->target->waiting))
			continue;
		if (!oldest || m->used_ms < oldest->used_ms)
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

	while (!list_empty(&t->waiting) && (m = best_member(t, slow_too)) != NULL)
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
	if (add_member(t, &e))
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
	want_assign(p); /* an unused target goes */
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

struct pool_dial *pool_dial(struct pool *p, const char *host, uint16_t port, unsigned limit_ms,
			    pool_done_fn *done, void *arg, struct err *e)
{
	struct pool_dial *d;
	struct target *t;

	if (p->closing) {
		(void)err_set(e, ERR_CLOSED, "the backend is closing");
		return NULL;
	}
	t = target_of(p, host, port, e);
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
	want_assign(p);
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
	want_assign(p);
}

int pool_open(struct pool *p, const char *host, uint16_t port, struct err *e)
{
	struct target *t = target_of(p, host, port, e);

	if (!t)
		return -1;
	if (has_other(t) || add_member(t, e))
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
