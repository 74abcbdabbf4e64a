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
#include "proxy/limits.h"
#include "proxy/proxy.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/mem_fail.h"

enum { LIMIT_MS = 10000 };

static struct router *router;
static const struct router *the_router(void *arg)
{
	(void)arg;
	return router;
}

/* A backend without allocations: the far side is a socket pair that has already answered. */
struct near_backend {
	struct backend backend;
	struct loop *loop;
	const char *says; /* NULL: no connection */
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
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
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
	struct loop_watch watch;
	struct loop_timer limit;
	int fd;
	char got[4096];
	size_t n;
	bool late;
};

static void closed(void *arg)
{
	loop_stop(((struct turn *)arg)->loop);
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

/* False: the proxy could not even begin. */
static bool one_client(struct loop *loop, size_t i, struct turn *t)
{
	struct near_backend near = { .loop = loop, .says = cases[i].server };
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
	    ((opts.limits = t->listener), proxy_new(&t->proxy, &opts, &e))) {
		assert_int_equal(e.code, ERR_NOMEM);
		limits_listener_free(t->listener);
		limits_free(t->limits);
		return false;
	}
	peer.ss.ss_family = AF_UNIX;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
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
	timer_arm(loop, &t->limit, LIMIT_MS, too_late, t);
	loop_run(loop);
	timer_disarm(loop, &t->limit);
	close(t->fd);
	assert_int_equal(limits_served(t->limits), 0);
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
	for (size_t i = 0; i < COUNT(cases); i++) {
		one_client(loop, i, &t); /* what the loop keeps for good is there now */
		settle(loop);
		held = mem_held;
		fds = fds_open();
		while (mem_fail_next()) {
			one_client(loop, i, &t);
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
	}
	router_free(router);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation_fails) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
