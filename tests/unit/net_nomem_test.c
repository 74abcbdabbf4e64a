/* Every allocation of net/ fails in turn: an error, and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/dialer.h"
#include "net/host_guard.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/resolve.h"
#include "net/tcp.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/mem_fail.h"
#include "tests/support/socks.h"

static void open_loop(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct loop *l = NULL;
		struct err e = { 0 };

		if (loop_new(&l, &e) != 0) {
			assert_null(l);
			assert_int_equal(e.code, ERR_NOMEM);
		}
		loop_free(l);
		assert_int_equal(mem_held, 0);
	}
}

struct fix {
	struct loop *l;
	bool relayed;
	int fd, calls;
};

static void accepted(void *arg, int fd, const struct addr *peer)
{
	(void)arg;
	(void)peer;
	close(fd);
}

static void listen_at(void **state)
{
	struct fix f = { .l = NULL };
	size_t fds;
	struct err e = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(loop_new(&f.l, &e), 0);
	assert_int_equal(addr_parse("127.0.0.1:0", &a, &e), 0);
	fds = fds_open();
	while (mem_fail_next()) {
		struct listen_socket *ls = listen_open(f.l, &a, accepted, &f, &e);

		if (!ls)
			assert_int_equal(e.code, ERR_NOMEM);
		listen_close(ls);
		assert_int_equal(fds_open(), fds);
	}
	loop_free(f.l);
	assert_int_equal(mem_held, 0);
}

/* A gate that is shut until somebody has stood before it. */
struct gated {
	struct loop *l;
	bool open, taken, late;
};

static bool gate_enter(void *arg)
{
	struct gated *g = arg;

	if (!g->open)
		loop_stop(g->l);
	return g->open;
}

static void gate_taken(void *arg, int fd, const struct addr *peer)
{
	struct gated *g = arg;

	(void)peer;
	close(fd);
	g->taken = true;
	loop_stop(g->l);
}

static void gate_late(void *arg)
{
	struct gated *g = arg;

	g->late = true;
	loop_stop(g->l);
}

static void a_pause_without_memory_goes_on_later(void **state)
{
	static const struct listen_gate gate = { .enter = gate_enter };
	struct loop_timer limit = { 0 };
	struct gated g = { .l = NULL };
	struct listen_socket *ls;
	struct err e = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(loop_new(&g.l, &e), 0);
	assert_int_equal(addr_parse("127.0.0.1:0", &a, &e), 0);
	ls = listen_open(g.l, &a, gate_taken, &g, &e);
	assert_non_null(ls);
	listen_set_gate(ls, &gate);
	timer_arm(g.l, &limit, TEST_LIMIT_MS, gate_late, &g);
	while (mem_fail_next()) {
		const struct addr *at = listen_addr(ls);
		int c = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(connect(c, (const struct sockaddr *)&at->ss, at->len), 0);
		g.open = g.taken = false;
		loop_run(g.l);
		g.open = true;
		listen_resume(ls);
		while (!g.taken && !g.late)
			loop_run(g.l);
		assert_false(g.late);
		close(c);
	}
	timer_disarm(g.l, &limit);
	listen_close(ls);
	loop_free(g.l);
	assert_int_equal(mem_held, 0);
}

static void dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct fix *f = arg;

	(void)to;
	f->calls++;
	if (fd >= 0)
		close(fd);
	else
		assert_int_equal(why->code, ERR_NOMEM);
	loop_stop(f->l);
}

static void dial(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	const struct net_dial_opts opts = { .limit_ms = TEST_LIMIT_MS };
	struct fix f = { .l = NULL };
	struct err e = { 0 };
	uint16_t port;
	int l = tcp_listen(&port, 100);
	size_t fds, i;

	(void)state;
	assert_int_equal(loop_new(&f.l, &e), 0);
	fds = fds_open();
	for (i = 0; i < 2; i++)
		while (mem_fail_next()) {
			f.calls = 0;
			if (net_dial(f.l, hosts[i], port, &opts, dialed, &f, &e)) {
				loop_run(f.l);
				assert_int_equal(f.calls, 1);
			} else {
				assert_int_equal(e.code, ERR_NOMEM);
			}
			assert_int_equal(fds_open(), fds);
		}
	loop_free(f.l);
	close(l);
	assert_int_equal(mem_held, 0);
}

static void resolved(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct fix *f = arg;

	(void)list;
	f->calls++;
	if (n == 0)
		assert_int_equal(why->code, ERR_NOMEM);
	loop_stop(f->l);
}

static int no_host(void *arg, const char *host, struct addr *list, size_t *n)
{
	(void)arg;
	(void)host;
	*n = addr_from_literal("192.0.2.1", 0, list);
	return 0;
}

/* Twice: looked up, and from what was kept. A loop of its own each time, which keeps nothing. */
static void resolve(void **state)
{
	struct resolve_opts opts = { .lookup = no_host };
	struct fix f = { .l = NULL };
	struct err e = { 0 };

	(void)state;
	while (mem_fail_next()) {
		if (loop_new(&f.l, &e) != 0)
			continue;
		if (resolve_set_opts(f.l, &opts, &e) != 0) {
			assert_int_equal(e.code, ERR_NOMEM);
			loop_free(f.l);
			continue;
		}
		for (int i = 1; i <= 2; i++) {
			f.calls = 0;
			if (net_resolve(f.l, "a.test", 80, resolved, &f, &e)) {
				loop_run(f.l);
				assert_int_equal(f.calls, 1);
			} else {
				assert_int_equal(e.code, ERR_NOMEM);
			}
		}
		loop_free(f.l);
		assert_int_equal(mem_held, 0);
	}
}

static void relayed(void *arg, const struct relay_result *r)
{
	struct fix *f = arg;

	(void)r;
	f->relayed = true;
	loop_stop(f->l);
}

static void closed(void *arg, const struct err *why)
{
	(void)why;
	loop_stop(((struct fix *)arg)->l);
}
static const struct stream_handler handler = { .closed = closed };

static void close_stream(struct fix *f, struct stream *s)
{
	if (!s)
		return;
	stream_attach(s, &handler, f);
	stream_close(s);
	loop_run(f->l);
}

/* The peers say something and end: what comes through is whole, or the tunnel breaks. */
static void relay(struct fix *f, bool generic)
{
	struct stream *client, *remote;
	struct err e;
	int a[2], b[2];

	pair_open(a);
	pair_open(b);
	assert_int_equal(send(a[0], "request", 7, 0), 7);
	shutdown(a[0], SHUT_WR);
	shutdown(b[0], SHUT_WR);
	client = tcp_stream_new(f->l, a[1], &e);
	remote = tcp_stream_new(f->l, b[1], &e);
	f->relayed = false;
	if (client && remote &&
	    (generic ? !!relay_start(client, remote, (const uint8_t *)"early", 5, relayed, f)
		     : !!net_relay_start(f->l, client, remote, (const uint8_t *)"early", 5, relayed,
					 f))) {
		while (!f->relayed)
			loop_run(f->l);
	} else {
		close_stream(f, client);
		close_stream(f, remote);
	}
	close(a[0]);
	close(b[0]);
}

static void relay_both_kinds(void **state)
{
	struct fix f = { .l = NULL };
	struct err e = { 0 };
	size_t fds;
	int generic;

	(void)state;
	assert_int_equal(loop_new(&f.l, &e), 0);
	fds = fds_open();
	for (generic = 0; generic < 2; generic++)
		while (mem_fail_next()) {
			relay(&f, generic);
			assert_int_equal(fds_open(), fds);
		}
	loop_free(f.l);
	assert_int_equal(mem_held, 0);
}

/* A far side that takes its time: what it did not take at once has to be kept. */
struct slow {
	struct fix f;
	struct loop_post post;
	struct loop_timer limit;
	int near, far;
	size_t came;
	bool late;
	enum err_code why;
};

enum { SLOW_BYTES = 150000 }; /* so many that the way for bulk is taken too */

static void slow_late(void *arg)
{
	struct slow *s = arg;

	s->late = true;
	loop_stop(s->f.l);
}

static void slow_ended(void *arg, const struct relay_result *r)
{
	struct slow *s = arg;

	s->f.relayed = true;
	s->why = r->why ? r->why->code : ERR_NONE;
	loop_stop(s->f.l);
}

static void slow_reads(void *arg)
{
	static uint8_t block[4096];
	struct slow *s = arg;
	ssize_t n = recv(s->far, block, sizeof(block), MSG_DONTWAIT);

	s->came += n > 0 ? (size_t)n : 0;
	if (s->came == SLOW_BYTES) {
		shutdown(s->near, SHUT_WR);
		shutdown(s->far, SHUT_WR);
	} else {
		loop_post(s->f.l, &s->post, slow_reads, s);
	}
}

static void slow_relay(struct slow *s)
{
	static const uint8_t bytes[SLOW_BYTES];
	struct stream *client, *remote;
	struct err e;
	int a[2], b[2];

	assert_int_equal(tcp_make_pair(a, &e), 0);
	assert_int_equal(tcp_make_pair(b, &e), 0);
	assert_int_equal(setsockopt(b[1], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)), 0);
	assert_int_equal(send(a[0], bytes, sizeof(bytes), 0), sizeof(bytes));
	s->near = a[0];
	s->far = b[0];
	client = tcp_stream_new(s->f.l, a[1], &e);
	remote = tcp_stream_new(s->f.l, b[1], &e);
	if (client && remote && net_relay_start(s->f.l, client, remote, NULL, 0, slow_ended, s)) {
		loop_post(s->f.l, &s->post, slow_reads, s);
		loop_run(s->f.l);
		assert_false(s->late);
		assert_true(s->came == SLOW_BYTES ? s->why == ERR_NONE : s->why == ERR_NOMEM);
	} else {
		close_stream(&s->f, client);
		close_stream(&s->f, remote);
	}
	loop_unpost(&s->post);
	close(a[0]);
	close(b[0]);
}

static void bytes_that_cannot_be_kept_end_the_tunnel(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct slow s = { .late = false };
		struct err e;

		if (loop_new(&s.f.l, &e) != 0)
			continue;
		timer_arm(s.f.l, &s.limit, TEST_LIMIT_MS, slow_late, &s);
		slow_relay(&s);
		timer_disarm(s.f.l, &s.limit);
		loop_free(s.f.l);
		assert_int_equal(mem_held, 0);
	}
}

/* Who does not know this host's addresses lets nobody through. */
static void guard(void **state)
{
	struct addr far, ours;
	struct loop *l;
	struct err e;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	assert_true(addr_from_literal("192.0.2.1", 80, &far));
	assert_true(addr_from_literal("127.0.0.1", 1080, &ours));
	while (mem_fail_next()) {
		struct host_guard *g = host_guard_new(l, &e);

		if (!g) {
			assert_int_equal(e.code, ERR_NOMEM);
			continue;
		}
		if (host_guard_listener(g, &ours, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		else
			assert_false(host_guard_allow_opened(g, &ours, &e));
		if (!host_guard_allow(g, &far, &e))
			assert_int_equal(e.code, ERR_DENIED);
		assert_false(host_guard_allow(g, &ours, &e));
		host_guard_free(g);
	}
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_loop),
		cmocka_unit_test(guard),
		cmocka_unit_test(listen_at),
		cmocka_unit_test(a_pause_without_memory_goes_on_later),
		cmocka_unit_test(dial),
		cmocka_unit_test(resolve),
		cmocka_unit_test(relay_both_kinds),
		cmocka_unit_test(bytes_that_cannot_be_kept_end_the_tunnel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
