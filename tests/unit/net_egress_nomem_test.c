/*
 * The way out through a proxy, when each allocation fails in turn: plain CONNECT, and TLS to the
 * proxy with its tunnel. A connection or an error, and nothing is left.
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/egress.h"
#include "net/http_connect.h"
#include "net/loop.h"
#include "tests/support/clients_peer.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/limit.h"
#include "tests/support/mem_fail.h"

static struct clients_peer peer;

struct turn {
	struct loop *l;
	struct egress *egress;
	struct loop_timer limit;
	struct loop_watch watch;
	bool late, echoed;
	int fd;
	struct err why;
};

static void too_long(void *arg)
{
	struct turn *t = arg;

	t->late = true;
	loop_stop(t->l);
}

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct turn *t = arg;

	(void)to;
	t->fd = fd;
	if (fd < 0)
		t->why = *why;
	loop_stop(t->l);
}

static void on_ready(void *arg, unsigned ready)
{
	struct turn *t = arg;
	char text[16] = "";

	(void)ready;
	/* a tunnel that ran out of memory has ended */
	t->echoed = recv(t->fd, text, sizeof(text), MSG_DONTWAIT) == 5 && !strcmp(text, "hello");
	loop_stop(t->l);
}

static void use(struct turn *t)
{
	assert_int_equal(send(t->fd, "hello", 5, MSG_NOSIGNAL), 5);
	if (watch_add(t->l, &t->watch, t->fd, WATCH_READ, on_ready, t, &t->why) != 0) {
		close(t->fd);
		return;
	}
	loop_run(t->l);
	watch_close(t->l, &t->watch); /* with its descriptor */
}

static void dial(struct turn *t, bool tls)
{
	char url[80], ca[80];
	struct egress_opts o = { .loop = t->l, .no_proxy = "a,b", .https_name = "HTTPS_PROXY" };
	struct egress_target target = { .tls = true,
					.host = "far.example",
					.port = 443,
					.ca_file = ca,
					.limit_ms = TEST_LIMIT_MS };

	snprintf(url, sizeof(url), "%s://user:pass@localhost:%u", tls ? "https" : "http",
		 tls ? peer.tls : peer.plain);
	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	o.https_proxy = url;
	t->egress = egress_new(&o, &t->why);
	if (!t->egress)
		return;
	t->fd = -1;
	if (egress_dial(t->l, t->egress, &target, on_dialed, t, &t->why))
		loop_run(t->l);
	if (t->fd >= 0)
		use(t);
	egress_free(t->egress);
}

static void each_allocation(bool tls)
{
	unsigned good = 0, bad = 0;

	while (mem_fail_next()) {
		struct turn t = { 0 };

		if (loop_new(&t.l, &t.why) == 0) {
			timer_arm(t.l, &t.limit, TEST_LIMIT_MS, too_long, &t);
			dial(&t, tls);
			timer_disarm(t.l, &t.limit);
			loop_free(t.l);
		}
		assert_false(t.late);
		assert_int_equal(mem_held, 0);
		good += t.echoed;
		bad += !t.echoed;
		assert_true(t.echoed || t.why.code == ERR_NOMEM || (tls && !t.why.code));
	}
	assert_true(good > 0 && bad > 5);
}

static void plain(void **state)
{
	(void)state;
	each_allocation(false);
}

static void by_tls(void **state)
{
	(void)state;
	each_allocation(true);
}

static void the_words(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct http_connect_proxy x;
		struct err e = { 0 };
		struct buf b;

		buf_init(&b, 4096);
		if (http_connect_parse("http://user:pass@p:1", "P", &x, &e) != 0 ||
		    http_connect_request(&b, &x, "far.example", 443, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		buf_free(&b);
		http_connect_free(&x);
		assert_int_equal(mem_held, 0);
	}
}

static int start_peer(void **state)
{
	(void)state;
	clients_peer_start(&peer);
	return 0;
}

static int stop_peer(void **state)
{
	(void)state;
	clients_peer_stop(&peer);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_words),
		cmocka_unit_test(plain),
		cmocka_unit_test(by_tls),
	};

	return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
