/*
 * Hosts that always have a session: one is opened as soon as the backend is
 * active, kept though it is idle, and opened again when it has ended. When the
 * total is used up a warm session that is idle makes room too, but after all
 * others, and it comes back when there is room again.
 */
#include "backend/ssm/pool_impl.h"

#include "base/log.h"
#include "base/str.h"

int pool_warm(struct pool *p, const char *host_port, struct err *e)
{
	char host[256];
	uint16_t port;
	struct target *t;

	if (str_host_port(host_port, host, sizeof(host), &port, e) != 0)
		return err_wrap(e, "warm");
	t = pool_target_of(p, host, port, e);
	if (!t)
		return -1;
	t->warm = true;
	return 0;
}

void pool_warm_up(struct pool *p)
{
	p->warming = true;
	pool_want_assign(p);
}

static size_t staying(const struct target *t)
{
	size_t n = 0;

	for (const struct list *it = t->members.next; it != &t->members; it = it->next)
		n += !CONTAINER_OF(it, struct member, node)->leaving;
	return n;
}

bool pool_keeps_warm(const struct member *m)
{
	return m->target->warm && !m->leaving && staying(m->target) == 1;
}

void pool_keep_warm(struct target *t)
{
	struct pool *p = t->pool;
	struct err e;

	if (!t->warm || !p->warming || staying(t) || timer_armed(&t->reopen) ||
	    p->count >= p->o.sessions_total)
		return;
	if (!pool_add_member(t, &e))
		pool_pause_opening(t, &e);
}
