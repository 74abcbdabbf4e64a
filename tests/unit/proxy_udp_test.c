/*
 * UDP associations through a real proxy on a loop in a thread of its own, between
 * real sockets on loopback. That a datagram was dropped is seen by the next
 * one, which must be the first to arrive: one loop keeps their order.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "net/tcp.h"
#include "proxy/audit.h"
#include "proxy/proxy.h"
#include "proxy/socks_udp.h"
#include "proxy/udp_audit.h"
#include "proxy/udp_names.h"
#include "proxy/udp_peers.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

static const char direct_rules[] =
	"default: direct\n"
	"block: ['blocked.test', '127.0.0.9']\n"
	"proxy: ['named.test', '127.0.0.8']\n"
	"rules:\n"
	"  - { match: why.test, route: block, reason: 'lab is closed' }\n"
	"  - { match: 127.0.0.6, route: direct, allow-host: true }\n";

struct fixture {
	struct loop *loop;
	struct router *router[2];
	_Atomic int which; /* of the routers counts now */
	struct proxy *proxy;
	struct audit *audit;
	struct listen_socket *listener;
	struct proxy_opts opts;
	struct loop_watch stop;
	int stop_pipe[2];
	pthread_t thread;
	struct addr addr;
	char audit_path[64];
	char text[64 * 1024]; /* of the audit log, after end() */
};

static size_t fds_before; /* the test */

static int count_fds(void **state)
{
	(void)state;
	fds_before = fds_open();
	return 0;
}

static const struct router *the_router(void *arg)
{
	struct fixture *f = arg;

	return f->router[f->which];
}

static struct backend *no_backend(void *arg, const struct route *r, struct err *e)
{
	(void)arg;
	(void)r;
	err_set(e, ERR_UNSUPPORTED, "no backend is asked for by UDP");
	return NULL;
}

static void accepted(void *arg, int fd, const struct addr *peer)
{
	proxy_accept(((struct fixture *)arg)->proxy, fd, peer);
}

static void proxy_closed(void *arg)
{
	loop_stop(((struct fixture *)arg)->loop);
}

static void stop_now(void *arg, unsigned ready)
{
	struct fixture *f = arg;

	(void)ready;
	watch_del(f->loop, &f->stop);
	listen_close(f->listener);
	proxy_close(f->proxy, TEST_LIMIT_MS, proxy_closed, f);
}

static void *run(void *arg)
{
	loop_run(((struct fixture *)arg)->loop);
	return NULL;
}

static struct router *make_router(const char *rules)
{
	struct router_opts o = { 0 };
	struct router *r;
	struct err e = { 0 };

	assert_int_equal(router_new(&r, &o, &e), 0);
	if (router_add_yaml(r, rules, strlen(rules), "rules", RULES_ALLOW_HOST, NULL, NULL, &e))
		fail_msg("%s", e.msg);
	return r;
}

/* Zeroed but for opts and router[1]. */
static void begin_at(struct fixture *f, const char *rules, const char *listen_text)
{
	struct addr at;
	struct err e = { 0 };

	assert_int_equal(loop_new(&f->loop, &e), 0);
	f->router[0] = make_router(rules);
	snprintf(f->audit_path, sizeof(f->audit_path), "/tmp/awsocks-udp-%d-%p", getpid(),
		 (void *)f);
	assert_int_equal(audit_open(&f->audit,
				    &(struct audit_opts){ .path = f->audit_path,
							  .clock = loop_clock(f->loop) },
				    &e),
			 0);
	f->opts.loop = f->loop;
	f->opts.listener = "test";
	f->opts.router = the_router;
	f->opts.backend = no_backend;
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
	begin_at(f, direct_rules, "127.0.0.1:0");
}

static void end(struct fixture *f)
{
	FILE *file;
	size_t n;

	assert_int_equal(write(f->stop_pipe[1], "x", 1), 1);
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	close(f->stop_pipe[0]);
	close(f->stop_pipe[1]);
	audit_close(f->audit);
	router_free(f->router[0]);
	router_free(f->router[1]);
	loop_free(f->loop);
	file = fopen(f->audit_path, "r");
	assert_non_null(file);
	n = fread(f->text, 1, sizeof(f->text) - 1, file);
	f->text[n] = 0;
	fclose(file);
	unlink(f->audit_path);
	assert_int_equal(fds_open(), fds_before);
}

static int count_of(const struct fixture *f, const char *what)
{
	int n = 0;

	for (const char *p = f->text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void audit_has(const struct fixture *f, int times, const char *what)
{
	if (count_of(f, what) != times)
		fail_msg("%d times, not %d, in the audit log: %s\n%s", count_of(f, what), times,
			 what, f->text);
}

/* ---- sockets ---- */

static struct addr address(const char *host, uint16_t port)
{
	struct addr a;

	assert_true(addr_from_literal(host, port, &a));
	return a;
}

/* A UDP socket at this host; its port to *port. */
static int udp_at(const char *host, uint16_t *port)
{
	struct addr a = address(host, 0);
	struct timeval limit = { .tv_sec = TEST_LIMIT_MS / 1000 };
	int fd = sock_cloexec(socket(a.ss.ss_family, SOCK_DGRAM, 0));

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a.ss, a.len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a.ss, &a.len), 0);
	if (port)
		*port = addr_port(&a);
	return fd;
}

static void send_to(int fd, const struct addr *to, const void *p, size_t n)
{
	assert_int_equal(sendto(fd, p, n, 0, (const struct sockaddr *)&to->ss, to->len), n);
}

/* A datagram that must be this text; who sent it. */
static struct addr hear(int fd, const char *text)
{
	char got[2000];
	struct addr from = { .len = sizeof(from.ss) };
	ssize_t n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from.ss, &from.len);

	if (n < 0)
		fail_msg("nothing came instead of '%s'", text);
	if ((size_t)n != strlen(text) || memcmp(got, text, (size_t)n) != 0)
		fail_msg("'%.*s' instead of '%s'", (int)n, got, text);
	return from;
}

/* ---- a client ---- */

struct client {
	int tcp, udp;
	struct addr near; /* where the proxy wants datagrams */
	uint16_t port;    /* the client's own */
};

static int connect_tcp(const struct fixture *f)
{
	int fd = sock_cloexec(socket(f->addr.ss.ss_family, SOCK_STREAM, 0));
	struct timeval limit = { .tv_sec = TEST_LIMIT_MS / 1000 };

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->addr.ss, f->addr.len), 0);
	return fd;
}

static void read_tcp(int fd, void *p, size_t n)
{
	assert_int_equal(recv(fd, p, n, MSG_WAITALL), n);
}

static void want_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

#define T(bytes)  bytes, sizeof(bytes) - 1
#define ASSOCIATE "\5\1\0\5\3\0"
#define NOWHERE   T(ASSOCIATE "\1\0\0\0\0\0\0")

/* Asks; the reply's code. With 0 c->near is filled. */
static int ask(const struct fixture *f, struct client *c, const char *request, size_t n)
{
	uint8_t in[4], address_bytes[18];
	struct sockaddr_in *v4 = (void *)&c->near.ss;
	struct sockaddr_in6 *v6 = (void *)&c->near.ss;

	*c = (struct client){ .tcp = connect_tcp(f), .udp = -1 };
	assert_int_equal(send(c->tcp, request, n, MSG_NOSIGNAL), n);
	read_tcp(c->tcp, in, 2);
	assert_memory_equal(in, "\5\0", 2);
	read_tcp(c->tcp, in, 4);
	assert_true(in[0] == 5 && in[2] == 0);
	if (in[3] == 1) {
		read_tcp(c->tcp, address_bytes, 6);
		v4->sin_family = AF_INET;
		memcpy(&v4->sin_addr, address_bytes, 4);
		memcpy(&v4->sin_port, address_bytes + 4, 2);
		c->near.len = sizeof(*v4);
	} else {
		assert_int_equal(in[3], 4);
		read_tcp(c->tcp, address_bytes, 18);
		v6->sin6_family = AF_INET6;
		memcpy(&v6->sin6_addr, address_bytes, 16);
		memcpy(&v6->sin6_port, address_bytes + 16, 2);
		c->near.len = sizeof(*v6);
	}
	return in[1];
}

static void associate(const struct fixture *f, struct client *c)
{
	char host[ADDR_TEXT];

	assert_int_equal(ask(f, c, NOWHERE), 0);
	addr_format_host(&c->near, host);
	assert_true(addr_port(&c->near) != 0);
	c->udp = udp_at(host, &c->port);
}

static void leave(struct client *c)
{
	close(c->tcp);
	if (c->udp >= 0)
		close(c->udp);
}

/* A datagram by fd to host:port through the association. */
static void say_by(int fd, const struct client *c, const char *host, uint16_t port,
		   const char *text)
{
	uint8_t out[1000] = { 0 };
	struct addr a;
	size_t n;

	if (addr_from_literal(host, port, &a)) {
		n = socks_udp_header(out, &a);
	} else {
		n = strlen(host);
		out[3] = 3;
		out[4] = (uint8_t)n;
		memcpy(out + 5, host, n);
		out[5 + n] = (uint8_t)(port >> 8);
		out[6 + n] = (uint8_t)port;
		n += 7;
	}
	memcpy(out + n, text, strlen(text));
	send_to(fd, &c->near, out, n + strlen(text));
}

static void say(const struct client *c, const char *host, uint16_t port, const char *text)
{
	say_by(c->udp, c, host, port, text);
}

/* A datagram that must come from this host:port with this text. */
static void answered(const struct client *c, const char *host, uint16_t port, const char *text)
{
	uint8_t got[2000];
	struct addr from = { .len = sizeof(from.ss) };
	struct socks_dest d;
	struct err e;
	size_t used;
	ssize_t n = recvfrom(c->udp, got, sizeof(got), 0, (struct sockaddr *)&from.ss, &from.len);

	if (n < 0)
		fail_msg("no answer instead of '%s'", text);
	assert_true(addr_same_host(&from, &c->near) && addr_port(&from) == addr_port(&c->near));
	assert_int_equal(socks_udp_decode(got, (size_t)n, &used, &d, &e), 0);
	if (d.port != port || strcmp(d.literal, host) != 0)
		fail_msg("from %s:%u, not %s:%u", d.literal, d.port, host, port);
	if ((size_t)n - used != strlen(text) || memcmp(got + used, text, strlen(text)) != 0)
		fail_msg("'%.*s' instead of '%s'", (int)((size_t)n - used), got + used, text);
}

/* ---- what passes ---- */

static void many_destinations(void **state)
{
	enum { SERVERS = 20 };
	static struct fixture f;
	struct client c, d;
	int s[SERVERS];
	uint16_t port[SERVERS];
	char text[20];

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	associate(&f, &d);
	for (int i = 0; i < SERVERS; i++) {
		s[i] = udp_at(i % 2 ? "127.0.0.1" : "127.0.0.2", &port[i]);
		snprintf(text, sizeof(text), "ask %d", i);
		say(&c, i % 2 ? "127.0.0.1" : "127.0.0.2", port[i], text);
	}
	for (int i = SERVERS - 1; i >= 0; i--) {
		struct addr from;

		snprintf(text, sizeof(text), "ask %d", i);
		from = hear(s[i], text);
		snprintf(text, sizeof(text), "answer %d", i);
		send_to(s[i], &from, text, strlen(text));
		send_to(s[i], &from, "", 0); /* a datagram may be empty */
		answered(&c, i % 2 ? "127.0.0.1" : "127.0.0.2", port[i], text);
		answered(&c, i % 2 ? "127.0.0.1" : "127.0.0.2", port[i], "");
	}
	say(&d, "127.0.0.2", port[0], ""); /* another association, another port of ours */
	hear(s[0], "");
	leave(&c);
	leave(&d);
	for (int i = 0; i < SERVERS; i++)
		close(s[i]);
	end(&f);
	audit_has(&f, SERVERS + 3, "\"proto\":\"socks5-udp\"");
	audit_has(&f, SERVERS + 1, "\"action\":\"allow\",\"route\":\"direct\",\"address\":\"127.");
	audit_has(&f, 1, "\"action\":\"allow\",\"bytes_up\":110,\"bytes_down\":170,\"ms\":");
}

static void ipv6(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t six, four;
	int s = udp_at("::1", &six), t = udp_at("127.0.0.1", &four);
	struct addr from;

	(void)state;
	f = (struct fixture){ 0 };
	begin_at(&f, direct_rules, "[::1]:0");
	associate(&f, &c);
	assert_int_equal(c.near.ss.ss_family, AF_INET6);
	say(&c, "::1", six, "six");
	from = hear(s, "six");
	send_to(s, &from, "yes", 3);
	answered(&c, "::1", six, "yes");
	say(&c, "127.0.0.1", four, "four");
	from = hear(t, "four");
	send_to(t, &from, "no", 2);
	answered(&c, "127.0.0.1", four, "no");
	say(&c, "::ffff:127.0.0.1", four, "mapped"); /* one form, whatever was written */
	hear(t, "mapped");
	leave(&c);
	close(s);
	close(t);
	end(&f);
	audit_has(&f, 2, "\"host\":\"");
}

static void names(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);
	struct addr from;

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	say(&c, "LocalHost.", port, "one"); /* the look-up begins */
	say(&c, "localhost", port, "two");  /* waits for it */
	hear(s, "one");
	from = hear(s, "two");
	send_to(s, &from, "back", 4);
	answered(&c, "127.0.0.1", port, "back");
	say(&c, "localhost", port, "three"); /* known by now */
	hear(s, "three");
	say(&c, "127.1", port, "four"); /* as a name: the address that it means */
	hear(s, "four");
	leave(&c);
	close(s);
	end(&f);
	audit_has(&f, 1, "\"host\":\"localhost\"");
	audit_has(&f, 1, "\"host\":\"127.0.0.1\"");
	audit_has(&f, 1, "\"bytes_up\":15,\"bytes_down\":4,\"ms\"");
}

static void large(void **state)
{
	static struct fixture f;
	static uint8_t out[65507], in[65536];
	struct addr from = { .len = sizeof(from.ss) }, to;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	to = address("127.0.0.1", port);
	pattern_fill(1, 0, out, sizeof(out));
	socks_udp_header(out, &to);
	send_to(c.udp, &c.near, out, sizeof(out)); /* the largest that IPv4 has */
	assert_int_equal(recvfrom(s, in, sizeof(in), 0, (struct sockaddr *)&from.ss, &from.len),
			 sizeof(out) - 10);
	assert_memory_equal(in, out + 10, sizeof(out) - 10);
	send_to(s, &from, out, sizeof(out)); /* has no room for the header */
	send_to(s, &from, out, sizeof(out) - 10);
	assert_int_equal(recv(c.udp, in, sizeof(in), 0), sizeof(out));
	assert_memory_equal(in + 10, out, sizeof(out) - 10);
	leave(&c);
	close(s);
	end(&f);
	audit_has(&f, 1, "\"bytes_up\":65497,\"bytes_down\":65497,\"dropped\":1,");
}

/* ---- who may send and answer ---- */

static void strangers(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t port, other;
	int s = udp_at("127.0.0.1", &port), stranger = udp_at("127.0.0.1", &other),
	    elsewhere = udp_at("127.0.0.2", NULL);
	struct addr far;

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	say_by(elsewhere, &c, "127.0.0.1", port, "of another host"); /* before the port is known */
	say(&c, "127.0.0.1", port, "mine");
	far = hear(s, "mine");
	say_by(stranger, &c, "127.0.0.1", port, "of another port");
	say_by(elsewhere, &c, "127.0.0.1", port, "of another host");
	say(&c, "127.0.0.1", port, "mine again");
	hear(s, "mine again");
	send_to(stranger, &far, "nobody asked", 12);
	send_to(elsewhere, &far, "nobody asked", 12);
	send_to(s, &far, "an answer", 9);
	answered(&c, "127.0.0.1", port, "an answer");
	say(&c, "127.0.0.1", other, "now it is asked");
	hear(stranger, "now it is asked");
	send_to(stranger, &far, "so it may", 9);
	answered(&c, "127.0.0.1", other, "so it may");
	leave(&c);
	close(s);
	close(stranger);
	close(elsewhere);
	end(&f);
	audit_has(&f, 1, "\"dropped\":5,");
}

/* The request names the port that the client will send from. */
static void the_port_that_was_named(void **state)
{
	static struct fixture f;
	uint8_t request[] = ASSOCIATE "\1\0\0\0\0pp";
	struct client c;
	uint16_t mine, port;
	int udp, other, s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	for (int own = 0; own < 2; own++) { /* 0.0.0.0, and the client's own address */
		udp = udp_at("127.0.0.1", &mine);
		other = udp_at("127.0.0.1", NULL);
		memcpy(request + 7, own ? "\x7f\0\0\1" : "\0\0\0\0", 4);
		request[11] = (uint8_t)(mine >> 8);
		request[12] = (uint8_t)mine;
		assert_int_equal(ask(&f, &c, (char *)request, 13), 0);
		say_by(other, &c, "127.0.0.1", port, "too early");
		say_by(udp, &c, "127.0.0.1", port, "mine");
		hear(s, "mine");
		close(udp);
		close(other);
		leave(&c);
	}
	close(s);
	end(&f);
	audit_has(&f, 2, "\"dropped\":1,");
}

static void what_is_no_datagram(void **state)
{
	static const struct {
		const char *p;
		size_t n;
	} bad[] = { { T("") },
		    { T("\0\0\0") },
		    { T("\0\0\0\1\x7f\0\0\1\0") },
		    { T("\0\0\0\3\0\0\1") },
		    { T("\0\0\0\2\x7f\0\0\1\0\x35x") } };
	static struct fixture f;
	uint8_t out[30] = { 0 };
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port), stranger = udp_at("127.0.0.1", NULL);
	struct addr to = address("127.0.0.1", port);
	size_t n = socks_udp_header(out, &to);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	/* What is no datagram of SOCKS does not say which port is the client's. */
	for (size_t i = 0; i < COUNT(bad); i++)
		send_to(stranger, &c.near, bad[i].p, bad[i].n);
	out[2] = 1; /* a fragment */
	send_to(c.udp, &c.near, out, n + 5);
	out[2] = 0x81;
	send_to(c.udp, &c.near, out, n + 5);
	say(&c, "127.0.0.1", port, "whole");
	hear(s, "whole");
	leave(&c);
	close(s);
	close(stranger);
	end(&f);
	audit_has(&f, 1, "\"dropped\":7,");
}

/* ---- rules ---- */

static bool guard(void *arg, const struct addr *to, struct err *e)
{
	struct addr shut = address("127.0.0.7", 0), rule = address("127.0.0.6", 0);

	(void)arg;
	if (!addr_same_host(to, &shut) && !addr_same_host(to, &rule))
		return true;
	err_set(e, ERR_DENIED, "the guard refuses it");
	return false;
}

static void every_datagram_is_judged(void **state)
{
	static const struct {
		const char *host, *line;
	} refused[] = {
		{ "127.0.0.9", "\"action\":\"block\",\"route\":\"block\"" },
		{ "blocked.test", "\"action\":\"block\",\"route\":\"block\"" },
		{ "why.test", "lab is closed" },
		{ "127.0.0.8", "\"action\":\"refuse\",\"route\":\"proxy\"" },
		{ "named.test", "cannot carry UDP: only direct can" },
		{ "127.0.0.7", "the guard refuses it" },
		{ "224.0.0.251", "UDP does not go to multicast addresses" },
		{ "ff02::fb", "UDP does not go to multicast addresses" },
		{ "255.255.255.255", "UDP does not go to broadcast addresses" },
		{ "0.0.0.0", "UDP does not go to unspecified addresses" },
		{ "::", "UDP does not go to unspecified addresses" },
		{ "a b", "\"host\":\"a?b\"" },
	};
	static struct fixture f;
	struct client c;
	uint16_t port, open_port;
	int s = udp_at("127.0.0.1", &port), t = udp_at("127.0.0.6", &open_port);
	char text[200];

	(void)state;
	f = (struct fixture){ .opts = { .allow = guard } };
	begin(&f);
	associate(&f, &c);
	for (int turn = 0; turn < 2; turn++) { /* the second time there is no line */
		for (size_t i = 0; i < COUNT(refused); i++) {
			say(&c, refused[i].host, port, "not to be seen");
			say(&c, "127.0.0.1", port, "next");
			hear(s, "next");
		}
		say(&c, "127.0.0.1", 0, "to port 0");
		say(&c, "127.0.0.6", open_port, "allow-host");
		hear(t, "allow-host");
	}
	leave(&c);
	close(s);
	close(t);
	end(&f);
	for (size_t i = 0; i < COUNT(refused); i++) {
		snprintf(text, sizeof(text), "\"host\":\"%s\"", refused[i].host);
		if (i < COUNT(refused) - 1)
			audit_has(&f, 1, text);
		if (!strstr(f.text, refused[i].line))
			fail_msg("not in the audit log: %s\n%s", refused[i].line, f.text);
	}
	audit_has(&f, 1, "port 0 is not a destination");
	audit_has(&f, 1, "\"dropped\":26,");
	audit_has(&f, (int)COUNT(refused) + 1 + 2 + 1, "\"id\":1,");
}

static void a_reload_counts_at_once(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t port, other;
	int s = udp_at("127.0.0.1", &port), t = udp_at("127.0.0.2", &other);

	(void)state;
	f = (struct fixture){ .router = { NULL,
					  make_router("default: direct\nblock: [127.0.0.1]\n") } };
	begin(&f);
	associate(&f, &c);
	for (int i = 0; i < 3; i++) {
		f.which = 0;
		say(&c, "127.0.0.1", port, "allowed");
		hear(s, "allowed");
		f.which = 1;
		say(&c, "127.0.0.1", port, "not any more");
		say(&c, "127.0.0.2", other, "next");
		hear(t, "next");
	}
	f.which = 0;
	say(&c, "127.0.0.1", port, "again");
	hear(s, "again");
	leave(&c);
	close(s);
	close(t);
	end(&f);
	audit_has(&f, 7, "\"host\":\"127.0.0.1\",\"port\":");
	audit_has(&f, 3, "blocked by rule");
	audit_has(&f, 1, "\"dropped\":3,");
}

static void requests(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		int reply;
	} cases[] = {
		{ NOWHERE, 0 },
		{ T(ASSOCIATE "\1\x7f\0\0\1\0\0"), 0 },
		{ T(ASSOCIATE "\1\x7f\0\0\2\0\x35"), 0 }, /* a destination that is direct */
		{ T(ASSOCIATE "\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0 },
		{ T(ASSOCIATE "\4\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1\0\0"), 0 },
		{ T(ASSOCIATE "\3\x9localhost\0\x35"), 0 },
		{ T(ASSOCIATE "\3\1a\0\0"), 0 },
		{ T(ASSOCIATE "\1\x7f\0\0\x9\0\x35"), 2 },
		{ T(ASSOCIATE "\3\xc"
			      "blocked.test\0\x35"),
		  2 },
		{ T(ASSOCIATE "\1\x7f\0\0\x8\0\x35"), 7 },
		{ T(ASSOCIATE "\3\xanamed.test\0\x35"), 7 },
		{ T(ASSOCIATE "\3\3a b\0\x35"), 1 },
		{ T("\5\1\0\5\2\0\1\0\0\0\0\0\0"), 7 }, /* BIND */
	};
	static struct fixture f;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	for (size_t i = 0; i < COUNT(cases); i++) {
		int reply = ask(&f, &c, cases[i].in, cases[i].n);

		if (reply != cases[i].reply)
			fail_msg("case %zu: reply %d", i, reply);
		if (reply) {
			want_end(c.tcp);
		} else {
			c.udp = udp_at("127.0.0.1", NULL);
			say(&c, "127.0.0.1", port, "works");
			hear(s, "works");
		}
		leave(&c);
	}
	close(s);
	end(&f);
	audit_has(&f, 1, "\"host\":\"127.0.0.9\",\"port\":53");
}

static void where_udp_cannot_be(void **state)
{
	static const struct {
		const char *rules;
		int reply;
	} cases[] = { { "default: proxy\n", 7 },
		      { "default: block\n", 7 },
		      { "default: proxy\nproxy: [a.test]\nblock: ['*']\n", 7 },
		      { "default: block\ndirect: [127.0.0.1]\n", 0 } };
	static struct fixture f;
	struct client c;
	char path[80];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		f = (struct fixture){ 0 };
		begin_at(&f, cases[i].rules, "127.0.0.1:0");
		assert_int_equal(ask(&f, &c, NOWHERE), cases[i].reply);
		leave(&c);
		end(&f);
		audit_has(&f, cases[i].reply ? 1 : 0, "only direct can carry UDP");
	}
	f = (struct fixture){ 0 };
	snprintf(path, sizeof(path), "unix:/tmp/awsocks-udp-%d.sock", getpid());
	begin_at(&f, direct_rules, path);
	assert_int_equal(ask(&f, &c, NOWHERE), 7);
	leave(&c);
	end(&f);
	audit_has(&f, 1, "a Unix socket's has no address");
}

/* ---- the end ---- */

/* Until the proxy's sockets are closed: nothing listens at the port. */
static void wait_gone(const struct client *c)
{
	for (int i = 0; i < TEST_LIMIT_MS; i++) {
		char host[ADDR_TEXT];
		struct addr at = c->near;
		int fd = sock_cloexec(socket(at.ss.ss_family, SOCK_DGRAM, 0)), r;

		addr_format_host(&at, host);
		r = bind(fd, (struct sockaddr *)&at.ss, at.len);
		close(fd);
		if (r == 0)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the association's port is still open");
}

static void it_ends_with_its_connection(void **state)
{
	enum { HALF_CLOSE, CLOSE, RESET, JUNK, WAYS };
	static uint8_t junk[64 * 1024];
	static struct fixture f;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);
	size_t fds;

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	fds = fds_open();
	for (int way = 0; way < WAYS; way++) {
		associate(&f, &c);
		say(&c, "127.0.0.1", port, "works");
		hear(s, "works");
		assert_int_equal(fds_open(), fds + 5); /* ours 2, its own 3 */
		if (way == HALF_CLOSE) {
			shutdown(c.tcp, SHUT_WR);
			want_end(c.tcp);
		} else if (way == RESET) {
			sock_reset(c.tcp);
			c.tcp = dup(s);
		} else if (way == JUNK) {
			char end_of_it;

			assert_int_equal(send(c.tcp, junk, 1000, MSG_NOSIGNAL), 1000);
			say(&c, "127.0.0.1", port, "a little is no harm");
			hear(s, "a little is no harm");
			(void)!send(c.tcp, junk, sizeof(junk), MSG_NOSIGNAL);
			assert_true(recv(c.tcp, &end_of_it, 1, 0) <= 0);
		}
		leave(&c);
		wait_gone(&c);
		for (int ms = 0; fds_open() != fds && ms < TEST_LIMIT_MS; ms++)
			poll(NULL, 0, 1); /* its other descriptors are closed a moment later */
		assert_int_equal(fds_open(), fds);
	}
	close(s);
	end(&f);
	audit_has(&f, 1, "the client sends data on the connection of an association");
	audit_has(&f, 2 * WAYS, "\"proto\":\"socks5-udp\"");
}

static void the_end_comes_with_the_request(void **state)
{
	static struct fixture f;
	uint8_t in[12];
	int fd;

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	fd = connect_tcp(&f);
	assert_int_equal(send(fd, NOWHERE, MSG_NOSIGNAL), 13);
	shutdown(fd, SHUT_WR);
	read_tcp(fd, in, 12);
	assert_memory_equal(in, "\5\0\5\0\0\1\x7f\0\0\1", 10);
	want_end(fd);
	close(fd);
	end(&f);
	audit_has(&f, 1, "\"action\":\"allow\",\"bytes_up\":0,");
}

static void a_stop_ends_it(void **state)
{
	static struct fixture f;
	struct client c[3];
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	for (int i = 0; i < 3; i++) {
		associate(&f, &c[i]);
		say(&c[i], "127.0.0.1", port, "works");
		hear(s, "works");
	}
	assert_int_equal(write(f.stop_pipe[1], "x", 1), 1);
	for (int i = 0; i < 3; i++) { /* before the grace is over, which has no say here */
		want_end(c[i].tcp);
		leave(&c[i]);
	}
	close(s);
	end(&f);
	audit_has(&f, 3, "awsocks is stopping");
}

/* ---- limits ---- */

static void in_which_nothing_moves(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ .opts = { .still_ms = 80 } };
	begin(&f);
	associate(&f, &c);
	say(&c, "127.0.0.1", port, "");
	want_end(c.tcp);
	leave(&c);
	close(s);
	end(&f);
	audit_has(&f, 1, "nothing moved for longer than the idle limit");
}

static void out_of_descriptors(void **state)
{
	static struct fixture f;
	struct rlimit old, now;
	struct client c;
	uint16_t port;
	uint8_t in[10];
	int s = udp_at("127.0.0.1", &port), fd;

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	fd = connect_tcp(&f);
	assert_int_equal(send(fd, "\5\1\0", 3, MSG_NOSIGNAL), 3);
	read_tcp(fd, in, 2); /* accepted by now */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	now = old;
	now.rlim_cur = (rlim_t)fd + 2; /* its own side of the connection has the next one */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	say(&c, "127.0.0.1", port, "no socket for it"); /* before its descriptor is closed */
	assert_int_equal(send(fd, "\5\3\0\1\0\0\0\0\0\0", 10, MSG_NOSIGNAL), 10);
	read_tcp(fd, in, 10);
	want_end(fd);
	assert_memory_equal(in, "\5\1\0\1\0\0\0\0\0\0", 10);
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	say(&c, "127.0.0.1", port, "now there is");
	hear(s, "now there is");
	leave(&c);
	close(s);
	end(&f);
	audit_has(&f, 1, "\"action\":\"refuse\",\"bytes_up\":0,\"bytes_down\":0,\"ms\"");
}

static void lines_are_bounded(void **state)
{
	static struct fixture f;
	struct client c;
	uint16_t port;
	int s = udp_at("127.0.0.1", &port);

	(void)state;
	f = (struct fixture){ 0 };
	begin(&f);
	associate(&f, &c);
	for (uint16_t i = 1; i <= 70; i++) {
		say(&c, "127.0.0.9", i, "blocked");
		say(&c, "127.0.0.1", port, "next");
		hear(s, "next");
	}
	leave(&c);
	close(s);
	end(&f);
	audit_has(&f, 64, "\"host\":\"127.0.0.9\"");
	audit_has(&f, 1, "6 datagrams of destinations beyond the limit have no line");
	audit_has(&f, 1, "\"dropped\":70,");
}

/* Contacting many first hides nobody for good. */
static void lines_come_back(void **state)
{
	struct err why = { .code = ERR_DENIED };
	struct udp_verdict v = { .host = "192.0.2.1", .action = AUDIT_ALLOW };
	struct udp_verdict other = { .host = "192.0.2.2", .action = AUDIT_BLOCK, .why = &why };
	struct udp_audit a;
	uint64_t now = 1;

	(void)state;
	udp_audit_init(&a);
	for (v.port = 1; v.port <= UDP_AUDIT_LINES; v.port++) {
		assert_true(udp_audit_due(&a, &v, now));
		assert_false(udp_audit_due(&a, &v, now));
	}
	assert_false(udp_audit_due(&a, &v, now));
	assert_true(udp_audit_due(&a, &other, now)); /* a kind of its own */
	now += UDP_AUDIT_EVERY_MS - 1;
	assert_false(udp_audit_due(&a, &v, now));
	assert_int_equal(a.unlisted, 2);
	now++;
	assert_true(udp_audit_due(&a, &v, now));
	assert_false(udp_audit_due(&a, &v, now)); /* has its line */
	v.port++;
	assert_false(udp_audit_due(&a, &v, now)); /* and no other */
	now += 2 * UDP_AUDIT_EVERY_MS;
	assert_true(udp_audit_due(&a, &v, now));
	for (uint16_t i = 0; i < 1000;
	     i++) { /* all of them may be forgotten, and more are not kept */
		now += UDP_AUDIT_EVERY_MS;
		v.port++;
		assert_true(udp_audit_due(&a, &v, now));
		assert_in_range(a.count, 1, UDP_AUDIT_SEEN);
	}
	assert_true(udp_audit_due(&a, &other, now)); /* forgotten meanwhile */
	udp_audit_free(&a);
}

static void the_longest_unused_peer_goes(void **state)
{
	struct udp_peers p;
	struct addr a, b = address("2001:db8::1", 1);
	struct err e;

	(void)state;
	udp_peers_init(&p);
	for (uint16_t i = 1; i <= UDP_PEERS_MAX; i++) {
		a = address("10.0.0.1", i);
		assert_false(udp_peers_has(&p, &a));
		assert_int_equal(udp_peers_add(&p, &a, &e), 0);
	}
	a = address("10.0.0.1", 1);
	assert_int_equal(udp_peers_add(&p, &a, &e), 0); /* used again */
	assert_int_equal(udp_peers_add(&p, &b, &e), 0);
	assert_true(udp_peers_has(&p, &a));
	assert_true(udp_peers_has(&p, &b));
	a = address("10.0.0.1", 2);
	assert_false(udp_peers_has(&p, &a));
	a = address("10.0.0.2", 3);
	assert_false(udp_peers_has(&p, &a));
	addr_set_port(&b, 2);
	assert_false(udp_peers_has(&p, &b));
	assert_int_equal(p.count, UDP_PEERS_MAX);
	udp_peers_free(&p);
	assert_int_equal(p.count, 0);
}

struct heard {
	struct loop *loop;
	size_t count, wanted;
	uint8_t first, last;
};

static void name_ready(void *arg, const char *host, uint16_t port, const uint8_t *p, size_t n)
{
	struct heard *h = arg;

	assert_string_equal(host, "localhost");
	assert_int_equal(port, 53);
	assert_true(n > 0);
	if (!h->count++)
		h->first = p[0];
	h->last = p[0];
	if (h->count == h->wanted)
		loop_stop(h->loop);
}

static void waiting_is_bounded(void **state)
{
	static uint8_t big[60000];
	struct heard h = { .wanted = UDP_WAITING_MAX };
	struct udp_names t;
	struct err e = { 0 };
	uint8_t i;

	(void)state;
	assert_int_equal(loop_new(&h.loop, &e), 0);
	udp_names_init(&t, h.loop, name_ready, &h);
	for (i = 0; i < UDP_WAITING_MAX + 10; i++)
		assert_int_equal(udp_names_wait(&t, "localhost", 53, &i, 1, &e), 0);
	assert_null(udp_names_find(&t, "localhost", 53));
	assert_int_equal(t.dropped, 10);
	loop_run(h.loop);
	assert_int_equal(h.first, 10);
	assert_int_equal(h.last, UDP_WAITING_MAX + 9);
	assert_non_null(udp_names_find(&t, "localhost", 53));
	assert_null(udp_names_find(&t, "localhost", 54));
	udp_names_free(&t);

	udp_names_init(&t, h.loop, name_ready, &h);
	for (i = 0; i < 6; i++) {
		big[0] = i;
		assert_int_equal(udp_names_wait(&t, "localhost", 53, big, sizeof(big), &e), 0);
	}
	assert_int_equal(t.dropped, 2); /* 4 * 60000 fit in the bytes */
	assert_true(t.waiting_bytes <= UDP_WAITING_BYTES);
	h = (struct heard){ .loop = h.loop, .wanted = 4 };
	loop_run(h.loop);
	assert_int_equal(h.first, 2);
	for (i = 0; i < UDP_LOOKUPS_MAX; i++)
		assert_int_equal(udp_names_wait(&t, "localhost", (uint16_t)(100 + i), &i, 1, &e),
				 0);
	assert_int_equal(udp_names_wait(&t, "localhost", 99, &i, 1, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	udp_names_free(&t); /* with look-ups under way */
	assert_int_equal(t.waiting_count, 0);
	assert_int_equal(t.look_ups, 0);
	loop_free(h.loop);
}

/* The first loop opens what libuv keeps for good. */
static int first_loop(void **state)
{
	struct loop *loop;
	struct err e;

	(void)state;
	if (loop_new(&loop, &e))
		return -1;
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(many_destinations, count_fds),
		cmocka_unit_test_setup(ipv6, count_fds),
		cmocka_unit_test_setup(names, count_fds),
		cmocka_unit_test_setup(large, count_fds),
		cmocka_unit_test_setup(strangers, count_fds),
		cmocka_unit_test_setup(the_port_that_was_named, count_fds),
		cmocka_unit_test_setup(what_is_no_datagram, count_fds),
		cmocka_unit_test_setup(every_datagram_is_judged, count_fds),
		cmocka_unit_test_setup(a_reload_counts_at_once, count_fds),
		cmocka_unit_test_setup(requests, count_fds),
		cmocka_unit_test_setup(where_udp_cannot_be, count_fds),
		cmocka_unit_test_setup(it_ends_with_its_connection, count_fds),
		cmocka_unit_test_setup(the_end_comes_with_the_request, count_fds),
		cmocka_unit_test_setup(a_stop_ends_it, count_fds),
		cmocka_unit_test_setup(in_which_nothing_moves, count_fds),
		cmocka_unit_test_setup(out_of_descriptors, count_fds),
		cmocka_unit_test_setup(lines_are_bounded, count_fds),
		cmocka_unit_test(lines_come_back),
		cmocka_unit_test_setup(the_longest_unused_peer_goes, count_fds),
		cmocka_unit_test_setup(waiting_is_bounded, count_fds),
	};

	return cmocka_run_group_tests(tests, first_loop, NULL);
}
