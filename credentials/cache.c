/*
 * In front of a source: whoever asks while a fetch is under way waits for
 * that one; what was fetched is kept.
 *
 *   life of credentials:   |fetched ......... refresh at|........ expires|
 *   asked there:            kept ones served   kept ones served,   fetch, and
 *                                              fetch begun beside   wait for it
 *
 * "refresh at" is the smaller of 10 min and a fifth of the life before the
 * end. After a failed fetch there is a pause (1 s, doubled up to 30 s) in
 * which those who have to wait get the last error at once; kept credentials
 * serve until they really expire. There are no timers: time is looked at when
 * somebody asks.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "credentials/provider_impl.h"

enum { MARGIN_MS = 10 * 60 * 1000, PAUSE_MIN_MS = 1000, PAUSE_MAX_MS = 30000 };

struct cache {
	struct provider base;
	struct loop *loop;
	const struct clock *clock;
	struct provider *inner;
	struct provider_call *fetch; /* NULL: none under way */
	struct creds *kept;
	int64_t refresh_ms; /* wall clock; 0: never */
	struct err why;     /* of the last fetch, when it failed */
	unsigned pause_ms;  /* 0: the last fetch was good */
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

static bool alive(const struct cache *c)
{
	return c->kept &&
	       (c->kept->expires_ms == 0 || clock_wall_ms(c->clock) < c->kept->expires_ms);
}

static bool pausing(const struct cache *c)
{
	return c->pause_ms && clock_mono_ms(c->clock) < c->pause_end_ms;
}

static void failed(struct cache *c, const struct err *why)
{
	c->why = *why;
	c->pause_ms = c->pause_ms ? 2 * c->pause_ms : PAUSE_MIN_MS;
	if (c->pause_ms > PAUSE_MAX_MS)
		c->pause_ms = PAUSE_MAX_MS;
	c->pause_end_ms = clock_mono_ms(c->clock) + c->pause_ms;
	if (alive(c))
		log_warn("creds", "refresh failed, those of %s serve until they expire: %s",
			 c->kept->source, why->msg);
}

static void on_fetched(void *arg, struct creds *fresh, const struct err *why)
{
	struct cache *c = arg;
	struct creds *answer = fresh;
	struct err gone;

	c->fetch = NULL;
	if (fresh && fresh->expires_ms && clock_wall_ms(c->clock) >= fresh->expires_ms) {
		(void)err_set(&gone, ERR_CREDS, "%s: these credentials have expired already",
			      fresh->source);
		why = &gone;
		answer = fresh = NULL;
	}
	if (fresh) {
		creds_ref(fresh);
		creds_unref(c->kept);
		c->kept = fresh;
		c->refresh_ms = cache_refresh_at(clock_wall_ms(c->clock), fresh->expires_ms);
		c->pause_ms = 0;
	} else {
		failed(c, why);
		answer = alive(c) ? c->kept : NULL;
	}
	LIST_EACH (node, &c->waiting)
		waiter_answer(CONTAINER_OF(node, struct waiter, node), &c->answered, answer,
			      &c->why);
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
	if (alive(c)) {
		if (c->refresh_ms && clock_wall_ms(c->clock) >= c->refresh_ms && !pausing(c) &&
		    fetch(c, &why) != 0)
			failed(c, &why);
		waiter_answer(w, &c->answered, c->kept, NULL);
	} else if (!c->fetch && pausing(c)) {
		waiter_answer(w, &c->answered, NULL, &c->why);
	} else if (fetch(c, e) != 0) {
		waiter_cancel(&w->base);
		return NULL;
	}
	return &w->base;
}

static void cache_close(struct provider *p)
{
	struct cache *c = (struct cache *)p;

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
