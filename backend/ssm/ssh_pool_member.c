/* The masters: what they report, how much they carry, when they are idle. */
#include "backend/ssm/ssh_pool_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

enum { SAMPLE_MS = 1000, REOPEN_MS = 2000, REOPEN_MAX_MS = 30000 };

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
	ssh_pool_assign(p);
}

static void on_changed(void *arg)
{
	struct member *m = arg;

	watch_idle(m);
	ssh_pool_want_assign(m->pool);
	m->pool->handler->changed(m->pool->arg);
}

static void on_reopen(void *arg)
{
	ssh_pool_want_assign(arg);
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
	ssh_pool_want_assign(m->pool);
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
			ssh_pool_fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), why);
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
	ssh_pool_maybe_closed(p);
}

static const struct ssh_master_handler master_handler = {
	.ready = on_ready,
	.changed = on_changed,
	.ended = on_ended,
	.freed = on_freed,
};

int ssh_pool_add_member(struct ssh_pool *p, bool share, struct err *e)
{
	struct member *m = mem_alloc(sizeof(*m));

	if (!m)
		return err_set(e, ERR_NOMEM, "ssh master");
	m->pool = p;
	list_init(&m->dials);
	m->master = ssh_master_new(p->o.env, &master_handler, m, share, e);
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
	m->busy_down = down - m->down >= busy;
	m->busy = m->busy_down || up - m->up >= busy;
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

void ssh_pool_watch_rate(struct member *m)
{
	struct ssh_pool *p = m->pool;

	if (timer_armed(&p->sample))
		return;
	sample(m, UINT64_MAX);
	timer_arm(p->loop, &p->sample, SAMPLE_MS, on_sample, p);
}

/* --- which one --- */

struct member *ssh_pool_best_member(const struct ssh_pool *p)
{
	struct member *best = NULL;

	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || !ssh_master_ready(m->master) || ssh_master_away(m->master))
			continue;
		if (!best || (best->busy && !m->busy) ||
		    (best->busy == m->busy &&
		     ssh_master_streams(m->master) < ssh_master_streams(best->master)))
			best = m;
	}
	return best;
}

bool ssh_pool_one_is_coming(const struct ssh_pool *p)
{
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (!m->leaving && !m->was_ready)
			return true;
	}
	return false;
}

/* Every ready one carries what a session can: those who come later should find another. */
void ssh_pool_open_another(struct ssh_pool *p, const struct member *best)
{
	struct err e;

	if (!best->busy || p->count >= p->o.masters || ssh_pool_one_is_coming(p) ||
	    timer_armed(&p->reopen))
		return;
	log_info("ssm", "%s: SSH connections are busy, opening number %u",
		 p->o.env->session->target, p->count + 1);
	if (ssh_pool_add_member(p, !best->busy_down, &e) != 0)
		log_warn("ssm", "%s", e.msg);
}

bool ssh_pool_in_use(const struct ssh_pool *p)
{
	if (!list_empty(&p->waiting) || !list_empty(&p->finished))
		return true;
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (!list_empty(&m->dials) || ssh_master_streams(m->master))
			return true;
	}
	return false;
}

void ssh_pool_rest(struct ssh_pool *p)
{
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		leave(m);
		ssh_master_end(m->master);
	}
}
