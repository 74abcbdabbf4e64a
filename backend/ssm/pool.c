#include "backend/ssm/pool_impl.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { CLOSE_MS = 2800 };

void pool_want_assign(struct pool *p)
{
	if (!p->closing)
		loop_post(p->loop, &p->assign, pool_assign, p);
}

/* --- dials to sessions --- */

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

		if (m->leaving || !pool_is_idle(m))
			continue;
		if (!list_empty(&m->target->waiting) && !session_away(m->session))
			continue; /* it is about to be used */
		if (!oldest || goes_before(m, oldest))
			oldest = m;
	}
	if (!oldest)
		return false;
	log_info("ssm", "%s: ended to make room for another host", session_id(oldest->session));
	pool_leave(oldest);
	session_end(oldest->session);
	return true;
}

static void use(struct target *t, bool slow_too)
{
	struct member *m;

	while (!list_empty(&t->waiting) && (m = pool_best_member(t, slow_too)) != NULL)
		pool_start_stream(CONTAINER_OF(t->waiting.next, struct pool_dial, node), m);
}

static void serve(struct target *t)
{
	struct pool *p = t->pool;
	struct err e;

	use(t, false);
	if (list_empty(&t->waiting) || pool_one_is_coming(t))
		return;
	if (pool_places(t) == 0 || (pool_has_other(t) && timer_armed(&t->reopen)) ||
	    (p->count >= p->o.sessions_total && !make_room(p))) {
		use(t, true);
		return;
	}
	if (pool_add_member(t, &e))
		return;
	LIST_EACH (it, &t->waiting)
		pool_finish(CONTAINER_OF(it, struct pool_dial, node), &e);
}

void pool_assign(void *arg)
{
	struct pool *p = arg;

	if (p->closing)
		return;
	LIST_EACH (it, &p->targets) {
		struct target *t = CONTAINER_OF(it, struct target, node);

		serve(t);
		pool_keep_warm(t);
		pool_drop_if_unused(t);
	}
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

static void free_all(struct pool *p)
{
	LIST_EACH (it, &p->targets) {
		timer_disarm(p->loop, &CONTAINER_OF(it, struct target, node)->reopen);
		list_del(it);
		mem_free(CONTAINER_OF(it, struct target, node));
	}
	mem_free(p);
}

void pool_discard(struct pool *p)
{
	free_all(p);
}

void pool_maybe_closed(struct pool *p)
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

int pool_open(struct pool *p, const char *host, uint16_t port, struct err *e)
{
	struct target *t = pool_target_of(p, host, port, e);

	if (!t)
		return -1;
	if (pool_has_other(t) || pool_add_member(t, e))
		return 0;
	pool_drop_if_unused(t);
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

		if (!m->leaving && (same || (pool_is_idle(m) && list_empty(&m->target->waiting))))
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
			pool_finish(CONTAINER_OF(w, struct pool_dial, node), &e);
	}
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		LIST_EACH (w, &m->dials)
			pool_finish(CONTAINER_OF(w, struct pool_dial, node), &e);
		session_end(m->session);
	}
	timer_arm(p->loop, &p->close_limit, CLOSE_MS, on_close_limit, p);
	pool_deliver_later(p); /* closed() even if nothing is there */
}
