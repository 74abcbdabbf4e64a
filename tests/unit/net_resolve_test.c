/* Look-ups by a resolver of the test's own, which counts, answers and hangs as it is told. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "net/loop.h"
#include "net/resolve.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

enum { ASKERS = 400 };

struct asker {
	struct fix *f;
	struct net_resolve *q;
	struct net_resolve **cancel; /* when this one is told */
	const char *again;           /* asked for then */
	size_t n;
	int told;
	struct addr first;
	struct err why;
};

struct fix {
	struct loop *l;
	struct loop_timer limit, pause;
	struct loop_post post;
	size_t told, stop_at;
	struct asker asker[ASKERS];
	/* The resolver's, under `lock`. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut; /* look-ups hang until it is opened */
	int calls, inside, most_inside;
	int gai, sys;
};

/* a.N.test has the address 192.0.2.N twice and one of IPv6; fail.test what the test says. */
static int lookup(void *arg, const char *host, struct addr *list, size_t *n)
{
	struct fix *f = arg;
	unsigned number = 0;
	int gai;

	pthread_mutex_lock(&f->lock);
	f->calls++;
	if (++f->inside > f->most_inside)
		f->most_inside = f->inside;
	pthread_cond_broadcast(&f->changed);
	while (f->shut)
		pthread_cond_wait(&f->changed, &f->lock);
	f->inside--;
	gai = strncmp(host, "fail", 4) == 0 ? f->gai : 0;
	errno = f->sys;
	pthread_mutex_unlock(&f->lock);
	if (gai)
		return gai;
	(void)sscanf(host, "a.%u.test", &number);
	for (*n = 0; *n < 3; ++*n) {
		char text[32];

		snprintf(text, sizeof(text), *n < 2 ? "192.0.2.%u" : "2001:db8::%x", number);
		assert_true(addr_from_literal(text, 0, &list[*n]));
	}
	return 0;
}

static void too_long(void *arg)
{
	(void)arg;
	fail_msg("it takes too long");
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ 0 };
	pthread_mutex_init(&f.lock, NULL);
	pthread_cond_init(&f.changed, NULL);
	*state = &f;
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	return 0;
}

static void gate(struct fix *f, bool shut)
{
	pthread_mutex_lock(&f->lock);
	f->shut = shut;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	gate(f, false);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	return 0;
}

static void opts(struct fix *f, struct resolve_opts o)
{
	struct err e;

	o.lookup = lookup;
	o.arg = f;
	assert_int_equal(resolve_set_opts(f->l, &o, &e), 0);
}

static void told(void *arg, const struct addr *list, size_t n, const struct err *why);

static bool ask(struct fix *f, size_t i, const char *host, struct err *e)
{
	f->asker[i].f = f;
	f->asker[i].q = net_resolve(f->l, host, (uint16_t)(1000 + i), told, &f->asker[i], e);
	return f->asker[i].q;
}

static void told(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct asker *a = arg;
	struct fix *f = a->f;
	const char *again = a->again;
	struct err e;

	a->q = NULL;
	a->told++;
	a->n = n;
	a->again = NULL;
	if (n)
		a->first = list[0];
	else
		a->why = *why;
	if (a->cancel && *a->cancel) {
		net_resolve_cancel(*a->cancel);
		*a->cancel = NULL;
	}
	if (again)
		assert_true(ask(f, (size_t)(a - f->asker), again, &e));
	if (++f->told == f->stop_at)
		loop_stop(f->l);
}

/* Runs until so many more have been told. */
static void run(struct fix *f, size_t n)
{
	f->stop_at = f->told + n;
	loop_run(f->l);
}

static void ask_one(struct fix *f, const char *host)
{
	struct err e;

	if (!ask(f, 0, host, &e))
		fail_msg("%s", e.msg);
	run(f, 1);
}

static void over(void *arg)
{
	loop_stop(arg);
}

static void pass(struct fix *f, unsigned ms)
{
	timer_arm(f->l, &f->pause, ms, over, f->l);
	loop_run(f->l);
}

static void waits_for_one_answer(void **state)
{
	struct fix *f = *state;
	struct err e;

	opts(f, (struct resolve_opts){ 0 });
	gate(f, true);
	for (size_t i = 0; i < 10; i++)
		assert_true(ask(f, i, i % 2 ? "a.1.test" : "a.2.test", &e));
	assert_int_equal(f->told, 0);
	gate(f, false);
	run(f, 10);
	assert_int_equal(f->calls, 2);
	for (size_t i = 0; i < 10; i++) {
		char text[ADDR_TEXT], want[64];

		assert_int_equal(f->asker[i].told, 1);
		assert_int_equal(f->asker[i].n, 3);
		addr_format(&f->asker[i].first, text); /* each with the port it asked for */
		snprintf(want, sizeof(want), "192.0.2.%d:%zu", i % 2 ? 1 : 2, 1000 + i);
		assert_string_equal(text, want);
	}
}

static void answers_and_failures_are_kept(void **state)
{
	struct fix *f = *state;
	struct err e;

	opts(f, (struct resolve_opts){ .keep_ms = 60000, .keep_failed_ms = 60000 });
	f->gai = EAI_NONAME;
	ask_one(f, "a.1.test");
	assert_true(ask(f, 0, "a.1.test", &e));
	assert_int_equal(f->told, 1); /* never from inside the call */
	run(f, 1);
	assert_int_equal(f->calls, 1);
	ask_one(f, "fail.test");
	ask_one(f, "fail.test");
	assert_int_equal(f->calls, 2);
	assert_int_equal(f->asker[0].why.code, ERR_RESOLVE);
	assert_string_equal(f->asker[0].why.msg, "resolve 'fail.test': no such host");
}

/* Each by its own time. */
static void but_not_for_ever(void **state)
{
	struct fix *f = *state;

	opts(f, (struct resolve_opts){ .keep_ms = 60000, .keep_failed_ms = 1 });
	f->gai = EAI_NONAME;
	for (int i = 1; i <= 3; i++) {
		ask_one(f, "a.1.test");
		ask_one(f, "fail.test");
		assert_int_equal(f->calls, 1 + i);
		pass(f, 2);
	}
}

static void nor_are_answers(void **state)
{
	struct fix *f = *state;

	opts(f, (struct resolve_opts){ .keep_ms = 1 });
	for (int i = 1; i <= 3; i++) {
		ask_one(f, "a.1.test");
		assert_int_equal(f->calls, i);
		pass(f, 2);
	}
}

static void shortages_are_told_as_such_and_not_kept(void **state)
{
	static const struct {
		int gai, sys;
		enum err_code code;
	} cases[] = {
		{ EAI_MEMORY, 0, ERR_NOMEM },      { EAI_SYSTEM, EMFILE, ERR_LIMIT },
		{ EAI_AGAIN, EMFILE, ERR_LIMIT }, /* as glibc says it */
		{ EAI_NONAME, ENFILE, ERR_LIMIT }, { EAI_SYSTEM, EIO, ERR_RESOLVE },
	};
	struct fix *f = *state;

	opts(f, (struct resolve_opts){ .keep_failed_ms = 60000 });
	for (size_t i = 0; i < COUNT(cases); i++) {
		f->gai = cases[i].gai;
		f->sys = cases[i].sys;
		f->calls = 0;
		ask_one(f, "fail.test");
		assert_int_equal(f->asker[0].why.code, cases[i].code);
		ask_one(f, "fail.test");
		assert_int_equal(f->calls, 2);
	}
}

static void the_name_used_longest_ago_goes(void **state)
{
	struct fix *f = *state;

	opts(f, (struct resolve_opts){ .names = 3, .keep_ms = 60000 });
	ask_one(f, "a.1.test");
	ask_one(f, "a.2.test");
	ask_one(f, "a.3.test");
	ask_one(f, "a.1.test");
	ask_one(f, "a.4.test"); /* instead of 2 */
	assert_int_equal(f->calls, 4);
	ask_one(f, "a.1.test");
	ask_one(f, "a.3.test");
	assert_int_equal(f->calls, 4);
	ask_one(f, "a.2.test");
	assert_int_equal(f->calls, 5);
}

/* More names at once than the cache has room for: all are answered. */
static void more_than_there_is_room_for(void **state)
{
	struct fix *f = *state;
	struct err e;
	char host[32];

	opts(f, (struct resolve_opts){ .names = 3 });
	for (size_t i = 0; i < 100; i++) {
		snprintf(host, sizeof(host), "a.%zu.test", i);
		assert_true(ask(f, i, host, &e));
	}
	run(f, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(f->asker[i].n, 3);
}

static void so_many_at_a_time(void **state)
{
	struct fix *f = *state;
	struct err e = { 0 };
	char host[32];

	opts(f, (struct resolve_opts){ .under_way = 4 });
	gate(f, true);
	for (size_t i = 0; i < 4; i++) {
		snprintf(host, sizeof(host), "a.%zu.test", i);
		assert_true(ask(f, i, host, &e));
	}
	assert_false(ask(f, 4, "a.4.test", &e));
	assert_int_equal(e.code, ERR_LIMIT);
	assert_non_null(strstr(e.msg, "too many look-ups are under way"));
	assert_true(ask(f, 4, "a.1.test", &e)); /* one that is under way costs no further one */
	gate(f, false);
	run(f, 5);
	ask_one(f, "a.4.test");
	assert_int_equal(f->asker[0].n, 3);
}

static void cancelled_ones_are_not_told(void **state)
{
	struct fix *f = *state;
	struct err e;

	opts(f, (struct resolve_opts){ 0 });
	gate(f, true);
	for (size_t i = 0; i < 4; i++)
		assert_true(ask(f, i, "a.1.test", &e));
	net_resolve_cancel(f->asker[1].q);
	f->asker[0].cancel = &f->asker[2].q; /* by another that is told */
	f->asker[3].again = "a.1.test";      /* and one that asks again at once */
	gate(f, false);
	run(f, 3);
	assert_int_equal(f->asker[0].told, 1);
	assert_int_equal(f->asker[1].told, 0);
	assert_int_equal(f->asker[2].told, 0);
	assert_int_equal(f->asker[3].told, 2);
	assert_int_equal(f->calls, 1);
	assert_true(ask(f, 0, "a.1.test", &e)); /* one that was known */
	net_resolve_cancel(f->asker[0].q);
	ask_one(f, "a.1.test");
	assert_int_equal(f->asker[0].told, 2);
}

static void wait_inside(struct fix *f, int n)
{
	pthread_mutex_lock(&f->lock);
	while (f->inside < n)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

/* Nobody waits any more, the resolver goes on: what it finds is used by the next. */
static void an_abandoned_one_is_of_use(void **state)
{
	struct fix *f = *state;
	struct err e;

	opts(f, (struct resolve_opts){ 0 });
	gate(f, true);
	assert_true(ask(f, 0, "a.1.test", &e));
	wait_inside(f, 1);
	for (int i = 0; i < 3; i++) {
		net_resolve_cancel(f->asker[0].q);
		assert_true(ask(f, 0, "a.1.test", &e));
	}
	gate(f, false);
	run(f, 1);
	assert_int_equal(f->asker[0].n, 3);
	assert_int_equal(f->calls, 1);
}

/* All threads hang: an abandoned one that has not begun never does; asked for again, it does. */
static void one_that_has_not_begun(void **state)
{
	enum { THREADS = 32 };
	struct fix *f = *state;
	struct err e;
	char host[32];

	opts(f, (struct resolve_opts){ 0 });
	gate(f, true);
	for (size_t i = 0; i < THREADS; i++) {
		snprintf(host, sizeof(host), "a.%zu.test", i);
		assert_true(ask(f, i, host, &e));
	}
	wait_inside(f, THREADS);
	assert_true(ask(f, 100, "a.100.test", &e));
	assert_true(ask(f, 101, "a.101.test", &e));
	net_resolve_cancel(f->asker[100].q);
	net_resolve_cancel(f->asker[101].q);
	assert_true(ask(f, 101, "a.101.test", &e));
	gate(f, false);
	run(f, THREADS + 1);
	assert_int_equal(f->asker[101].n, 3);
	assert_int_equal(f->calls, THREADS + 1);
	assert_int_equal(f->asker[100].told, 0);
}

/* teardown() frees the loop while look-ups hang, wait in the queue, and answers are kept. */
static void a_loop_that_ends(void **state)
{
	struct fix *f = *state;
	struct err e;
	char host[32];

	opts(f, (struct resolve_opts){ 0 });
	ask_one(f, "a.200.test");
	gate(f, true);
	for (size_t i = 0; i < 50; i++) {
		snprintf(host, sizeof(host), "a.%zu.test", i);
		assert_true(ask(f, i, host, &e));
	}
	wait_inside(f, 32);
	for (size_t i = 0; i < 50; i++)
		net_resolve_cancel(f->asker[i].q);
}

static void by_the_system(void **state)
{
	struct fix *f = *state;

	ask_one(f, "localhost");
	if (f->asker[0].n == 0)
		fail_msg("%s", f->asker[0].why.msg);
	assert_true(addr_is_loopback(&f->asker[0].first));
	assert_int_equal(addr_port(&f->asker[0].first), 1000);
	/* A label of 64 bytes: no resolver asks the network for that. */
	ask_one(f, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid");
	assert_int_equal(f->asker[0].n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(waits_for_one_answer),
		T(answers_and_failures_are_kept),
		T(but_not_for_ever),
		T(nor_are_answers),
		T(shortages_are_told_as_such_and_not_kept),
		T(the_name_used_longest_ago_goes),
		T(more_than_there_is_room_for),
		T(so_many_at_a_time),
		T(cancelled_ones_are_not_told),
		T(an_abandoned_one_is_of_use),
		T(one_that_has_not_begun),
		T(a_loop_that_ends),
		T(by_the_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
