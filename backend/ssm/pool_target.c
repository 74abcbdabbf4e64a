/* The host:port that sessions go to: found, paused, forgotten. */
#include "backend/ssm/pool_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { REOPEN_MS = 2000, REOPEN_MAX_MS = 30000 };

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

void pool_drop_if_unused(struct target *t)
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

bool pool_has_other(const struct target *t)
{
	for (const struct list *it = t->members.next; it != &t->members; it = it->next)
		if (!CONTAINER_OF(it, struct member, node)->leaving)
			return true;
	return false;
}

bool pool_one_is_coming(const struct target *t)
{
	for (const struct list *it = t->members.next; it != &t->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (!m->leaving && !session_active(m->session) && !session_away(m->session))
			return true;
	}
	return false;
}

unsigned pool_places(const struct target *t)
{
	unsigned max = t->pool->o.sessions, here = 0, away = 0;

	for (const struct list *it = t->members.next; it != &t->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		here += !m->leaving && !session_away(m->session);
		away += !m->leaving && session_away(m->session);
	}
	if (here + away >= 2 * max || here >= max)
		return 0;
	return away > max ? 2 * max - here - away : max - here;
}
