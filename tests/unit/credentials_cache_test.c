/* credentials/cache.c: one fetch at a time, refresh, failure, on a clock of the test's own. */
#include <string.h>

#include "base/str.h"
#include "credentials/provider_impl.h"
#include "tests/support/cmocka_all.h"

/* A source that answers when the test says so. */
struct fake_source {
	struct provider base;
	struct provider_call call;
	creds_fn *fn;
	void *arg;
	int fetches, expired;
	bool under_way, closed, refuse;
};

static struct provider_call *fake_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct fake_source *s = (struct fake_source *)p;

	assert_false(s->under_way);
	s->fetches++;
	if (s->refuse) {
		(void)err_set(e, ERR_NOMEM, "refused at once");
		return NULL;
	}
	s->call.provider = p;
	s->fn = fn;
	s->arg = arg;
	s->under_way = true;
	return &s->call;
}

static void fake_cancel(struct provider_call *call)
{
	((struct fake_source *)call->provider)->under_way = false;
}

static void fake_close(struct provider *p)
{
	((struct fake_source *)p)->closed = true;
}

static void fake_expire(struct provider *p, const struct creds *bad)
{
	(void)bad;
	((struct fake_source *)p)->expired++;
}

static const struct provider_ops fake_ops = {
	.name = "test",
	.get = fake_get,
	.cancel = fake_cancel,
	.close = fake_close,
	.expire = fake_expire,
};

struct fake_clock {
	struct clock base;
	uint64_t now;
};

static uint64_t fake_mono(const struct clock *c)
{
	return ((const struct fake_clock *)c)->now;
}

static int64_t fake_wall(const struct clock *c)
{
	return (int64_t)((const struct fake_clock *)c)->now;
}

struct world {
	struct loop *loop;
	struct fake_clock clock;
	struct fake_source source;
	struct provider *cache;
	int answers, failures;
	char last[64]; /* id of the last answer, or its error */
};

static int set_up(void **state)
{
	static struct world w;
	struct err e;

	w = (struct world){ .clock = { { fake_mono, fake_wall }, 1000000000 } };
	w.source.base.ops = &fake_ops;
	assert_int_equal(loop_new(&w.loop, &e), 0);
	w.cache = cache_new(w.loop, &w.clock.base, &w.source.base, &e);
	assert_non_null(w.cache);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	provider_close(w->cache);
	assert_true(w->source.closed);
	loop_free(w->loop);
	return 0;
}

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct world *w = arg;
	const char *text = c ? c->access_key_id : why->msg;

	w->answers++;
	w->failures += c == NULL;
	(void)str_fmt(w->last, sizeof(w->last), "%s", text);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Turns until what was posted before this call has run. */
static void turn(struct world *w)
{
	struct loop_post post = { 0 };

	loop_post(w->loop, &post, stop, w->loop);
	loop_run(w->loop);
}

static struct provider_call *get(struct world *w)
{
	return provider_get(w->cache, on_creds, w, NULL);
}

/* The source answers with `id`, to live for life_ms (0: for ever). */
static void answer(struct world *w, const char *id, int64_t life_ms)
{
	struct creds *c = creds_new(id, "s", NULL,
				    life_ms ? fake_wall(&w->clock.base) + life_ms : 0, NULL, "test",
				    NULL);

	assert_true(w->source.under_way);
	w->source.under_way = false;
	w->source.fn(w->source.arg, c, NULL);
	creds_unref(c);
	turn(w);
}

static void answer_error(struct world *w, const char *text)
{
	struct err e;

	(void)err_set(&e, ERR_CREDS, "%s", text);
	assert_true(w->source.under_way);
	w->source.under_way = false;
	w->source.fn(w->source.arg, NULL, &e);
	turn(w);
}

static void one_fetch_serves_all(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 5; i++)
		assert_non_null(get(w));
	assert_int_equal(w->answers, 0);
	answer(w, "A", 0);
	assert_int_equal(w->answers, 5);
	assert_int_equal(w->source.fetches, 1);
	get(w);
	assert_int_equal(w->answers, 5); /* not from inside the call */
	turn(w);
	assert_int_equal(w->answers, 6);
	w->clock.now += 1000ull * 86400 * 365;
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 1); /* no expiry: never again */
	assert_null(provider_error(w->cache));
}

static void refreshed_in_the_margin(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 3600000);
	w->clock.now += 3600000 - 600001;
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 1);
	w->clock.now += 1;
	get(w);
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 2);
	assert_int_equal(w->answers, 4); /* served by the old ones meanwhile */
	assert_string_equal(w->last, "A");
	answer(w, "B", 3600000);
	get(w);
	turn(w);
	assert_string_equal(w->last, "B");
	assert_int_equal(w->source.fetches, 2);
}

static void old_ones_serve_until_they_expire(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 10000); /* margin: 2 s */
	w->clock.now += 8000;
	get(w);
	answer_error(w, "down");
	assert_string_equal(w->last, "A");
	assert_string_equal(provider_error(w->cache)->msg, "down");
	w->clock.now += 500; /* pause */
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 2);
	w->clock.now += 500; /* over */
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 3);
	answer_error(w, "still down");
	w->clock.now += 1000; /* expired, and in the pause: the error at once */
	get(w);
	turn(w);
	assert_int_equal(w->failures, 1);
	assert_string_equal(w->last, "still down");
	assert_int_equal(w->source.fetches, 3);
	w->clock.now += 1000;
	get(w);
	turn(w);
	assert_int_equal(w->failures, 1); /* waits for the fetch */
	answer(w, "B", 10000);
	assert_string_equal(w->last, "B");
	assert_null(provider_error(w->cache));
}

static void pauses_are_bounded(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 10; i++) {
		w->clock.now += 30000;
		get(w);
		answer_error(w, "down");
	}
	assert_int_equal(w->source.fetches, 10);
	w->clock.now += 29999;
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 10);
	assert_int_equal(w->failures, 11);
}

static void expired_on_arrival(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", -1);
	assert_int_equal(w->failures, 1);
	assert_non_null(strstr(w->last, "expired already"));
}

static void told_that_they_are_bad(void **state)
{
	struct world *w = *state;
	struct creds *other = creds_new("OTHER", "s", NULL, 0, NULL, "test", NULL);
	struct creds *same = creds_new("A", "s", NULL, 0, NULL, "test", NULL);

	get(w);
	answer(w, "A", 0);
	provider_expire(w->cache, other);
	get(w);
	turn(w);
	assert_int_equal(w->source.fetches, 1);
	provider_expire(w->cache, same);
	assert_int_equal(w->source.expired, 1);
	get(w);
	answer(w, "B", 0);
	assert_string_equal(w->last, "B");
	creds_unref(other);
	creds_unref(same);
}

static void cancelled_calls_stay_silent(void **state)
{
	struct world *w = *state;
	struct provider_call *a = get(w), *b;

	get(w);
	provider_cancel(a);
	answer(w, "A", 0);
	assert_int_equal(w->answers, 1);
	b = get(w);
	provider_cancel(b);
	turn(w);
	assert_int_equal(w->answers, 1);
	provider_expire(w->cache, &(struct creds){ .access_key_id = (char *)"A" });
	get(w); /* left waiting at tear-down */
}

static void source_that_refuses_at_once(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	w->source.refuse = true;
	assert_null(provider_get(w->cache, on_creds, w, &e));
	assert_int_equal(e.code, ERR_NOMEM);
	turn(w);
	assert_int_equal(w->answers, 0);
}

static void answer_failure(struct world *w, enum err_code code)
{
	struct err e;

	(void)err_set(&e, code, "down");
	assert_true(w->source.under_way);
	w->source.under_way = false;
	w->source.fn(w->source.arg, NULL, &e);
	turn(w);
}

/* Runs the loop until the source is asked: by a timer of the loop's own clock, so that the test's
 * has to be ahead of it. */
static void until_asked(struct world *w)
{
	int before = w->source.fetches;

	w->clock.now += 1000;
	while (w->source.fetches == before)
		turn(w);
}

static void who_finds_none_waits_for_the_next_tries(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 5000);
	w->clock.now += 5000;
	get(w);
	answer_failure(w, ERR_AWS);
	assert_int_equal(w->answers, 1); /* still waiting */
	get(w);                          /* in the pause: waits, too */
	turn(w);
	assert_int_equal(w->answers, 1);
	until_asked(w);
	answer_failure(w, ERR_RESET);
	assert_int_equal(w->answers, 1);
	until_asked(w);
	answer(w, "B", 5000);
	assert_int_equal(w->answers, 3);
	assert_int_equal(w->failures, 0);
	assert_string_equal(w->last, "B");
}

/* What nobody would wait for by its code: no instance metadata, a program that ended badly. */
static void also_where_only_the_source_knows_that_it_passes(void **state)
{
	struct world *w = *state;
	struct err e;

	get(w);
	answer(w, "A", 5000);
	w->clock.now += 5000;
	get(w);
	(void)err_set(&e, ERR_CREDS, "down");
	e.passes = true;
	w->source.under_way = false;
	w->source.fn(w->source.arg, NULL, &e);
	turn(w);
	assert_int_equal(w->answers, 1);
	until_asked(w);
	answer(w, "B", 5000);
	assert_int_equal(w->failures, 0);
	assert_string_equal(w->last, "B");
}

static void but_not_for_ever(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 5000);
	w->clock.now += 5000;
	get(w);
	answer_failure(w, ERR_TIMEOUT);
	assert_int_equal(w->answers, 1);
	w->clock.now += 20000;
	get(w); /* begins a fetch: the pause is over */
	answer_failure(w, ERR_TIMEOUT);
	assert_int_equal(w->answers, 2); /* the first has waited long enough */
	assert_int_equal(w->failures, 1);
}

static void what_does_not_pass_is_told_at_once(void **state)
{
	struct world *w = *state;

	get(w);
	answer_failure(w, ERR_AWS); /* never any good ones: nothing to hope for */
	assert_int_equal(w->failures, 1);
	w->clock.now += 1000;
	get(w);
	answer(w, "A", 5000);
	w->clock.now += 5000;
	get(w);
	answer_failure(w, ERR_CREDS);
	assert_int_equal(w->failures, 2);
}

/* A request signed in the last moment would arrive too late. */
static void none_are_served_that_are_about_to_expire(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 5000);
	w->clock.now += 4760;
	get(w);
	turn(w);
	assert_int_equal(w->answers, 1);
	answer(w, "B", 5000);
	assert_string_equal(w->last, "B");
}

static void used_ones_are_renewed_without_being_asked(void **state)
{
	struct world *w = *state;

	get(w);
	answer(w, "A", 50);
	w->clock.now += 5;
	until_asked(w);
	w->clock.now -= 1000; /* whatever it has become meanwhile */
	answer(w, "B", 50);
	w->clock.now += 2000;
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(w->source.fetches, 2); /* nobody has used B */
	assert_int_equal(w->answers, 1);
}

struct heard {
	int count;
	char last[16];
};

static void on_changed(void *arg, struct creds *c)
{
	struct heard *h = arg;

	h->count++;
	(void)str_fmt(h->last, sizeof(h->last), "%s", c->access_key_id);
}

static void a_change_is_told(void **state)
{
	struct world *w = *state;
	struct heard h = { 0 };

	provider_watch(w->cache, on_changed, &h);
	provider_reload(w->cache); /* nobody has asked yet */
	assert_int_equal(w->source.fetches, 0);
	assert_null(provider_kept(w->cache));
	get(w);
	answer(w, "A", 0);
	assert_int_equal(h.count, 0);
	assert_string_equal(provider_kept(w->cache)->access_key_id, "A");
	provider_reload(w->cache);
	assert_int_equal(w->source.fetches, 2);
	get(w);
	turn(w);
	assert_string_equal(w->last, "A"); /* the old ones meanwhile */
	provider_reload(w->cache);         /* again, during the fetch */
	answer(w, "B", 0);
	assert_string_equal(h.last, "B");
	assert_int_equal(w->source.fetches, 3);
	answer(w, "B", 0);
	assert_int_equal(h.count, 1); /* the same */
}

/* `aws sso login` in another window: whoever was refused is told that there are some now. */
static void a_change_after_a_failure_is_told(void **state)
{
	struct world *w = *state;
	struct heard h = { 0 };

	provider_watch(w->cache, on_changed, &h);
	get(w);
	answer_failure(w, ERR_CREDS);
	provider_reload(w->cache); /* no pause */
	answer(w, "A", 0);
	assert_string_equal(h.last, "A");
}

static void margins(void **state)
{
	(void)state;
	assert_true(cache_refresh_at(0, 0) == 0);
	assert_true(cache_refresh_at(0, 3600000) == 3000000);
	assert_true(cache_refresh_at(0, 900000) == 720000);
	assert_true(cache_refresh_at(0, 5000) == 4000);
	assert_true(cache_refresh_at(10000, 5000) == 5000);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(one_fetch_serves_all),
		CASE(refreshed_in_the_margin),
		CASE(old_ones_serve_until_they_expire),
		CASE(pauses_are_bounded),
		CASE(expired_on_arrival),
		CASE(told_that_they_are_bad),
		CASE(cancelled_calls_stay_silent),
		CASE(source_that_refuses_at_once),
		CASE(who_finds_none_waits_for_the_next_tries),
		CASE(also_where_only_the_source_knows_that_it_passes),
		CASE(but_not_for_ever),
		CASE(what_does_not_pass_is_told_at_once),
		CASE(none_are_served_that_are_about_to_expire),
		CASE(used_ones_are_renewed_without_being_asked),
		CASE(a_change_is_told),
		CASE(a_change_after_a_failure_is_told),
		cmocka_unit_test(margins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
