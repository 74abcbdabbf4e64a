#include "backend/ssm/ssh_pool.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "net/loop.h"

/*
 * A dial that fails by itself is put on a list with its reason, and deliver(), a post, tells; so no
 * callback of a dial's owner runs in the middle of a walk over our lists. One that succeeds is
 * told at once, from the master's own callback.
 */
enum {
	CLOSE_MS = 2800,
	SAMPLE_MS = 1000,
	BUSY_RATE = 400000,
	REOPEN_MS = 2000,
	REOPEN_MAX_MS = 30000
};

struct member {
	struct list node;
	struct list dials; /* struct ssh_pool_dial.node */
	struct ssh_pool *pool;
	struct ssh_master *master;
	struct loop_timer idle;
	uint64_t up, down; /* at the last sample */
	bool busy;         /* it carried much since the one before */
	bool was_ready, leaving;
};

struct ssh_pool_dial {
	struct list node; /* waiting, a member's dials, or finished */
	struct ssh_pool *pool;
	struct member *member;
	struct ssh_dial *dial;
	struct loop_timer limit;
	ssh_pool_done_fn *done;
	void *arg;
	struct err why;
	uint16_t port;
	bool retried;
	char host[256];
};

struct ssh_pool {
	struct ssh_pool_opts o;
	struct loop *loop;
	const struct ssh_pool_handler *handler;
	void *arg;
	struct list members, waiting, finished;
	struct loop_post assign, deliver;
	struct loop_timer sample, reopen, close_limit;
	unsigned count; /* members that are not leaving */
	unsigned reopen_ms;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void assign(void *arg);
static void deliver(void *arg);

static void want_assign(struct ssh_pool *p)
{
	if (!p->closing)
		loop_post(p->loop, &p->assign, assign, p);
}

/* --- the end of a dial --- */

static void fail_dial(struct ssh_pool_dial *d, const struct err *why)
{
	struct ssh_pool *p = d->pool;

	timer_disarm(p->loop, &d->limit);
	if (d->dial)
		ssh_mux_cancel(d->dial);
	d->dial = NULL;
	d->member = NULL;
	d->why = *why;
	list_del(&d->node);
	list_add_tail(&p->finished, &d->node);
	loop_post(p->loop, &p->deliver, deliver, p);
}

static void maybe_closed(struct ssh_pool *p)
{
	void (*closed)(void *) = p->closed;
	void *arg = p->closed_arg;

	if (!p->closing || !list_empty(&p->members) || !list_empty(&p->finished))
		return;
	timer_disarm(p->loop, &p->close_limit);
	timer_disarm(p->loop, &p->sample);
	timer_disarm(p->loop, &p->reopen);
	loop_unpost(&p->assign);
	loop_unpost(&p->deliver);
	mem_free(p);
	closed(arg);
}

static void deliver(void *arg)
{
	struct ssh_pool *p = arg;

	while (!list_empty(&p->finished)) {
		struct ssh_pool_dial *d = CONTAINER_OF(list_pop(&p->finished), struct ssh_pool_dial,
						       node);

		d->done(d->arg, NULL, "", &d->why);
		mem_free(d);
	}
	maybe_closed(p);
}

/* Its master has gone while it waited: it is as if it had not been asked. */
static bool retry(struct ssh_pool_dial *d, const struct err *why)
{
	if (why->code != ERR_CLOSED || d->retried || d->pool->closing)
		return false;
	d->retried = true;
	d->dial = NULL;
	d->member = NULL;
	list_del(&d->node);
	list_add_tail(&d->pool->waiting, &d->node);
	want_assign(d->pool);
	return true;
}

static void on_dialed(void *arg, struct stream *s, const struct err *why)
{
	struct ssh_pool_dial *d = arg;
	char id[API_ID_MAX];

	if (!s && retry(d, why))
		return;
	str_fmt(id, sizeof(id), "%s", ssh_master_session(d->member->master));
	timer_disarm(d->pool->loop, &d->limit);
	list_del(&d->node);
	d->done(d->arg, s, id, why);
	mem_free(d);
}

/* --- members --- */

static void on_idle(void *arg)
{
	struct member *m = arg;

	log_info("ssm", "%s: idle, ending the SSH connection", ssh_master_session(m->master));
	if (!m->leaving) {
		m->leaving = true;
		m->pool->count--;
	}
	ssh_master_end(m->master);
}

static void watch_idle(struct member *m)
{
	struct ssh_pool *p = m->pool;

	if (m->leaving || !m->was_ready || ssh_master_streams(m->master) > 0)
		timer_disarm(p->loop, &m->idle);
	else if (!timer_armed(&m->idle))
		timer_arm(p->loop, &m->idle, p->o.idle_ms, on_idle, m);
}

static void on_ready(void *arg)
{
	struct member *m = arg;
	struct ssh_pool *p = m->pool;

	m->was_ready = true;
	p->reopen_ms = 0;
	watch_idle(m);
	p->handler->up(p->arg);
	assign(p);
}

static void on_changed(void *arg)
{
	struct member *m = arg;

	watch_idle(m);
	m->pool->handler->changed(m->pool->arg);
}

static void on_reopen(void *arg)
{
	want_assign(arg);
}

/* Another is not asked for again and again. With none at all it is the backend's own pause that
 * counts, where it has one. */
static void pause_opening(struct ssh_pool *p)
{
	p->reopen_ms = p->reopen_ms ? 2 * p->reopen_ms : REOPEN_MS;
	if (p->reopen_ms > REOPEN_MAX_MS)
		p->reopen_ms = REOPEN_MAX_MS;
	timer_arm(p->loop, &p->reopen, p->reopen_ms / 2 + random_below(p->reopen_ms / 2 + 1),
		  on_reopen, p);
}

static void leave(struct member *m)
{
	if (m->leaving)
		return;
	m->leaving = true;
	m->pool->count--;
	timer_disarm(m->pool->loop, &m->idle);
	want_assign(m->pool);
}

static void on_ended(void *arg, const struct err *why, const char *aws_code)
{
	struct member *m = arg;
	struct ssh_pool *p = m->pool;

	leave(m);
	if (p->closing)
		return;
	if (!m->was_ready)
		pause_opening(p);
	if (!m->was_ready && !p->count) {
		LIST_EACH (it, &p->waiting)
			fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), why);
	}
	if (!m->was_ready)
		p->handler->failed(p->arg, why, aws_code);
	p->handler->changed(p->arg);
}

static void on_freed(void *arg)
{
	struct member *m = arg;
	struct ssh_pool *p = m->pool;

	leave(m);
	list_del(&m->node);
	mem_free(m);
	maybe_closed(p);
}

static const struct ssh_master_handler master_handler = {
	.ready = on_ready,
	.changed = on_changed,
	.ended = on_ended,
	.freed = on_freed,
};

static int add_member(struct ssh_pool *p, struct err *e)
{
	struct member *m = mem_alloc(sizeof(*m));

	if (!m)
		return err_set(e, ERR_NOMEM, "ssh master");
	m->pool = p;
	list_init(&m->dials);
	m->master = ssh_master_new(p->o.env, &master_handler, m, e);
	if (!m->master) {
		mem_free(m);
		return -1;
	}
	list_add_tail(&p->members, &m->node);
	p->count++;
	return 0;
}

/* --- rates --- */

static void sample(struct member *m, uint64_t busy)
{
	uint64_t up, down;

	ssh_master_counts(m->master, &up, &down);
	m->busy = up - m->up >= busy || down - m->down >= busy;
	m->up = up;
	m->down = down;
}

static void on_sample(void *arg)
{
	struct ssh_pool *p = arg;
	size_t streams = 0;

	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		sample(m, (uint64_t)p->o.busy_rate * SAMPLE_MS / 1000);
		streams += ssh_master_streams(m->master);
	}
	if (streams)
		timer_arm(p->loop, &p->sample, SAMPLE_MS, on_sample, p);
}

/* --- dials to masters --- */

static struct member *best_member(const struct ssh_pool *p)
{
	struct member *best = NULL;

	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || !ssh_master_ready(m->master))
			continue;
		if (!best || (best->busy && !m->busy) ||
		    (best->busy == m->busy &&
		     ssh_master_streams(m->master) < ssh_master_streams(best->master)))
			best = m;
	}
	return best;
}

static bool one_is_coming(const struct ssh_pool *p)
{
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (!m->leaving && !m->was_ready)
			return true;
	}
	return false;
}

/* Every ready one carries what a session can: those who come later should find another. */
static void open_another(struct ssh_pool *p, const struct member *best)
{
	struct err e;

	if (!best->busy || p->count >= p->o.masters || one_is_coming(p) || timer_armed(&p->reopen))
		return;
	log_info("ssm", "%s: SSH connections are busy, opening number %u",
		 p->o.env->session->target, p->count + 1);
	if (add_member(p, &e) != 0)
		log_warn("ssm", "%s", e.msg);
}

static void start_dial(struct ssh_pool_dial *d, struct member *m)
{
	struct ssh_pool *p = d->pool;
	struct err e;

	d->dial = ssh_master_dial(m->master, d->host, d->port, on_dialed, d, &e);
	if (!d->dial) {
		fail_dial(d, &e);
		return;
	}
	d->member = m;
	list_del(&d->node);
	list_add_tail(&m->dials, &d->node);
	timer_disarm(p->loop, &m->idle);
	if (!timer_armed(&p->sample)) {
		sample(m, UINT64_MAX);
		timer_arm(p->loop, &p->sample, SAMPLE_MS, on_sample, p);
	}
}

static void assign(void *arg)
{
	struct ssh_pool *p = arg;
	struct member *m = NULL;
	struct err e;

	if (p->closing)
		return;
	while (!list_empty(&p->waiting) && (m = best_member(p)) != NULL) {
		open_another(p, m);
		start_dial(CONTAINER_OF(p->waiting.next, struct ssh_pool_dial, node), m);
	}
	if (list_empty(&p->waiting) || one_is_coming(p) || add_member(p, &e) == 0)
		return;
	LIST_EACH (it, &p->waiting)
		fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), &e);
}

static void on_dial_limit(void *arg)
{
	struct ssh_pool_dial *d = arg;
	struct err e;

	if (d->member)
		(void)err_set(&e, ERR_TIMEOUT, "sshd did not connect to %s:%u in time", d->host,
			      d->port);
	else
		(void)err_set(&e, ERR_TIMEOUT, "no SSH connection to %s in time",
			      d->pool->o.env->session->target);
	fail_dial(d, &e);
}

/* --- the backend's words --- */

struct ssh_pool *ssh_pool_new(const struct ssh_pool_opts *o, const struct ssh_pool_handler *handler,
			      void *arg, struct err *e)
{
	struct ssh_pool *p = mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "ssh pool");
		return NULL;
	}
	p->o = *o;
	p->o.busy_rate = o->busy_rate ? o->busy_rate : BUSY_RATE;
	p->loop = o->env->session->loop;
	p->handler = handler;
	p->arg = arg;
	list_init(&p->members);
	list_init(&p->waiting);
	list_init(&p->finished);
	return p;
}

void ssh_pool_discard(struct ssh_pool *p)
{
	mem_free(p);
}

struct ssh_pool_dial *ssh_pool_dial(struct ssh_pool *p, const char *host, uint16_t port,
				    unsigned limit_ms, ssh_pool_done_fn *done, void *arg,
				    struct err *e)
{
	struct ssh_pool_dial *d;

	if (p->closing) {
		(void)err_set(e, ERR_CLOSED, "the backend is closing");
		return NULL;
	}
	d = mem_alloc(sizeof(*d));
	if (!d || !str_fmt(d->host, sizeof(d->host), "%s", host)) {
		(void)(d ? err_set(e, ERR_PROTO, "host name of more than 255 bytes")
			 : err_set(e, ERR_NOMEM, "dial"));
		mem_free(d);
		return NULL;
	}
	d->pool = p;
	d->port = port;
	d->done = done;
	d->arg = arg;
	list_add_tail(&p->waiting, &d->node);
	timer_arm(p->loop, &d->limit, limit_ms, on_dial_limit, d);
	want_assign(p);
	return d;
}

void ssh_pool_cancel(struct ssh_pool_dial *d)
{
	timer_disarm(d->pool->loop, &d->limit);
	list_del(&d->node);
	if (d->dial)
		ssh_mux_cancel(d->dial);
	mem_free(d);
}

int ssh_pool_open(struct ssh_pool *p, struct err *e)
{
	return p->count ? 0 : add_member(p, e);
}

static unsigned ready_and_lost(const struct ssh_pool *p, unsigned *lost)
{
	unsigned ready = 0;

	*lost = 0;
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || !ssh_master_ready(m->master))
			continue;
		ready++;
		*lost += ssh_master_lost(m->master);
	}
	return ready;
}

bool ssh_pool_alive(const struct ssh_pool *p)
{
	unsigned lost;

	return ready_and_lost(p, &lost) > 0;
}

bool ssh_pool_pauses(const struct ssh_pool *p)
{
	return p->count == 0 && timer_armed(&p->reopen);
}

bool ssh_pool_lost(const struct ssh_pool *p)
{
	unsigned lost, ready = ready_and_lost(p, &lost);

	return ready && lost == ready;
}

void ssh_pool_describe(const struct ssh_pool *p, cJSON *sessions)
{
	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		cJSON *one = cJSON_CreateObject();

		ssh_master_describe(CONTAINER_OF(it, struct member, node)->master, one);
		if (!cJSON_AddItemToArray(sessions, one))
			cJSON_Delete(one);
	}
}

static void on_close_limit(void *arg)
{
	struct ssh_pool *p = arg;

	LIST_EACH (it, &p->members)
		ssh_master_drop(CONTAINER_OF(it, struct member, node)->master);
}

void ssh_pool_close(struct ssh_pool *p, void (*closed)(void *arg), void *arg)
{
	struct err e;

	(void)err_set(&e, ERR_CLOSED, "the backend is closing");
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	LIST_EACH (it, &p->waiting)
		fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), &e);
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		LIST_EACH (d, &m->dials)
			fail_dial(CONTAINER_OF(d, struct ssh_pool_dial, node), &e);
		ssh_master_end(m->master);
	}
	timer_arm(p->loop, &p->close_limit, CLOSE_MS, on_close_limit, p);
	loop_post(p->loop, &p->deliver, deliver, p); /* closed() even if nothing is there */
}
