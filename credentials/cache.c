/*
 * In front of a source: whoever asks while a fetch is under way waits for
 * that one; what was fetched is kept.
 *
 *   life of credentials:   |fetched ......... refresh at|........ expires|
 *   asked there:            kept ones served   kept ones served,   fetch, and
 *                                              fetch begun beside   wait for it
 *
 * "refresh at" is the smaller of 10 min and a fifth of the life before the
 * end; if they were asked for since the last fetch, a timer fetches then, so
 * that nobody has to wait for it. Nobody asks: nothing is fetched.
 *
 * After a failed fetch there is a pause (1 s, doubled up to 30 s or a fifth of
 * the life). Kept credentials serve until they really expire, or so shortly
 * before it that a request could arrive too late. Who finds none then waits
 * for the next tries, at most WAIT_MS, if the cause is one that passes
 * (network, fault at AWS) and there were good ones before; otherwise the last
 * error is the answer, at once.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "credentials/provider_impl.h"

enum {
	MARGIN_MS = 10 * 60 * 1000,
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 30000,
	WAIT_MS = 20000,
	GUARD_MS = 1000,            /* for a request's way, at most a twentieth of the life */
	TIMER_MAX_MS = 3600 * 1000, /* the wall clock may be set meanwhile */
};

struct cache {
	struct provider base;
	struct loop *loop;
	const struct clock *clock;
	struct provider *inner;
	struct provider_call *fetch; /* NULL: none under way */
	struct creds *kept;
	int64_t refresh_ms;       /* wall clock; 0: never */
	int64_t life_ms;          /* of the kept ones, when they came; 0: for ever */
	bool used;                /* asked for since the last fetch */
	bool once_good, once_bad; /* since it was made */
	bool again;               /* the files changed during the fetch */
	struct loop_timer timer;
	provider_changed_fn *changed;
	void *changed_arg;
	struct err why;    /* of the last fetch, when it failed */
	unsigned pause_ms; /* 0: the last fetch was good */
	uint64_t pause_end_ms;
	struct list waiting, answered;
};

int64_t cache_refresh_at(int64_t fetched_ms, int64_t expires_ms)
{
	int64_t margin = (expires_ms - fetched_ms) / 5;

	if (expires_ms == 0)
		return 0;
	if (margin > MARGIN_MS)
		margin = MARGIN_MS;
	return margin > 0 ? expires_ms - margin : expires_ms;
}

static int64_t at_most(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static bool alive(const struct cache *c)
{
	int64_t guard = at_most(c->life_ms / 20, GUARD_MS);

	return c->kept &&
	       (c->kept->expires_ms == 0 || clock_wall_ms(c->clock) < c->kept->expires_ms - guard);
}

static bool pausing(const struct cache *c)
{
	return c->pause_ms && clock_mono_ms(c->clock) < c->pause_end_ms;
}

bool cause_passes(const struct err *e)
{
	switch (e->code) {
	case ERR_NETUNREACH:
	case ERR_HOSTUNREACH:
	case ERR_RESOLVE:
	case ERR_REFUSED:
	case ERR_DIAL:
	case ERR_TIMEOUT:
	case ERR_RESET:
	case ERR_CLOSED:
	case ERR_AWS:
	case ERR_LIMIT: return true;
	default: return e->passes;
	}
}

static void failed(struct cache *c, const struct err *why)
{
	int64_t most = c->life_ms ? at_most(c->life_ms / 5, PAUSE_MAX_MS) : PAUSE_MAX_MS;

	c->why = *why;
	c->once_bad = true;
	c->pause_ms = c->pause_ms ? 2 * c->pause_ms : PAUSE_MIN_MS;
	if (c->pause_ms > most)
		c->pause_ms = most > PAUSE_MIN_MS ? (unsigned)most : PAUSE_MIN_MS;
	c->pause_end_ms = clock_mono_ms(c->clock) + c->pause_ms;
	if (alive(c))
		log_warn("creds", "refresh failed, those of %s serve until they expire: %s",
			 c->kept->source, why->msg);
}

/* Whether this one goes on waiting though a fetch has failed. */
static bool patient(const struct cache *c, const struct waiter *w)
{
	return c->once_good && cause_passes(&c->why) &&
	       clock_mono_ms(c->clock) < w->since_ms + WAIT_MS;
}

static void on_timer(void *arg);

/* For whatever comes next without being asked. */
static void arm(struct cache *c)
{
	uint64_t now = clock_mono_ms(c->clock), in = TIMER_MAX_MS;
	uint64_t rest = c->pause_ms && c->pause_end_ms > now ? c->pause_end_ms - now : 0;
	int64_t due = c->refresh_ms - clock_wall_ms(c->clock);

	timer_disarm(c->loop, &c->timer);
	if (c->fetch)
		return;
	if (!list_empty(&c->waiting)) {
		in = rest;
		LIST_EACH (node, &c->waiting) {
			uint64_t end = CONTAINER_OF(node, struct waiter, node)->since_ms + WAIT_MS;
			uint64_t left = end > now ? end - now : 0;

			in = left < in ? left : in;
		}
	} else if (!c->kept || !c->refresh_ms || !c->used) {
		return;
	} else if (due > (int64_t)rest) {
		in = (uint64_t)at_most(due, TIMER_MAX_MS);
	} else {
		in = rest;
	}
	timer_arm(c->loop, &c->timer, in, on_timer, c);
}

/* After a failure: the kept ones, the error, or more patience. */
static void settle(struct cache *c)
{
	struct creds *answer = alive(c) ? c->kept : NULL;

	LIST_EACH (node, &c->waiting) {
		struct waiter *w = CONTAINER_OF(node, struct waiter, node);

		if (answer || !patient(c, w))
			waiter_answer(w, &c->answered, answer, &c->why);
	}
	arm(c);
}

/* Takes what was fetched, tells who wants to know when the key is another. */
static void keep(struct cache *c, struct creds *fresh)
{
	int64_t now = clock_wall_ms(c->clock);
	bool other = !c->kept || strcmp(c->kept->access_key_id, fresh->access_key_id) != 0;
	/* Whoever waits for the first ones gets them as an answer. */
	bool first = !c->once_good && !c->once_bad && !list_empty(&c->waiting);

	creds_ref(fresh);
	creds_unref(c->kept);
	c->kept = fresh;
	c->refresh_ms = cache_refresh_at(now, fresh->expires_ms);
	c->life_ms = fresh->expires_ms ? fresh->expires_ms - now : 0;
	c->once_good = true;
	c->used = !list_empty(&c->waiting);
	c->pause_ms = 0;
	LIST_EACH (node, &c->waiting)
		waiter_answer(CONTAINER_OF(node, struct waiter, node), &c->answered, fresh, NULL);
	if (other && !first && c->changed)
		c->changed(c->changed_arg, fresh);
}

static int fetch(struct cache *c, struct err *e);

static void fetch_beside(struct cache *c)
{
	struct err why;

	if (fetch(c, &why) == 0)
		return;
	failed(c, &why);
	settle(c);
}

static void on_timer(void *arg)
{
	struct cache *c = arg;
	bool due = c->kept && c->refresh_ms && clock_wall_ms(c->clock) >= c->refresh_ms;

	if (pausing(c))
		settle(c);
	else if (due || !list_empty(&c->waiting))
		fetch_beside(c);
	else
		arm(c);
}

static void on_fetched(void *arg, struct creds *fresh, const struct err *why)
{
	struct cache *c = arg;
	struct err gone;

	c->fetch = NULL;
	if (fresh && fresh->expires_ms && clock_wall_ms(c->clock) >= fresh->expires_ms) {
		(void)err_set(&gone, ERR_CREDS, "%s: these credentials have expired already",
			      fresh->source);
		why = &gone;
		fresh = NULL;
	}
	if (c->again) { /* what was read may have been the old files */
		c->again = false;
		c->pause_ms = 0;
		fetch_beside(c);
		if (!fresh)
			return;
	}
	if (fresh) {
		keep(c, fresh);
		arm(c);
		return;
	}
	failed(c, why);
	settle(c);
}

static int fetch(struct cache *c, struct err *e)
{
	if (c->fetch)
		return 0;
	c->fetch = provider_get(c->inner, on_fetched, c, e);
	return c->fetch ? 0 : -1;
}

static struct provider_call *cache_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct cache *c = (struct cache *)p;
	struct waiter *w = waiter_new(p, c->loop, &c->waiting, fn, arg, e);
	struct err why;

	if (!w)
		return NULL;
	w->since_ms = clock_mono_ms(c->clock);
	c->used = true;
	if (alive(c)) {
		if (c->refresh_ms && clock_wall_ms(c->clock) >= c->refresh_ms && !pausing(c) &&
		    fetch(c, &why) != 0)
			failed(c, &why);
		waiter_answer(w, &c->answered, c->kept, NULL);
	} else if (!c->fetch && pausing(c)) {
		if (!patient(c, w))
			waiter_answer(w, &c->answered, NULL, &c->why);
	} else if (fetch(c, e) != 0) {
		waiter_cancel(&w->base);
		return NULL;
	}
	if (!timer_armed(&c->timer))
		arm(c);
	return &w->base;
}

static void cache_close(struct provider *p)
{
	struct cache *c = (struct cache *)p;

	timer_disarm(c->loop, &c->timer);
	waiters_drop(&c->waiting);
	waiters_drop(&c->answered);
	provider_cancel(c->fetch);
	provider_close(c->inner);
	creds_unref(c->kept);
	mem_free(c);
}

static const char *cache_describe(const struct provider *p)
{
	const struct cache *c = (const struct cache *)p;

	return c->kept ? c->kept->source : provider_describe(c->inner);
}

static void cache_expire(struct provider *p, const struct creds *bad)
{
	struct cache *c = (struct cache *)p;

	if (!c->kept || (c->kept != bad && strcmp(c->kept->access_key_id, bad->access_key_id) != 0))
		return;
	creds_unref(c->kept);
	c->kept = NULL;
	provider_expire(c->inner, bad);
}

static void cache_watch(struct provider *p, provider_changed_fn *fn, void *arg)
{
	struct cache *c = (struct cache *)p;

	c->changed = fn;
	c->changed_arg = arg;
}

static void cache_reload(struct provider *p)
{
	struct cache *c = (struct cache *)p;

	if (c->fetch)
		c->again = true;
	else if (c->kept || c->pause_ms) { /* asked for before; otherwise the next one asks */
		c->pause_ms = 0;
		fetch_beside(c);
	}
}

static const struct creds *cache_kept(const struct provider *p)
{
	const struct cache *c = (const struct cache *)p;

	return alive(c) ? c->kept : NULL;
}

static const struct err *cache_error(const struct provider *p)
{
	const struct cache *c = (const struct cache *)p;

	return c->pause_ms ? &c->why : NULL;
}

static const struct provider_ops ops = {
	.name = "cache",
	.get = cache_get,
	.cancel = waiter_cancel,
	.close = cache_close,
	.describe = cache_describe,
	.expire = cache_expire,
	.error = cache_error,
	.watch = cache_watch,
	.reload = cache_reload,
	.kept = cache_kept,
};

struct provider *cache_new(struct loop *loop, const struct clock *clock, struct provider *inner,
			   struct err *e)
{
	struct cache *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		provider_close(inner);
		return NULL;
	}
	c->base.ops = &ops;
	c->loop = loop;
	c->clock = clock;
	c->inner = inner;
	list_init(&c->waiting);
	list_init(&c->answered);
	return &c->base;
}
