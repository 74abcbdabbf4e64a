/*
 * Each allocation that serves a client fails in turn: the client gets an
 * answer or its end, nothing stays behind, and the proxy can be closed.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/backend_impl.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "proxy/audit.h"
#include "proxy/handover.h"
#include "proxy/learn.h"
#include "proxy/learn_rules.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/mem_fail.h"
#include "tests/support/socks.h"
#include "tests/support/until.h"

static struct router *router;
static const struct router *the_router(void *arg)
{
	(void)arg;
	return router;
}

struct turn;

/* A backend without allocations: the far side is a socket pair that has already answered. */
struct near_backend {
	struct backend backend;
	struct loop *loop;
	const char *says; /* NULL: no connection */
	struct turn *turn;
	struct dial dial;
	struct loop_post post;
};

static void answer(void *arg)
{
	struct near_backend *b = arg;
	struct err why = { .code = ERR_REFUSED, .msg = "refused" };
	struct dialed d = { .address = "192.0.2.1:80", .session = "s-1" };
	int pair[2];

	if (b->says) {
		unix_pair(pair);
		assert_int_equal(write(pair[0], b->says, strlen(b->says)), strlen(b->says));
		close(pair[0]);
		d.stream = tcp_stream_new(b->loop, pair[1], &why);
	}
	b->dial.done(b->dial.arg, d.stream ? &d : NULL, &why);
}

static struct dial *dial(struct backend *backend, const struct dest *to, dialed_fn *done, void *arg,
			 struct err *e)
{
	struct near_backend *b = (struct near_backend *)(void *)backend;

	(void)to;
	(void)e;
	b->dial = (struct dial){ backend, done, arg };
	loop_post(b->loop, &b->post, answer, b);
	return &b->dial;
}

static void cancel(struct dial *d)
{
	loop_unpost(&((struct near_backend *)(void *)d->backend)->post);
}

static const struct backend_ops ops = { .dial = dial, .cancel = cancel };

static struct backend *the_backend(void *arg, const struct route *r, struct err *e)
{
	(void)r;
	(void)e;
	return arg;
}

/* ---- one client ---- */

struct turn {
	struct loop *loop;
	struct limits *limits;
	struct limits_listener *listener;
	struct proxy *proxy;
	struct proxy *other; /* to which `proxy` hands clients over; NULL: it serves them itself */
	struct loop_watch watch;
	struct loop_timer limit;
	int fd;
	char got[4096];
	size_t n;
	bool late, handed;
};

static void closed(void *arg)
{
	struct turn *t = arg;
	struct proxy *other = t->other;

	t->other = NULL;
	if (other)
		proxy_close(other, 0, closed, t);
	else
		loop_stop(t->loop);
}

static void arrived(void *arg)
{
	struct handover *h = arg;
	struct turn *t = h->to;

	t->handed = true;
	proxy_take_over(t->other, h);
}

static void hand_over(void *arg, struct handover *h)
{
	struct near_backend *near = arg;

	h->to = near->turn;
	loop_send(near->loop, &h->mail, arrived, h);
}

static void too_late(void *arg)
{
	struct turn *t = arg;

	t->late = true;
	loop_stop(t->loop);
}

static void readable(void *arg, unsigned ready)
{
	struct turn *t = arg;
	ssize_t n = recv(t->fd, t->got + t->n, sizeof(t->got) - t->n, MSG_DONTWAIT);

	(void)ready;
	if (n > 0) {
		t->n += (size_t)n;
		return;
	}
	watch_del(t->loop, &t->watch);
	proxy_close(t->proxy, 0, closed, t);
}

static const struct {
	const char *name, *says;
	size_t n;
	const char *server;
	const char *wants; /* when nothing fails; NULL: any answer */
	size_t wants_n;
} cases[] = {
#define T(bytes) bytes, sizeof(bytes) - 1
	{ "socks5", T("\5\1\0\5\1\0\3\6a.test\0\x50hello"), "welcome",
	  T("\5\0\5\0\0\1\0\0\0\0\0\0welcome") },
	{ "socks4a", T("\4\1\0\x50\0\0\0\1\0a.test\0"), "welcome", T("\0\x5a\0\0\0\0\0\0welcome") },
	{ "refused", T("\5\1\0\5\1\0\3\6a.test\0\x50"), NULL, T("\5\0\5\5\0\1\0\0\0\0\0\0") },
	{ "blocked", T("\5\1\0\5\1\0\3\6b.test\0\x50"), NULL, T("\5\0\5\2\0\1\0\0\0\0\0\0") },
	{ "connect", T("CONNECT a.test:80 HTTP/1.1\r\n\r\n"), "welcome",
	  T("HTTP/1.1 200 Connection established\r\n\r\nwelcome") },
	{ "get", T("GET http://a.test/ HTTP/1.1\r\nConnection: close\r\n\r\n"),
	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	  T("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok") },
	{ "get 1.0", T("GET http://a.test/ HTTP/1.0\r\n\r\n"),
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	  T("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok") },
	{ "upgrade",
	  T("GET http://a.test/ HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello"),
	  "HTTP/1.1 101 Yes\r\n\r\nwelcome",
	  T("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\n\r\nwelcome") },
	{ "blocked get", T("GET http://b.test/ HTTP/1.1\r\n\r\n"), NULL, NULL, 0 },
};

static int make_proxies(struct turn *t, struct proxy_opts *o, bool over, struct err *e)
{
	o->limits = t->listener;
	if (over && proxy_new(&t->other, o, e))
		return -1;
	o->hand_over = over ? hand_over : NULL;
	if (proxy_new(&t->proxy, o, e) == 0)
		return 0;
	if (over) {
		closed(t); /* the other one; then this stops the loop */
		loop_run(t->loop);
	}
	return -1;
}

/* False: the proxy could not even begin. over: by way of a proxy that does not have the route. */
static bool one_client(struct loop *loop, size_t i, bool over, struct turn *t)
{
	struct near_backend near = { .loop = loop, .says = cases[i].server, .turn = t };
	struct proxy_opts opts = { .loop = loop,
				   .listener = "test",
				   .router = the_router,
				   .backend = the_backend,
				   .arg = &near };
	struct limits_opts all = { .total = 4, .per_peer = 4 };
	struct limits_listener_opts here = { .name = "test", .per_peer = 2 };
	struct addr peer = { 0 };
	struct err e = { 0 };
	int pair[2];

	near.backend = (struct backend){ &ops, "near" };
	*t = (struct turn){ .loop = loop };
	if (limits_new(&t->limits, &all, &e) ||
	    limits_listener_new(&t->listener, t->limits, &here, &e) ||
	    make_proxies(t, &opts, over, &e)) {
		assert_int_equal(e.code, ERR_NOMEM);
		limits_listener_free(t->listener);
		limits_free(t->limits);
		return false;
	}
	peer.ss.ss_family = AF_UNIX;
	unix_pair(pair);
	t->fd = pair[0];
	assert_int_equal(write(t->fd, cases[i].says, cases[i].n), cases[i].n);
	shutdown(t->fd, SHUT_WR);
	if (watch_add(loop, &t->watch, t->fd, WATCH_READ, readable, t, &e)) {
		close(pair[1]);
		proxy_close(t->proxy, 0, closed, t);
	} else {
		assert_true(limits_enter(t->listener));
		proxy_accept(t->proxy, pair[1], &peer);
	}
	timer_arm(loop, &t->limit, TEST_LIMIT_MS, too_late, t);
	loop_run(loop);
	timer_disarm(loop, &t->limit);
	close(t->fd);
	assert_int_equal(limits_count(t->limits).served, 0);
	limits_listener_free(t->listener);
	limits_free(t->limits);
	return true;
}

static void stop_now(void *arg)
{
	loop_stop(arg);
}

/* A few empty turns: uv frees what was closed in a later one. */
static void settle(struct loop *loop)
{
	struct loop_post post = { .fn = NULL };

	for (int i = 0; i < 3; i++) {
		loop_post(loop, &post, stop_now, loop);
		loop_run(loop);
	}
}

struct left {
	size_t held, fds;
};

static bool is_left(void *arg)
{
	const struct left *l = arg;

	return mem_held <= l->held && fds_open() == l->fds;
}

/* The same where a look-up is still under way, for which nobody waits any more. */
static void settle_to(struct loop *loop, size_t held, size_t fds)
{
	struct left left = { held, fds };
	struct until u;

	settle(loop);
	if (is_left(&left))
		return;
	until_begin(&u, loop, TEST_LIMIT_MS, &left);
	until_so(&u, is_left);
	until_end(&u);
}

static void each_allocation_fails(void **state)
{
	static struct turn t;
	static const char rules[] = "block: [b.test]\n";
	struct router_opts r = { 0 };
	struct loop *loop;
	struct err e = { 0 };
	size_t held, fds;

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	assert_int_equal(router_new(&router, &r, &e), 0);
	assert_int_equal(router_add_yaml(router, rules, strlen(rules), "r", 0, NULL, NULL, &e), 0);
	for (size_t k = 0; k < 2 * COUNT(cases); k++) {
		size_t i = k / 2;

		one_client(loop, i, k % 2, &t); /* what the loop keeps for good is there now */
		settle(loop);
		held = mem_held;
		fds = fds_open();
		while (mem_fail_next()) {
			one_client(loop, i, k % 2, &t);
			settle(loop);
			if (t.late)
				fail_msg("%s: neither an answer nor an end", cases[i].name);
			if (mem_held > held)
				fail_msg("%s: %zu blocks more are held", cases[i].name,
					 mem_held - held);
			if (fds_open() != fds)
				fail_msg("%s: descriptors", cases[i].name);
		}
		/* The last turn was the one in which nothing failed. */
		if (cases[i].wants &&
		    (t.n != cases[i].wants_n || memcmp(t.got, cases[i].wants, t.n) != 0))
			fail_msg("%s: \"%.*s\"", cases[i].name, (int)t.n, t.got);
		if (t.handed != (k % 2 && !strstr(cases[i].name, "blocked")))
			fail_msg("%s: handed over or not", cases[i].name);
	}
	router_free(router);
	loop_free(loop);
}

/* ---- a UDP association ---- */

/* The client, all on one loop: asks by TCP, then sends to a literal, a name and a blocked host,
 * again and again until both answers are there or the association has ended. */
struct udp_turn {
	struct loop *loop;
	struct proxy *proxy;
	struct loop_watch tcp, udp, server;
	struct loop_timer again, limit;
	struct addr near, far;
	size_t got;
	uint8_t reply[12];
	bool literal, named, late;
};

static void udp_closed(void *arg)
{
	loop_stop(((struct udp_turn *)arg)->loop);
}

static void udp_too_late(void *arg)
{
	struct udp_turn *t = arg;

	t->late = true;
	loop_stop(t->loop);
}

static void udp_say(struct udp_turn *t, const char *host, const char *text)
{
	uint8_t out[100] = { 0, 0, 0, 3, (uint8_t)strlen(host) };
	size_t n = 5 + strlen(host);

	memcpy(out + 5, host, strlen(host));
	out[n++] = (uint8_t)(addr_port(&t->far) >> 8);
	out[n++] = (uint8_t)addr_port(&t->far);
	memcpy(out + n, text, strlen(text));
	(void)sendto(t->udp.fd, out, n + strlen(text), 0, (struct sockaddr *)&t->near.ss,
		     t->near.len);
}

static void udp_say_all(void *arg)
{
	struct udp_turn *t = arg;

	udp_say(t, "b.test", "blocked");
	udp_say(t, "127.0.0.1", "literal");
	udp_say(t, "localhost", "named");
	timer_arm(t->loop, &t->again, 5, udp_say_all, t);
}

static void tcp_readable(void *arg, unsigned ready)
{
	struct udp_turn *t = arg;
	ssize_t n = recv(t->tcp.fd, t->reply + t->got, sizeof(t->reply) - t->got, MSG_DONTWAIT);

	(void)ready;
	if (n > 0 && (t->got += (size_t)n) < sizeof(t->reply))
		return;
	if (n > 0 && t->reply[3] == 0) {
		addr_set_port(&t->near, (uint16_t)(t->reply[10] << 8 | t->reply[11]));
		udp_say_all(t);
		return;
	}
	if (n > 0)
		return; /* refused: its end follows */
	watch_del(t->loop, &t->tcp);
	timer_disarm(t->loop, &t->again);
	proxy_close(t->proxy, 0, udp_closed, t);
}

static void udp_readable(void *arg, unsigned ready)
{
	struct udp_turn *t = arg;
	char in[100];
	ssize_t n = recv(t->udp.fd, in, sizeof(in), MSG_DONTWAIT);

	(void)ready;
	t->literal |= n == 17 && memcmp(in + 10, "literal", 7) == 0;
	t->named |= n == 15 && memcmp(in + 10, "named", 5) == 0;
	if (t->literal && t->named)
		shutdown(t->tcp.fd, SHUT_WR);
}

static void echo(void *arg, unsigned ready)
{
	struct udp_turn *t = arg;
	struct addr from = { .len = sizeof(from.ss) };
	char in[100];
	ssize_t n = recvfrom(t->server.fd, in, sizeof(in), MSG_DONTWAIT,
			     (struct sockaddr *)&from.ss, &from.len);

	(void)ready;
	if (n > 0)
		(void)sendto(t->server.fd, in, (size_t)n, 0, (struct sockaddr *)&from.ss, from.len);
}

static int udp_here(struct addr *at)
{
	int fd = sock_cloexec(socket(AF_INET, SOCK_DGRAM, 0));

	assert_true(addr_from_literal("127.0.0.1", 0, at));
	assert_int_equal(bind(fd, (struct sockaddr *)&at->ss, at->len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at->ss, &at->len), 0);
	return fd;
}

static void one_association(struct loop *loop, struct udp_turn *t)
{
	struct proxy_opts opts = { .loop = loop, .listener = "test", .router = the_router };
	struct addr mine, peer;
	struct err e = { 0 };
	int pair[2], udp, server;

	*t = (struct udp_turn){ .loop = loop };
	if (proxy_new(&t->proxy, &opts, &e)) {
		assert_int_equal(e.code, ERR_NOMEM);
		return;
	}
	assert_true(addr_from_literal("127.0.0.1", 0, &t->near));
	peer = t->near;
	pair_open(pair);
	udp = udp_here(&mine);
	server = udp_here(&t->far);
	assert_int_equal(write(pair[0], "\5\1\0\5\3\0\1\0\0\0\0\0\0", 13), 13);
	if (watch_add(loop, &t->tcp, pair[0], WATCH_READ, tcp_readable, t, &e) ||
	    watch_add(loop, &t->udp, udp, WATCH_READ, udp_readable, t, &e) ||
	    watch_add(loop, &t->server, server, WATCH_READ, echo, t, &e)) {
		close(pair[1]);
		watch_del(loop, &t->tcp);
		proxy_close(t->proxy, 0, udp_closed, t);
	} else {
		proxy_accept(t->proxy, pair[1], &peer);
	}
	timer_arm(loop, &t->limit, TEST_LIMIT_MS, udp_too_late, t);
	loop_run(loop);
	timer_disarm(loop, &t->limit);
	timer_disarm(loop, &t->again);
	watch_del(loop, &t->tcp);
	watch_del(loop, &t->udp);
	watch_del(loop, &t->server);
	close(pair[0]);
	close(udp);
	close(server);
}

static void each_allocation_of_an_association_fails(void **state)
{
	static const char rules[] = "default: direct\nblock: [b.test]\n";
	static struct udp_turn t;
	struct router_opts r = { 0 };
	struct loop *loop;
	struct err e = { 0 };
	size_t held, fds, turns = 0;

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	assert_int_equal(router_new(&router, &r, &e), 0);
	assert_int_equal(router_add_yaml(router, rules, strlen(rules), "r", 0, NULL, NULL, &e), 0);
	one_association(loop, &t);
	assert_false(t.late);
	settle(loop);
	held = mem_held + 2; /* what the resolver remembers of the name */
	fds = fds_open();
	while (mem_fail_next()) {
		one_association(loop, &t);
		settle_to(loop, held, fds);
		if (t.late)
			fail_msg("allocation %zu: neither an answer nor an end", turns + 1);
		if (mem_held > held)
			fail_msg("allocation %zu: %zu blocks more are held", turns + 1,
				 mem_held - held);
		assert_int_equal(fds_open(), fds);
		turns++;
	}
	assert_true(t.literal && t.named);
	assert_true(turns > 10);
	router_free(router);
	loop_free(loop);
}

/* ---- --learn ---- */

static void learned(void **state)
{
	struct learn_taken t;
	struct learn *l;
	struct buf text;
	struct err e;

	(void)state;
	while (mem_fail_next()) {
		struct audit_record r = { .listener = "default", .port = 1 };

		buf_init(&text, LEARN_FILE_MAX);
		audit_text(&r.host, "a.test");
		audit_text(&r.rule, "b");
		audit_text(&r.route, "direct");
		if (learn_new(&l, &e) == 0) {
			learn_note(l, &r);
			if (learn_take(l, &t, &e) == 0) {
				if (learn_rules(&t, 0, &text, &e) != 0)
					assert_int_equal(e.code, ERR_NOMEM);
				learn_taken_free(&t);
			}
		}
		learn_free(l);
		audit_record_free(&r);
		buf_free(&text);
		assert_int_equal(mem_held, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_fails),
		cmocka_unit_test(each_allocation_of_an_association_fails),
		cmocka_unit_test(learned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
