/*
 * A real proxy on a real loop, in a thread of its own, against real sockets:
 * the test talks to it as client and as server. What goes to `proxy` meets a
 * fake backend that fails, waits or initialises as the test says.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/backend_impl.h"
#include "backend/direct.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "proxy/audit.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

/* ---- the fake backend ---- */

struct fake {
	struct backend backend;
	struct loop *loop;
	enum err_code code; /* of each dial */
	bool hang;          /* no answer at all */
	_Atomic bool first_init;
	_Atomic int dials, cancels, wakes;
};
struct fake_dial {
	struct dial dial;
	struct loop_post post;
};

static void fake_answer(void *arg)
{
	struct fake_dial *d = arg;
	struct fake *f = (struct fake *)(void *)d->dial.backend;
	struct err why;
	dialed_fn *done = d->dial.done;
	void *done_arg = d->dial.arg;

	err_set(&why, f->code, "as the test wants");
	mem_free(d);
	done(done_arg, NULL, &why);
}

static struct dial *fake_dial(struct backend *b, const struct dest *to, dialed_fn *done, void *arg,
			      struct err *e)
{
	struct fake *f = (struct fake *)(void *)b;
	struct fake_dial *d = mem_alloc(sizeof(*d));

	(void)to;
	(void)e;
	assert_non_null(d);
	d->dial = (struct dial){ b, done, arg };
	f->dials++;
	if (!f->hang)
		loop_post(f->loop, &d->post, fake_answer, d);
	return &d->dial;
}

static void fake_cancel(struct dial *dial)
{
	struct fake_dial *d = (struct fake_dial *)(void *)dial;
	struct fake *f = (struct fake *)(void *)dial->backend;

	loop_unpost(&d->post);
	mem_free(d);
	f->cancels++;
}

static bool fake_first_init(const struct backend *b)
{
	return ((const struct fake *)(const void *)b)->first_init;
}

static void fake_wake(struct backend *b)
{
	((struct fake *)(void *)b)->wakes++;
}

static const struct backend_ops fake_ops = {
	.dial = fake_dial,
	.cancel = fake_cancel,
	.first_init = fake_first_init,
	.wake = fake_wake,
};

/* ---- the proxy under test ---- */

static const char rules[] = "default: proxy\n"
			    "block: ['blocked.test']\n"
			    "direct: ['127.0.0.0/8', 'localhost']\n"
			    "proxy: ['named.test']\n"
			    "rules:\n"
			    "  - { match: why.test, route: block, reason: 'lab is closed' }\n"
			    "  - { match: back.test, route: proxy, fallback: direct }\n";

struct fixture {
	struct loop *loop;
	struct router *router;
	struct backend *direct;
	struct fake fake;
	struct proxy *proxy;
	struct audit *audit;
	struct listen_socket *listener;
	struct proxy_opts opts;
	struct loop_watch stop;
	int stop_pipe[2];
	unsigned grace_ms;
	pthread_t thread;
	struct addr addr;
	char audit_path[64];
	char text[64 * 1024]; /* of the audit log, after end() */
	size_t fds;
};

static const struct router *the_router(void *arg)
{
	return ((struct fixture *)arg)->router;
}

static struct backend *the_backend(void *arg, const struct route *r, struct err *e)
{
	struct fixture *f = arg;

	assert_int_not_equal(r->kind, ROUTE_BLOCK);
	if (r->kind == ROUTE_DIRECT)
		return f->direct;
	if (r->kind == ROUTE_PROXY && !r->profile[0])
		return &f->fake.backend;
	err_set(e, ERR_CONFIG, "proxy:%s is not configured", r->profile);
	return NULL;
}

static void accepted(void *arg, int fd, const struct addr *peer)
{
	struct fixture *f = arg;

	assert_true(limits_enter(f->opts.limits));
	proxy_accept(f->proxy, fd, peer);
}

static void all_closed(void *arg)
{
	loop_stop(((struct fixture *)arg)->loop);
}

static void proxy_closed(void *arg)
{
	struct fixture *f = arg;

	backend_close(f->direct, all_closed, f);
}

static void stop_now(void *arg, unsigned ready)
{
	struct fixture *f = arg;

	(void)ready;
	watch_del(f->loop, &f->stop);
	listen_close(f->listener);
	proxy_close(f->proxy, f->grace_ms, proxy_closed, f);
}

static void *run(void *arg)
{
	loop_run(((struct fixture *)arg)->loop);
	return NULL;
}

/* Zeroed but for opts and grace_ms. */
static void begin_at(struct fixture *f, const char *rule_text, const char *listen_text)
{
	struct direct_opts d = { 0 };
	struct router_opts r = { 0 };
	struct addr at;
	struct err e = { 0 };

	f->fds = fds_open();
	assert_int_equal(loop_new(&f->loop, &e), 0);
	assert_int_equal(router_new(&f->router, &r, &e), 0);
	if (router_add_yaml(f->router, rule_text, strlen(rule_text), "rules", 0, NULL, NULL, &e))
		fail_msg("%s", e.msg);
	d.loop = f->fake.loop = f->loop;
	f->direct = direct_backend_new(&d, &e);
	f->fake.backend = (struct backend){ &fake_ops, "fake" };
	snprintf(f->audit_path, sizeof(f->audit_path), "/tmp/awsocks-audit-%d-%p", getpid(),
		 (void *)f);
	assert_int_equal(audit_open(&f->audit,
				    &(struct audit_opts){ .path = f->audit_path,
							  .clock = loop_clock(f->loop) },
				    &e),
			 0);
	f->opts.loop = f->loop;
	f->opts.listener = "test";
	f->opts.router = the_router;
	f->opts.backend = the_backend;
	f->opts.arg = f;
	f->opts.audit = f->audit;
	assert_int_equal(proxy_new(&f->proxy, &f->opts, &e), 0);
	assert_int_equal(addr_parse(listen_text, &at, &e), 0);
	f->listener = listen_open(f->loop, &at, accepted, f, &e);
	if (!f->listener)
		fail_msg("%s", e.msg);
	f->addr = *listen_addr(f->listener);
	assert_int_equal(pipe(f->stop_pipe), 0);
	assert_int_equal(watch_add(f->loop, &f->stop, f->stop_pipe[0], WATCH_READ, stop_now, f, &e),
			 0);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void begin(struct fixture *f)
{
	begin_at(f, rules, "127.0.0.1:0");
}

static void end(struct fixture *f)
{
	struct stat st;
	FILE *file;
	size_t n;

	assert_int_equal(write(f->stop_pipe[1], "x", 1), 1);
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	close(f->stop_pipe[0]);
	close(f->stop_pipe[1]);
	audit_close(f->audit);
	router_free(f->router);
	loop_free(f->loop);
	file = fopen(f->audit_path, "r");
	assert_non_null(file);
	n = fread(f->text, 1, sizeof(f->text) - 1, file);
	f->text[n] = 0;
	fclose(file);
	assert_int_equal(stat(f->audit_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(f->audit_path);
	assert_int_equal(fds_open(), f->fds);
}

static int lines(const struct fixture *f)
{
	int n = 0;

	for (const char *p = f->text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static void audit_has(const struct fixture *f, const char *what)
{
	if (!strstr(f->text, what))
		fail_msg("not in the audit log: %s\n%s", what, f->text);
}

static void wait_for(_Atomic int *value, int want)
{
	for (int ms = 0; *value < want && ms < TEST_LIMIT_MS; ms++)
		poll(NULL, 0, 1);
	assert_int_equal(*value, want);
}

/* ---- sockets ---- */

static int client(const struct fixture *f)
{
	int fd = sock_cloexec(socket(f->addr.ss.ss_family, SOCK_STREAM, 0));
	struct timeval limit = { .tv_sec = TEST_LIMIT_MS / 1000 };

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->addr.ss, f->addr.len), 0);
	return fd;
}

static void put(int fd, const void *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void say(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

static void want(int fd, const void *p, size_t n)
{
	char got[8192];
	size_t at = 0;

	assert_true(n <= sizeof(got));
	while (at < n) {
		ssize_t k = recv(fd, got + at, n - at, 0);

		if (k <= 0)
			fail_msg("after %zu of %zu bytes: %s, wanted \"%.*s\", got \"%.*s\"", at, n,
				 k ? "error" : "end", (int)n, (const char *)p, (int)at, got);
		at += (size_t)k;
	}
	if (memcmp(got, p, n) != 0)
		fail_msg("wanted \"%.*s\", got \"%.*s\"", (int)n, (const char *)p, (int)n, got);
}

static void hear(int fd, const char *text)
{
	want(fd, text, strlen(text));
}

static void want_end(int fd)
{
	char c[100];
	ssize_t n = recv(fd, c, sizeof(c), 0);

	if (n != 0)
		fail_msg("wanted the end, got %zd: %.*s", n, (int)(n > 0 ? n : 0), c);
}

/* All until the peer's end, as text. */
static char *rest(int fd)
{
	static char all[128 * 1024];
	size_t n = 0;
	ssize_t k;

	while ((k = recv(fd, all + n, sizeof(all) - 1 - n, 0)) > 0)
		n += (size_t)k;
	all[n] = 0;
	if (k < 0)
		fail_msg("no end after: %s", all);
	return all;
}

/* To the peer's end, of which a reset is one form: it had ended before all that was sent had come.
 */
static void wait_over(int fd)
{
	char c[1000];
	ssize_t k;

	while ((k = recv(fd, c, sizeof(c), 0)) > 0)
		;
	assert_true(k == 0 || errno == ECONNRESET);
}

struct server {
	int fd;
	uint16_t port;
};

static struct server server(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	struct server s = { .fd = sock_cloexec(socket(AF_INET, SOCK_STREAM, 0)) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(s.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s.fd, 8), 0);
	assert_int_equal(getsockname(s.fd, (struct sockaddr *)&a, &len), 0);
	s.port = ntohs(a.sin_port);
	return s;
}

static int take(const struct server *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct timeval limit = { .tv_sec = TEST_LIMIT_MS / 1000 };
	int fd;

	assert_int_equal(poll(&p, 1, TEST_LIMIT_MS), 1);
	fd = accept(s->fd, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	return fd;
}

static bool untouched(const struct server *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

static size_t socks5(uint8_t *out, const char *name, uint16_t port)
{
	size_t n = strlen(name);

	memcpy(out, "\5\1\0\5\1\0\3", 7);
	out[7] = (uint8_t)n;
	memcpy(out + 8, name, n);
	out[8 + n] = (uint8_t)(port >> 8);
	out[9 + n] = (uint8_t)port;
	return 10 + n;
}

static const char granted5[] = "\5\0\5\0\0\1\0\0\0\0\0\0";

/* A SOCKS5 client that asks for name:port; greeting and request together. */
static int ask5(const struct fixture *f, const char *name, uint16_t port)
{
	uint8_t out[300];
	int fd = client(f);

	put(fd, out, socks5(out, name, port));
	return fd;
}

static void refused5(int fd, char reply)
{
	char bytes[12] = "\5\0\5\0\0\1\0\0\0\0\0\0";

	bytes[3] = reply;
	want(fd, bytes, 12);
	want_end(fd);
	close(fd);
}

/* ---- tunnels ---- */

static void echo_and_half_close(int c, int s)
{
	say(c, "ping");
	hear(s, "ping");
	say(s, "pong");
	hear(c, "pong");
	shutdown(c, SHUT_WR);
	want_end(s);
	say(s, "an answer after the end");
	hear(c, "an answer after the end");
	shutdown(s, SHUT_WR);
	want_end(c);
	close(c);
	close(s);
}

static void socks5_tunnel(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	uint8_t out[300];
	size_t n = socks5(out, "LocalHost.", s.port);
	char line[100];
	int c, r;

	(void)state;
	begin(&f);
	for (int single = 0; single < 2; single++) { /* whole, then byte by byte */
		c = client(&f);
		for (size_t i = 0; single && i < n; i++)
			put(c, out + i, 1);
		if (!single)
			put(c, out, n);
		want(c, granted5, 12);
		r = take(&s);
		echo_and_half_close(c, r);
	}
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 2);
	snprintf(line, sizeof(line), "\"proto\":\"socks5\",\"host\":\"localhost\",\"port\":%u",
		 s.port);
	audit_has(&f, line);
	audit_has(&f, "\"action\":\"allow\",\"route\":\"direct\"");
	audit_has(&f, "\"rule\":\"list direct (rules:3)\"");
	audit_has(&f, "\"bytes_up\":4,\"bytes_down\":27");
	snprintf(line, sizeof(line), "\"address\":\"127.0.0.1:%u\"", s.port);
	audit_has(&f, line);
}

static void server_ends_first(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	int c, r;

	(void)state;
	begin(&f);
	c = ask5(&f, "127.0.0.1", s.port);
	want(c, granted5, 12);
	r = take(&s);
	shutdown(r, SHUT_WR);
	want_end(c);
	say(c, "still heard");
	hear(r, "still heard");
	shutdown(c, SHUT_WR);
	want_end(r);
	close(c);
	close(r);
	end(&f);
	close(s.fd);
}

static void socks4_tunnels(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	uint8_t four[] = { 4, 1, 0, 0, 127, 0, 0, 1, 'm', 'e', 0 };
	uint8_t four_a[] = "\4\1pp\0\0\0\1me\0localhost"; /* its NUL included */
	int c;

	(void)state;
	begin(&f);
	four[2] = four_a[2] = (uint8_t)(s.port >> 8);
	four[3] = four_a[3] = (uint8_t)s.port;
	c = client(&f);
	put(c, four, sizeof(four));
	want(c, "\0\x5a\0\0\0\0\0\0", 8);
	echo_and_half_close(c, take(&s));
	c = client(&f);
	put(c, four_a, sizeof(four_a));
	want(c, "\0\x5a\0\0\0\0\0\0", 8);
	echo_and_half_close(c, take(&s));
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 2);
}

static void early_data(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	uint8_t out[400];
	char text[400];
	size_t n = socks5(out, "localhost", s.port);
	int c, r;

	(void)state;
	begin(&f);
	memcpy(out + n, "early", 5);
	c = client(&f);
	put(c, out, n + 5);
	want(c, granted5, 12);
	r = take(&s);
	hear(r, "early");
	echo_and_half_close(c, r);
	c = client(&f); /* and the client's end with it */
	put(c, out, n + 5);
	shutdown(c, SHUT_WR);
	want(c, granted5, 12);
	r = take(&s);
	hear(r, "early");
	want_end(r);
	say(r, "answer");
	close(r);
	hear(c, "answer");
	want_end(c);
	close(c);
	snprintf(text, sizeof(text),
		 "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n\x16\x03", s.port);
	c = client(&f);
	say(c, text);
	hear(c, "HTTP/1.1 200 Connection established\r\n\r\n");
	r = take(&s);
	hear(r, "\x16\x03");
	echo_and_half_close(c, r);
	end(&f);
	close(s.fd);
	audit_has(&f, "\"proto\":\"connect\"");
	audit_has(&f, "\"bytes_up\":9,\"bytes_down\":27");
}

/* ---- refusals ---- */

static void each_cause_has_its_answer(void **state)
{
	static const char reason[] = "X-Awsocks-Reason: named.test:80 by proxy: as the test "
				     "wants\r\n";
	static const char nomem[] = "X-Awsocks-Reason: named.test:80 by proxy: as the test "
				    "wants: out of memory\r\n";
	struct fixture f = { .opts.policy.fallback = POLICY_FALLBACK_OFF };
	char line[100];

	(void)state;
	begin(&f);
	for (int code = 1; code < ERR_CODE_COUNT; code++) {
		int c;

		f.fake.code = (enum err_code)code;
		refused5(ask5(&f, "named.test", 80), (char)err_socks_reply(f.fake.code));
		c = client(&f);
		put(c, "\4\1\0\x50\0\0\0\1\0named.test", 20);
		want(c, "\0\x5b\0\0\0\0\0\0", 8);
		want_end(c);
		close(c);
		for (int plain = 0; plain < 2; plain++) {
			char *text;

			c = client(&f);
			say(c, plain ? "GET http://named.test/ HTTP/1.0\r\n\r\n"
				     : "CONNECT named.test:80 HTTP/1.1\r\n\r\n");
			text = rest(c);
			close(c);
			snprintf(line, sizeof(line), "HTTP/1.1 %d ", err_http_status(f.fake.code));
			if (!strstr(text, line) && !(plain && strstr(text, "HTTP/1.1 5")))
				fail_msg("%s: %s", err_name(f.fake.code), text);
			assert_non_null(strstr(text, code == ERR_NOMEM ? nomem : reason));
			assert_non_null(strstr(text, "Connection: close\r\n"));
		}
	}
	end(&f);
	assert_int_equal(lines(&f), 4 * (ERR_CODE_COUNT - 1));
}

static void block(void **state)
{
	struct fixture f = { 0 };
	char *text;
	int c;

	(void)state;
	begin(&f);
	refused5(ask5(&f, "BLOCKED.test.", 80), 2);
	c = client(&f);
	say(c, "CONNECT why.test:443 HTTP/1.1\r\n\r\n");
	text = rest(c);
	close(c);
	assert_non_null(strstr(text, "HTTP/1.1 403 Forbidden\r\n"));
	assert_non_null(strstr(text, "X-Awsocks-Reason: blocked by rule \"why.test\" (rules:6): "
				     "lab is closed\r\n"));
	assert_non_null(strstr(text, "\r\n\r\nawsocks: blocked by rule"));
	c = client(&f);
	say(c, "GET http://blocked.test/x HTTP/1.1\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(rest(c), "HTTP/1.1 403 Forbidden\r\n"));
	close(c);
	end(&f);
	assert_int_equal(f.fake.dials, 0);
	assert_int_equal(lines(&f), 3);
	audit_has(&f, "\"host\":\"blocked.test\",\"port\":80,\"rule\":\"list block (rules:2)\","
		      "\"action\":\"block\",\"route\":\"block\"");
	audit_has(&f, "\"rule\":\"rules:6\",\"action\":\"block\"");
}

static void while_initializing(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	int c;

	(void)state;
	f.fake.hang = true;
	f.fake.first_init = true;
	begin_at(&f, "proxy: ['named.test', '127.0.0.2']\n", "127.0.0.1:0");
	c = ask5(&f, "127.0.0.1", s.port); /* came by default: goes direct */
	want(c, granted5, 12);
	echo_and_half_close(c, take(&s));
	assert_int_equal(f.fake.dials, 0);
	assert_true(f.fake.wakes > 0);
	c = ask5(&f, "127.0.0.2", s.port); /* named: waits */
	wait_for(&f.fake.dials, 1);
	assert_true(untouched(&s));
	want(c, "\5\0", 2); /* unread, it would make of the end a reset */
	close(c);
	wait_for(&f.fake.cancels, 1);
	f.fake.first_init = false; /* in any other state all wait */
	c = ask5(&f, "127.0.0.1", s.port);
	wait_for(&f.fake.dials, 2);
	assert_true(untouched(&s));
	close(c);
	wait_for(&f.fake.cancels, 2);
	end(&f);
	close(s.fd);
	audit_has(&f, "\"route\":\"direct\",\"bypass\":true");
	audit_has(&f, "the client went away before it was connected");
}

static void fallback(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	int c;

	(void)state;
	f.fake.code = ERR_HOSTUNREACH;
	begin_at(&f,
		 "proxy: ['127.0.0.2']\nrules: [{ match: 127.0.0.3, route: proxy, fallback: direct "
		 "}]\n",
		 "127.0.0.1:0");
	c = ask5(&f, "127.0.0.1", s.port);
	want(c, granted5, 12);
	echo_and_half_close(c, take(&s));
	refused5(ask5(&f, "127.0.0.2", s.port), 4); /* named: no fallback */
	f.fake.code = ERR_REFUSED;                  /* an answer, never a fallback */
	refused5(ask5(&f, "127.0.0.1", s.port), 5);
	f.fake.code = ERR_DIAL;
	refused5(ask5(&f, "127.0.0.1", s.port), 5);
	assert_true(untouched(&s));
	f.fake.code = ERR_RESOLVE;
	c = ask5(&f, "127.0.0.3", 1); /* falls back, and finds nobody there */
	refused5(c, 5);
	end(&f);
	close(s.fd);
	audit_has(&f, "\"route\":\"direct\",\"fallback\":true,\"address\":\"127.0.0.1:");
	audit_has(&f, "127.0.0.2");
}

static void guarded_never_goes_another_way(void **state)
{
	struct fixture f = { .opts.policy.guarded = true };
	struct server s = server();
	int c;

	(void)state;
	f.fake.code = ERR_HOSTUNREACH;
	begin_at(&f, "{}\n", "127.0.0.1:0");
	refused5(ask5(&f, "127.0.0.1", s.port), 4);
	f.fake.first_init = true;
	f.fake.hang = true;
	c = ask5(&f, "127.0.0.1", s.port);
	wait_for(&f.fake.dials, 2);
	assert_true(untouched(&s));
	close(c);
	wait_for(&f.fake.cancels, 1);
	end(&f);
	close(s.fd);
}

static bool nowhere(void *arg, const struct addr *to, struct err *e)
{
	(void)arg;
	(void)to;
	err_set(e, ERR_DENIED, "the host guard");
	return false;
}

static bool no_such_name(void *arg, const char *host, struct err *e)
{
	(void)arg;
	if (strcmp(host, "named.test") == 0)
		return true;
	(void)err_set(e, ERR_DENIED, "%s is refused", host);
	return false;
}

static void guard_is_asked(void **state)
{
	struct fixture f = { .opts.allow = nowhere, .opts.allow_name = no_such_name };
	struct server s = server();

	(void)state;
	f.fake.code = ERR_REFUSED;
	begin(&f);
	refused5(ask5(&f, "localhost", s.port), 2);
	assert_true(untouched(&s));
	refused5(ask5(&f, "10.1.2.3", 80), 2); /* to proxy, where nothing is resolved here */
	refused5(ask5(&f, "x.LOCALHOST", 80), 2);
	assert_int_equal(f.fake.dials, 0);
	refused5(ask5(&f, "named.test", 80), 5);
	assert_int_equal(f.fake.dials, 1);
	end(&f);
	assert_int_equal(lines(&f), 4);
	audit_has(&f, "\"action\":\"refuse\",\"route\":\"direct\"");
	audit_has(&f, "\"action\":\"refuse\",\"route\":\"proxy\"");
	close(s.fd);
}

/* A TLS hello for "localhost", in two records. */
static const char hello[] = "\x16\3\1\0\x10"
			    "\1\0\0\x3d\3\3"
			    "0123456789"
			    "\x16\3\1\0\x31"
			    "0123456789012345678901\0\0\2\x13\1\1\0"
			    "\0\x12\0\0\0\xe\0\xc\0\0\x9localhost";

static void hello_is_checked(void **state)
{
	struct fixture f = { .opts = { .check_sni = true, .handshake_ms = TEST_LIMIT_MS } };
	struct server s = server();
	size_t n = sizeof(hello) - 1;
	char evil[sizeof(hello)];
	int c, far;

	(void)state;
	begin(&f);
	for (size_t cut = 0; cut <= n; cut += 7) {
		c = ask5(&f, "LocalHost.", s.port);
		want(c, granted5, 12);
		far = take(&s);
		put(c, hello, cut);
		if (cut > 5 && cut < n)
			assert_int_equal(recv(far, evil, 1, MSG_DONTWAIT), -1);
		put(c, hello + cut, n - cut);
		put(c, "more", 4);
		want(far, hello, n);
		want(far, "more", 4);
		put(far, "yes", 3);
		want(c, "yes", 3);
		close(c);
		close(far);
	}
	memcpy(evil, hello, sizeof(hello));
	evil[n - 1] = 'x';
	for (int i = 0; i < 3; i++) {
		c = ask5(&f, "localhost", s.port);
		want(c, granted5, 12);
		far = take(&s);
		switch (i) {
		case 0: put(c, evil, n); break;
		case 1: put(c, "SSH-2.0-x\r\n", 11); break;
		case 2: put(c, hello, 9), shutdown(c, SHUT_WR); break;
		}
		assert_int_equal(recv(far, evil + n, 1, 0) > 0, 0);
		assert_int_equal(recv(c, evil + n, 1, 0) > 0, 0);
		close(c);
		close(far);
	}
	end(&f);
	audit_has(&f, "check-sni: the TLS hello names localhosx, not localhost\"");
	audit_has(&f, "check-sni: not TLS: no handshake record");
	audit_has(&f, "check-sni: the client ended within its TLS hello");
	close(s.fd);
}

static void hello_that_does_not_end(void **state)
{
	/* time enough to ask, on a machine that stalls */
	struct fixture f = { .opts = { .check_sni = true, .handshake_ms = 1500 } };
	struct server s = server();
	int c, far;

	(void)state;
	begin(&f);
	c = ask5(&f, "localhost", s.port);
	want(c, granted5, 12);
	far = take(&s);
	put(c, hello, sizeof(hello) - 2); /* and no more */
	assert_int_equal(recv(far, &(char){ 0 }, 1, 0) > 0, 0);
	assert_int_equal(recv(c, &(char){ 0 }, 1, 0) > 0, 0);
	close(c);
	close(far);
	end(&f);
	audit_has(&f, "check-sni: no whole TLS hello within 1500 ms");
	close(s.fd);
}

static void unknown_profile(void **state)
{
	struct fixture f = { 0 };
	char *text;
	int c;

	(void)state;
	begin_at(&f, "default: proxy:nobody\n", "127.0.0.1:0");
	c = client(&f);
	say(c, "CONNECT a.test:80 HTTP/1.1\r\n\r\n");
	text = rest(c);
	assert_non_null(strstr(text, "HTTP/1.1 500 "));
	assert_non_null(strstr(text, "proxy:nobody"));
	close(c);
	end(&f);
}

static void slow_clients(void **state)
{
	/* long enough that all have said their part before, on a machine that stalls */
	struct fixture f = { .opts.handshake_ms = 1500 };
	int a, b, c, d, g;

	(void)state;
	begin(&f);
	a = client(&f); /* says nothing */
	b = client(&f);
	put(b, "\5", 1);
	c = client(&f);
	put(c, "\5\1\0\5\1", 5);
	d = client(&f);
	say(d, "GET http://a.t");
	g = client(&f);
	put(g, "\4\1", 2);
	want_end(a);
	want(b, "\5\xff", 2);
	want_end(b);
	want(c, "\5\0\5\6\0\1\0\0\0\0\0\0", 12);
	want_end(c);
	hear(d, "HTTP/1.1 408 Request Timeout\r\n");
	rest(d);
	want(g, "\0\x5b\0\0\0\0\0\0", 8);
	want_end(g);
	close(a);
	close(b);
	close(c);
	close(d);
	close(g);
	end(&f);
	assert_int_equal(lines(&f), 4);
	audit_has(&f, "\"action\":\"refuse\"");
	audit_has(&f, "no whole request within 1500 ms");
}

/* Of two tunnels the one that nobody uses is broken, whatever there was before. */
static void still_tunnels(void **state)
{
	struct fixture f = { .opts.still_ms = 3000 };
	struct server s = server();
	int still, used, far_still, far_used;
	ssize_t n = -1;
	char byte;

	(void)state;
	begin(&f);
	still = ask5(&f, "localhost", s.port);
	want(still, granted5, 12);
	far_still = take(&s);
	used = ask5(&f, "localhost", s.port);
	want(used, granted5, 12);
	far_used = take(&s);
	put(still, "x", 1);
	want(far_still, "x", 1);
	for (int i = 0; i < TEST_LIMIT_MS / 5; i++) {
		n = recv(still, &byte, 1, MSG_DONTWAIT);
		if (n >= 0 || errno != EAGAIN)
			break;
		put(used, "y", 1);
		want(far_used, "y", 1);
		poll(NULL, 0, 5);
	}
	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	put(used, "z", 1);
	want(far_used, "z", 1);
	close(still);
	close(far_still);
	close(used);
	close(far_used);
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 2);
	audit_has(&f, "\"error\":\"nothing moved for longer than the idle limit\"");
}

#define T(bytes) bytes, sizeof(bytes) - 1
static const struct {
	const char *name, *in;
	size_t n;
	const char *out;
	size_t out_n;
} malformed[] = {
	{ "no method", T("\5\1\2"), T("\5\xff") },
	{ "no methods", T("\5\0"), T("\5\xff") },
	{ "empty name", T("\5\1\0\5\1\0\3\0\0\x50"), T("\5\0\5\1\0\1\0\0\0\0\0\0") },
	{ "NUL in the name", T("\5\1\0\5\1\0\3\3a\0b\0\x50"), T("\5\0\5\1\0\1\0\0\0\0\0\0") },
	{ "port 0", T("\5\1\0\5\1\0\3\1a\0\0"), T("\5\0\5\1\0\1\0\0\0\0\0\0") },
	{ "bind", T("\5\1\0\5\2\0\3\1a\0\x50"), T("\5\0\5\7\0\1\0\0\0\0\0\0") },
	{ "udp", T("\5\1\0\5\3\0\3\1a\0\x50"), T("\5\0\5\7\0\1\0\0\0\0\0\0") },
	{ "type", T("\5\1\0\5\1\0\2\1a\0\x50"), T("\5\0\5\x8\0\1\0\0\0\0\0\0") },
	{ "version inside", T("\5\1\0\4\1\0\3\1a\0\x50"), T("\5\0\5\1\0\1\0\0\0\0\0\0") },
	{ "percent", T("\5\1\0\5\1\0\3\4a%2e\0\x50"), T("\5\0\5\1\0\1\0\0\0\0\0\0") },
	{ "4a empty", T("\4\1\0\x50\0\0\0\1\0\0"), T("\0\x5b\0\0\0\0\0\0") },
	{ "4 bind", T("\4\2\0\x50\1\2\3\4\0"), T("\0\x5b\0\0\0\0\0\0") },
	{ "4a NUL", T("\4\1\0\x50\0\0\0\1u\0\xff\xfe\0"), T("\0\x5b\0\0\0\0\0\0") },
	{ "tls", T("\x16\3\1\2\0\1\0"), T("HTTP/1.1 400 ") },
	{ "0.9", T("GET /\r\n"), T("HTTP/1.1 400 ") },
	{ "http2", T("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), T("HTTP/1.1 501 ") },
	{ "origin form", T("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "asterisk", T("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
	  T("HTTP/1.1 400 ") },
	{ "https", T("GET https://a/ HTTP/1.1\r\nConnection: close\r\n\r\n"), T("HTTP/1.1 501 ") },
	{ "ftp", T("GET ftp://a/ HTTP/1.1\r\nConnection: close\r\n\r\n"), T("HTTP/1.1 501 ") },
	{ "user", T("GET http://u:p@a/ HTTP/1.1\r\nConnection: close\r\n\r\n"),
	  T("HTTP/1.1 400 ") },
	{ "no host", T("GET http:///x HTTP/1.1\r\nConnection: close\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "port", T("GET http://a:b/ HTTP/1.1\r\nConnection: close\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "port 65536", T("CONNECT a:65536 HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect port 0", T("CONNECT a:0 HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect no port", T("CONNECT a HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect url", T("CONNECT http://a:80/ HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect user", T("CONNECT u@a:80 HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect empty", T("CONNECT :80 HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect v6", T("CONNECT [x]:80 HTTP/1.1\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "connect body", T("CONNECT a:80 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
	  T("HTTP/1.1 400 ") },
	{ "both",
	  T("POST http://a/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
	    "\r\n0\r\n\r\n"),
	  T("HTTP/1.1 400 ") },
	{ "two lengths",
	  T("POST http://a/ HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
	  T("HTTP/1.1 400 ") },
	{ "bare LF", T("GET http://a/ HTTP/1.1\nHost: a\n\n"), T("HTTP/1.1 400 ") },
	{ "folded", T("GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "NUL", T("GET http://a/ HTTP/1.1\r\nA: \0\r\n\r\n"), T("HTTP/1.1 400 ") },
	{ "gzip", T("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
	  T("HTTP/1.1 501 ") },
};

static void malformed_input(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	begin(&f);
	for (size_t i = 0; i < COUNT(malformed); i++) {
		for (int single = 0; single < 2; single++) {
			int c = client(&f);
			ssize_t sent = 1;

			/* Byte by byte the refusal may come before the last one. */
			for (size_t k = 0; single && k < malformed[i].n && sent == 1; k++)
				sent = send(c, malformed[i].in + k, 1, MSG_NOSIGNAL);
			if (!single)
				put(c, malformed[i].in, malformed[i].n);
			print_message("%s\n", malformed[i].name);
			want(c, malformed[i].out, malformed[i].out_n);
			if (single)
				wait_over(c);
			else
				rest(c);
			close(c);
		}
	}
	end(&f);
	assert_int_equal(f.fake.dials, 0);
	assert_int_equal(lines(&f), 2 * COUNT(malformed));
}

static void cut_anywhere(void **state)
{
	static const struct {
		const char *in;
		size_t n;
	} whole[] = { { T("\5\1\0\5\1\0\3\12named.test\0\x50") },
		      { T("\4\1\0\x50\0\0\0\1me\0named.test\0") },
		      { T("GET http://named.test/ HTTP/1.1\r\nA: b\r\n\r\n") } };
	struct fixture f = { 0 };

	(void)state;
	f.fake.code = ERR_REFUSED;
	begin(&f);
	for (size_t i = 0; i < COUNT(whole); i++) {
		for (size_t n = 0; n < whole[i].n; n++) {
			int c = client(&f);

			put(c, whole[i].in, n);
			shutdown(c, SHUT_WR);
			rest(c); /* at most the answer to the greeting; never a hang */
			close(c);
		}
	}
	end(&f);
	assert_int_equal(f.fake.dials, 0);
}

static void head_too_large(void **state)
{
	struct fixture f = { 0 };
	char big[1024];
	int c;

	(void)state;
	memset(big, 'a', sizeof(big));
	begin(&f);
	c = client(&f);
	say(c, "GET http://a/ HTTP/1.1\r\n");
	for (int i = 0; i < 66; i++)
		if (send(c, big, sizeof(big), MSG_NOSIGNAL) < 0)
			break;
	hear(c, "HTTP/1.1 431 ");
	close(c);
	end(&f);
}

/* ---- plain HTTP ---- */

static int get(const struct fixture *f, const struct server *s, const char *fields)
{
	char text[1000];
	int c = client(f);

	snprintf(text, sizeof(text), "GET http://127.0.0.1:%u/p?q HTTP/1.1\r\n%s\r\n", s->port,
		 fields);
	say(c, text);
	return c;
}

/* What the server gets of it. */
static void wants_get(int r, const struct server *s, const char *fields)
{
	char text[1000];

	snprintf(text, sizeof(text), "GET /p?q HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n", s->port,
		 fields);
	hear(r, text);
}

static void routed_anew(void **state)
{
	struct fixture f = { 0 };
	struct server s = server(), s2 = server();
	char text[200];
	int c, r, r2;

	(void)state;
	begin(&f);
	c = get(&f, &s,
		"Host: lies\r\nProxy-Connection: keep-alive\r\nA: b\r\nX-Hop: 1\r\n"
		"Connection: x-hop, keep-alive, content-length, a-not\r\nTE: trailers\r\n"
		"Proxy-Authorization: Basic xyz\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n");
	r = take(&s);
	wants_get(r, &s, "A: b\r\n");
	say(r, "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: keep-alive, x-r\r\nX-R: "
	       "1\r\nKeep-Alive: timeout=5\r\n\r\nok");
	hear(c, "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
	snprintf(text, sizeof(text), "GET http://127.0.0.1:%u/2 HTTP/1.1\r\n\r\n", s.port);
	say(c, text); /* the same host: the same connection */
	snprintf(text, sizeof(text), "GET /2 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", s.port);
	hear(r, text);
	say(r, "HTTP/1.1 204 None\r\n\r\n");
	hear(c, "HTTP/1.1 204 None\r\n\r\n");
	say(c, "GET http://blocked.test/ HTTP/1.1\r\n\r\n");
	hear(c, "HTTP/1.1 403 Forbidden\r\n");
	for (char last[4] = ""; memcmp(last, "))\n", 3) != 0;) { /* "... (rules:2))\n" */
		memmove(last, last + 1, 2);
		assert_int_equal(recv(c, last + 2, 1, 0), 1);
	}
	assert_int_equal(f.fake.dials, 0);
	want_end(r); /* let go: another host came between */
	close(r);
	snprintf(text, sizeof(text), "GET http://127.0.0.1:%u HTTP/1.1\r\n\r\n", s2.port);
	say(c, text); /* the client's connection goes on */
	r2 = take(&s2);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", s2.port);
	hear(r2, text);
	say(r2, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
	close(r2);
	hear(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
	want_end(c);
	close(c);
	assert_true(untouched(&s));
	end(&f);
	close(s.fd);
	close(s2.fd);
	assert_int_equal(lines(&f), 4);
	audit_has(&f, "\"proto\":\"http\",\"host\":\"blocked.test\",\"port\":80");
}

static void bodies(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	char text[400];
	int c, r;

	(void)state;
	begin(&f);
	c = client(&f);
	snprintf(
		text, sizeof(text),
		"POST http://127.0.0.1:%u/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n"
		"Expect: 100-continue\r\n\r\n",
		s.port);
	say(c, text);
	r = take(&s);
	snprintf(text, sizeof(text),
		 "POST / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nTrailer: T\r\nExpect: 100-continue\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n",
		 s.port);
	hear(r, text);
	say(r, "HTTP/1.1 100 Continue\r\n\r\n");
	hear(c, "HTTP/1.1 100 Continue\r\n\r\n");
	say(c, "5;x=y\r\nhel");
	hear(r, "5;x=y\r\nhel");
	say(c, "lo\r\n0\r\nT: v\r\n\r\n");
	hear(r, "lo\r\n0\r\nT: v\r\n\r\n");
	say(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	hear(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	say(r, "0\r\n\r\n");
	hear(c, "0\r\n\r\n");
	snprintf(text, sizeof(text),
		 "PUT http://127.0.0.1:%u/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloHEAD "
		 "http://127.0.0.1:%u/ HTTP/1.1\r\nConnection: close\r\n\r\n",
		 s.port, s.port); /* pipelined */
	say(c, text);
	snprintf(text, sizeof(text),
		 "PUT / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: 5\r\n\r\nhello", s.port);
	hear(r, text);
	say(r, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n");
	hear(c, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n");
	snprintf(text, sizeof(text), "HEAD / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", s.port);
	hear(r, text);
	say(r, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
	hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n");
	want_end(c);
	close(c);
	close(r);
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 3);
}

static void http_1_0(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	char text[200];
	int c, r;

	(void)state;
	begin(&f);
	c = client(&f);
	snprintf(text, sizeof(text),
		 "GET http://127.0.0.1:%u/p?q HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", s.port);
	say(c, text);
	r = take(&s);
	wants_get(r, &s, "");
	say(r, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
	hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx");
	say(c, text);
	wants_get(r, &s, "");
	say(r,
	    "HTTP/1.1 100 Continue\r\n\r\n" /* not for a 1.0 client */
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
	hear(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd");
	want_end(c);
	close(c);
	close(r);
	end(&f);
	close(s.fd);
}

static void upgrade(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	int c, r;

	(void)state;
	begin(&f);
	c = get(&f, &s, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
	r = take(&s);
	wants_get(r, &s, "Upgrade: websocket\r\nConnection: upgrade\r\n");
	say(r, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
	hear(c, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello");
	echo_and_half_close(c, r);
	c = get(&f, &s, ""); /* unasked */
	r = take(&s);
	wants_get(r, &s, "");
	say(r, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
	hear(c, "HTTP/1.1 502 ");
	close(c);
	close(r);
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 2);
}

static void servers_that_fail(void **state)
{
	static const struct {
		const char *name, *says, *heard;
	} cases[] = {
		{ "nothing", "", "HTTP/1.1 502 " },
		{ "half a head", "HTTP/1.1 200 OK\r\nA:", "HTTP/1.1 502 " },
		{ "not HTTP", "SSH-2.0-x\r\n", "HTTP/1.1 502 " },
		{ "two lengths",
		  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		  "HTTP/1.1 502 " },
		{ "short body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
		  "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" },
		{ "bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
	};
	struct fixture f = { 0 };
	struct server s = server();
	char byte[100];

	(void)state;
	begin(&f);
	for (size_t i = 0; i < COUNT(cases); i++) {
		int c = get(&f, &s, ""), r = take(&s);

		print_message("%s\n", cases[i].name);
		wants_get(r, &s, "");
		say(r, cases[i].says);
		close(r);
		if (i != 5) /* the break may overtake the head there */
			hear(c, cases[i].heard);
		if (i >= 4) /* cut, and it looks cut */
			while (recv(c, byte, sizeof(byte), 0) > 0)
				;
		close(c);
	}
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), COUNT(cases));
	audit_has(&f, "within its answer");
}

static void again_on_a_new_connection(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	struct linger rst = { .l_onoff = 1 };
	char text[200];
	int c, r;

	(void)state;
	begin(&f);
	c = get(&f, &s, "");
	r = take(&s);
	wants_get(r, &s, "");
	say(r, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
	hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
	snprintf(text, sizeof(text), "GET http://127.0.0.1:%u/p?q HTTP/1.1\r\n\r\n", s.port);
	say(c, text);
	wants_get(r, &s, "");
	assert_int_equal(setsockopt(r, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst)), 0);
	close(r); /* unanswered */
	r = take(&s);
	wants_get(r, &s, "");
	say(r, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny");
	hear(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny");
	snprintf(text, sizeof(text),
		 "POST http://127.0.0.1:%u/ HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", s.port);
	say(c, text); /* may not be sent twice */
	snprintf(text, sizeof(text),
		 "POST / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: 1\r\n\r\nx", s.port);
	hear(r, text);
	close(r);
	hear(c, "HTTP/1.1 502 ");
	close(c);
	assert_true(untouched(&s));
	end(&f);
	close(s.fd);
	assert_int_equal(lines(&f), 3);
}

static void many_pipelined_refusals(void **state)
{
	static const char one[] = "GET http://blocked.test/ HTTP/1.1\r\n\r\n";
	enum { N = 1500 };
	struct fixture f = { 0 };
	char *all = mem_alloc(N * sizeof(one)), *p = all;
	int c, seen = 0;
	char got[4096];
	ssize_t n;

	(void)state;
	begin(&f);
	c = client(&f);
	for (int i = 0; i < N; i++, p += sizeof(one) - 1)
		memcpy(p, one, sizeof(one));
	say(c, all);
	shutdown(c, SHUT_WR);
	while ((n = recv(c, got, sizeof(got), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			seen += got[i] == '\x0a';
	close(c);
	mem_free(all);
	assert_true(seen > N);
	end(&f);
}

struct flood {
	int fd;
	size_t n;
};

static void *flood(void *arg)
{
	struct flood *w = arg;
	static const char zeroes[16 * 1024];

	for (size_t sent = 0; sent < w->n;) {
		size_t piece = w->n - sent < sizeof(zeroes) ? w->n - sent : sizeof(zeroes);
		ssize_t k = send(w->fd, zeroes, piece, MSG_NOSIGNAL);

		if (k <= 0)
			break;
		sent += (size_t)k;
	}
	return NULL;
}

static size_t drain(int fd, size_t most)
{
	static char sink[64 * 1024];
	size_t n = 0;
	ssize_t k;

	while (n < most && (k = recv(fd, sink, sizeof(sink), 0)) > 0)
		n += (size_t)k;
	return n;
}

static void large_bodies(void **state)
{
	enum { N = 8 * 1024 * 1024 };
	struct fixture f = { 0 };
	struct server s = server();
	struct flood w = { .n = N };
	char text[200];
	pthread_t t;
	int c, r;

	(void)state;
	begin(&f);
	c = client(&f);
	snprintf(text, sizeof(text),
		 "PUT http://127.0.0.1:%u/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n", s.port, N);
	say(c, text);
	r = take(&s);
	w.fd = c;
	assert_int_equal(pthread_create(&t, NULL, flood, &w), 0);
	snprintf(text, sizeof(text),
		 "PUT / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: %d\r\n\r\n", s.port, N);
	hear(r, text);
	assert_int_equal(drain(r, N), N);
	pthread_join(t, NULL);
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", N);
	say(r, text);
	w.fd = r;
	assert_int_equal(pthread_create(&t, NULL, flood, &w), 0);
	hear(c, text);
	assert_int_equal(drain(c, N), N);
	pthread_join(t, NULL);
	close(c);
	close(r);
	end(&f);
	close(s.fd);
}

/* ---- the proxy's own end ---- */

static void stops(void **state)
{
	struct fixture f = { .grace_ms = 50 };
	struct server s = server();
	char byte;
	int relay, idle, waiting, exchange, r, r2;

	(void)state;
	f.fake.hang = true;
	begin(&f);
	relay = ask5(&f, "localhost", s.port);
	want(relay, granted5, 12);
	r = take(&s);
	idle = client(&f);
	put(idle, "\5", 1);
	waiting = ask5(&f, "named.test", 80);
	wait_for(&f.fake.dials, 1);
	exchange = get(&f, &s, "");
	r2 = take(&s);
	wants_get(r2, &s, "");
	f.fds += 6; /* ours */
	end(&f);
	want_end(idle);
	assert_true(recv(relay, &byte, 1, 0) <= 0);
	want(waiting, "\5\0\5\1", 4);
	assert_true(recv(exchange, &byte, 1, 0) <= 0);
	close(relay);
	close(idle);
	close(waiting);
	close(exchange);
	close(r);
	close(r2);
	close(s.fd);
	audit_has(&f, "awsocks is stopping");
}

static void too_many(void **state)
{
	struct limits_opts all = { .per_peer = 2 };
	struct limits_listener_opts here = { .name = "test" };
	struct limits *limits;
	struct fixture f = { 0 };
	struct server s = server();
	int a, b, c;
	struct err e;

	(void)state;
	assert_int_equal(limits_new(&limits, &all, &e), 0);
	assert_int_equal(limits_listener_new(&f.opts.limits, limits, &here, &e), 0);
	begin(&f);
	a = ask5(&f, "localhost", s.port);
	want(a, granted5, 12);
	b = client(&f);
	put(b, "\5\1\0", 3);
	want(b, "\5\0", 2);
	c = client(&f);
	assert_int_equal(recv(c, &(char){ 0 }, 1, 0), 0); /* not a reset */
	close(a);
	close(b);
	close(c);
	end(&f);
	close(s.fd);
	audit_has(&f, "2 connections of this peer are served, which is its limit");
	assert_int_equal(limits_count(limits).served, 0);
	limits_listener_free(f.opts.limits);
	limits_free(limits);
}

static void unix_peer(void **state)
{
	struct fixture f = { 0 };
	struct server s = server();
	char path[100], line[100];
	int c;

	(void)state;
	snprintf(path, sizeof(path), "unix:/tmp/awsocks-test-%d.sock", getpid());
	begin_at(&f, rules, path);
	c = ask5(&f, "localhost", s.port);
	want(c, granted5, 12);
	echo_and_half_close(c, take(&s));
	end(&f);
	close(s.fd);
	snprintf(line, sizeof(line), "\"uid\":%u,\"pid\":%d", (unsigned)getuid(), getpid());
	audit_has(&f, line);
	audit_has(&f, "\"exe\":\"/");
	audit_has(&f, "proxy_session_test\",\"proto\"");
}

/* libuv keeps two descriptors for signals from its first loop on. */
static int first_loop(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	f.grace_ms = 1;
	begin(&f);
	assert_int_equal(write(f.stop_pipe[1], "x", 1), 1);
	assert_int_equal(pthread_join(f.thread, NULL), 0);
	close(f.stop_pipe[0]);
	close(f.stop_pipe[1]);
	audit_close(f.audit);
	unlink(f.audit_path);
	router_free(f.router);
	loop_free(f.loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(socks5_tunnel),
		cmocka_unit_test(server_ends_first),
		cmocka_unit_test(socks4_tunnels),
		cmocka_unit_test(early_data),
		cmocka_unit_test(each_cause_has_its_answer),
		cmocka_unit_test(block),
		cmocka_unit_test(while_initializing),
		cmocka_unit_test(fallback),
		cmocka_unit_test(guarded_never_goes_another_way),
		cmocka_unit_test(guard_is_asked),
		cmocka_unit_test(hello_is_checked),
		cmocka_unit_test(hello_that_does_not_end),
		cmocka_unit_test(unknown_profile),
		cmocka_unit_test(slow_clients),
		cmocka_unit_test(still_tunnels),
		cmocka_unit_test(malformed_input),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(head_too_large),
		cmocka_unit_test(routed_anew),
		cmocka_unit_test(bodies),
		cmocka_unit_test(http_1_0),
		cmocka_unit_test(upgrade),
		cmocka_unit_test(servers_that_fail),
		cmocka_unit_test(again_on_a_new_connection),
		cmocka_unit_test(many_pipelined_refusals),
		cmocka_unit_test(large_bodies),
		cmocka_unit_test(stops),
		cmocka_unit_test(too_many),
		cmocka_unit_test(unix_peer),
	};

	return cmocka_run_group_tests(tests, first_loop, NULL);
}
