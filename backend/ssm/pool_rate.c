/*
 * How much the sessions carry, and which of them is the best for a stream.
 *
 * One session carries about 0.7 MB/s down, whatever the instance: the agent
 * sleeps after each KiB. So while streams run, every LOOK_MS the sessions'
 * rates are looked at; when all of a target's stay busy, as many again are
 * opened, within the limits, to be there for its next streams. Those that run
 * cannot move.
 */
#include "backend/ssm/pool_impl.h"
#include "base/log.h"

enum {
	LOOK_MS = 250,
	BUSY_LOOKS = 3,        /* in a row: a page that loads is not worth a session */
	BUSY_RATE = 384 * 1024 /* bytes per second: half of what the agent gives */
};

/* Streams that wait for a half-close, or are just kept open, are no load. */
static bool better(const struct member *a, const struct member *b)
{
	size_t moving_a = session_moving(a->session), moving_b = session_moving(b->session);

	if (moving_a != moving_b)
		return moving_a < moving_b;
	return session_streams(a->session) < session_streams(b->session);
}

struct member *pool_best_member(const struct target *t, bool slow_too)
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

static void on_look(void *arg);

void pool_look_later(struct pool *p)
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

	while (n < more && p->count < p->o.sessions_total && pool_add_member(t, &e))
		n++;
	return n;
}

/* Are all of its sessions busy, and none on its way? */
static void widen(struct target *t)
{
	unsigned count = 0, places = pool_places(t);

	for (struct list *it = t->members.next; it != &t->members; it = it->next) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || session_away(m->session))
			continue;
		if (m->busy < BUSY_LOOKS || !session_active(m->session))
			return;
		count++;
	}
	if (count == 0 || places == 0 || timer_armed(&t->reopen))
		return;
	count = opened(t, count < places ? count : places);
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
		pool_look_later(p);
}
