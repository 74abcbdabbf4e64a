/* Places and shares: who gets one, who waits, who is refused; from one thread and from many. */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/addr.h"
#include "proxy/limits.h"

static struct limits *limits(size_t total, size_t per_peer)
{
	struct limits_opts o = { total, per_peer };
	struct limits *l;
	struct err e;

	assert_int_equal(limits_new(&l, &o, &e), 0);
	return l;
}

static struct limits_listener *listener(struct limits *of, size_t most, size_t per_peer)
{
	struct limits_listener_opts o = { "test", most, per_peer };
	struct limits_listener *l;
	struct err e;

	assert_int_equal(limits_listener_new(&l, of, &o, &e), 0);
	return l;
}

static struct addr peer(const char *literal)
{
	struct addr a = { 0 };

	if (!addr_from_literal(literal, 1234, &a))
		fail_msg("%s", literal);
	return a;
}

/* True: it has a share. */
static bool share(struct limits_listener *l, const char *literal, struct limits_peer **out)
{
	struct addr a = peer(literal);
	struct err e = { 0 };

	if (limits_peer_take(l, &a, -1, out, &e) == 0)
		return true;
	assert_int_equal(e.code, ERR_LIMIT);
	assert_null(*out);
	return false;
}

static void total_is_of_all_listeners(void **state)
{
	struct limits *all = limits(3, 0);
	struct limits_listener *a = listener(all, 0, 0), *b = listener(all, 2, 0);

	(void)state;
	assert_true(limits_enter(b));
	assert_true(limits_enter(b));
	assert_false(limits_enter(b)); /* its own limit */
	assert_int_equal(limits_count(all).served, 2);
	assert_true(limits_enter(a));
	assert_false(limits_enter(a)); /* everybody's */
	limits_leave(b);
	assert_true(limits_enter(a));
	assert_false(limits_enter(b)); /* and what b had taken of its own is given back */
	limits_leave(a);
	assert_true(limits_enter(b));
	limits_leave(a);
	limits_leave(b);
	limits_leave(b);
	assert_int_equal(limits_count(all).served, 0);
	limits_listener_free(a);
	limits_listener_free(b);
	limits_free(all);
}

static void none_is_no_limit(void **state)
{
	struct limits *all = limits(0, 0);
	struct limits_listener *l = listener(all, 0, 0);
	struct limits_peer *p;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_true(limits_enter(l));
		assert_true(share(l, "192.0.2.1", &p));
		assert_null(p); /* nothing is counted, nothing allocated */
	}
	assert_true(limits_enter(NULL));
	limits_leave(NULL);
	limits_peer_give(NULL);
	limits_listener_free(l);
	limits_free(all);
}

static void a_peer_is_an_address_or_its_network(void **state)
{
	static const struct {
		const char *first, *second;
		bool same;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "2001:db8::1", "2001:db8::ffff:1", true }, /* one /64 */
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "::1", "127.0.0.1", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct limits *all = limits(0, 1);
		struct limits_listener *l = listener(all, 0, 0);
		struct limits_peer *a, *b;

		assert_true(share(l, cases[i].first, &a));
		if (share(l, cases[i].second, &b) == cases[i].same)
			fail_msg("%s and %s", cases[i].first, cases[i].second);
		limits_peer_give(a);
		limits_peer_give(b);
		assert_true(share(l, cases[i].first, &a)); /* after it has ended */
		limits_peer_give(a);
		limits_listener_free(l);
		limits_free(all);
	}
}

static void users_of_a_unix_socket_have_shares(void **state)
{
	struct limits *all = limits(0, 2);
	struct limits_listener *l = listener(all, 0, 0);
	struct limits_peer *p[5];
	struct addr a = { 0 };
	struct err e;

	(void)state;
	a.ss.ss_family = AF_UNIX;
	a.len = sizeof(a.ss.ss_family);
	assert_int_equal(limits_peer_take(l, &a, 1000, &p[0], &e), 0);
	assert_int_equal(limits_peer_take(l, &a, 1000, &p[1], &e), 0);
	assert_int_equal(limits_peer_take(l, &a, 1000, &p[2], &e), -1);
	assert_int_equal(limits_peer_take(l, &a, 0, &p[3], &e), 0);
	assert_int_equal(limits_peer_take(l, &a, -1, &p[4], &e), 0); /* not known */
	for (size_t i = 0; i < COUNT(p); i++)
		limits_peer_give(p[i]);
	limits_listener_free(l);
	limits_free(all);
}

static void a_listener_may_count_its_peers_alone(void **state)
{
	struct limits *all = limits(0, 1);
	struct limits_listener *own = listener(all, 0, 2), *x = listener(all, 0, 0),
			       *y = listener(all, 0, 0);
	struct limits_peer *p[5];

	(void)state;
	assert_true(share(own, "192.0.2.1", &p[0]));
	assert_true(share(own, "192.0.2.1", &p[1]));
	assert_false(share(own, "192.0.2.1", &p[2]));
	assert_true(share(x, "192.0.2.1", &p[3])); /* what it has at `own` does not count here */
	assert_false(share(y, "192.0.2.1", &p[4]));
	for (size_t i = 0; i < COUNT(p); i++)
		limits_peer_give(p[i]);
	limits_listener_free(own);
	limits_listener_free(x);
	limits_listener_free(y);
	limits_free(all);
}

static void many_peers(void **state)
{
	enum { N = 20000 };
	static struct limits_peer *p[N];
	struct limits *all = limits(0, 1);
	struct limits_listener *l = listener(all, 0, 0);
	char text[32];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
			assert_true(share(l, text, &p[i]));
		}
		for (size_t i = 0; i < N; i++) /* not in the order of their arrival */
			limits_peer_give(p[(i * 7919) % N]);
	}
	limits_listener_free(l);
	limits_free(all);
}

/* ---- threads ---- */

enum { THREADS = 8, ROUNDS = 20000, MOST = 5, SHARE = 3 };
static _Atomic size_t inside, shares, most_inside, most_shares, served;

static void note(_Atomic size_t *most, size_t now)
{
	size_t seen = atomic_load(most);

	while (now > seen && !atomic_compare_exchange_weak(most, &seen, now))
		;
}

static void *take_and_give(void *arg)
{
	struct limits_listener *l = arg;
	struct addr a = peer("192.0.2.9");

	for (int i = 0; i < ROUNDS; i++) {
		struct limits_peer *p;

		if (!limits_enter(l))
			continue;
		note(&most_inside, atomic_fetch_add(&inside, 1) + 1);
		if (limits_peer_take(l, &a, -1, &p, NULL) == 0) {
			note(&most_shares, atomic_fetch_add(&shares, 1) + 1);
			atomic_fetch_add(&served, 1);
			atomic_fetch_sub(&shares, 1);
			limits_peer_give(p);
		}
		atomic_fetch_sub(&inside, 1);
		limits_leave(l);
	}
	return NULL;
}

static void never_above_from_many_threads(void **state)
{
	struct limits *all = limits(MOST, SHARE);
	struct limits_listener *l[2] = { listener(all, 0, 0), listener(all, 0, 0) };
	pthread_t thread[THREADS];
	struct err e;

	(void)state;
	assert_int_equal(log_set_level("error", &e), 0); /* shortages come by the thousand here */
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, l[i % 2]), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_in_range(most_inside, 1, MOST);
	assert_in_range(most_shares, 1, SHARE);
	assert_true(served > 0);
	assert_int_equal(limits_count(all).served, 0);
	limits_listener_free(l[0]);
	limits_listener_free(l[1]);
	limits_free(all);
}

static void automatic_leaves_descriptors_for_the_rest(void **state)
{
	static const size_t given[] = { 0, 1, 16, 64, 256, 300, 1024, 20000, 65536, SIZE_MAX };

	(void)state;
	for (size_t i = 0; i < COUNT(given); i++) {
		size_t n = limits_auto(given[i]);

		assert_in_range(n, 1, 65536);
		if (given[i] >= 64)
			assert_true(2 * n + 16 <= given[i]);
	}
	assert_true(limits_auto(20000) >= 9500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(total_is_of_all_listeners),
		cmocka_unit_test(none_is_no_limit),
		cmocka_unit_test(a_peer_is_an_address_or_its_network),
		cmocka_unit_test(users_of_a_unix_socket_have_shares),
		cmocka_unit_test(a_listener_may_count_its_peers_alone),
		cmocka_unit_test(many_peers),
		cmocka_unit_test(never_above_from_many_threads),
		cmocka_unit_test(automatic_leaves_descriptors_for_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
