/* Dialling: literals, names, races, causes, limits, cancelling. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/dialer.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/sock.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

struct fix {
	struct loop *l;
	size_t fds;
	struct loop_timer limit;
	bool in_call;
	int calls, fd;
	struct stream *s;
	char to[ADDR_TEXT];
	struct err why;
	uint16_t refuse_port; /* for the allow hook */
	int asked;
};

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open(), .fd = -1 };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, stop, &f);
	*state = &f;
	return 0;
}
static int teardown(void **state)
{
	struct fix *f = *state;

	if (f->fd >= 0)
		close(f->fd);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

static void dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->calls++;
	f->fd = fd;
	if (fd >= 0) {
		assert_null(why);
		addr_format(to, f->to);
	} else {
		assert_null(to);
		f->why = *why;
	}
	loop_stop(f->l);
}

static struct net_dial *go(struct fix *f, const char *host, uint16_t port,
			   const struct net_dial_opts *o)
{
	static const struct net_dial_opts patient = { .limit_ms = TEST_LIMIT_MS };
	struct net_dial *d;
	struct err e;

	f->in_call = true;
	d = net_dial(f->l, host, port, o ? o : &patient, dialed, f, &e);
	f->in_call = false;
	assert_non_null(d);
	return d;
}

static void run(struct fix *f)
{
	f->calls = 0;
	loop_run(f->l);
	assert_int_equal(f->calls, 1);
}

/* A listener whose queue is full: further connects get no answer. */
struct silent {
	int l, fill[8];
	uint16_t port;
};
static void silent_open(struct silent *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	size_t i;

	s->l = tcp_listen(&s->port, 0);
	a.sin_port = htons(s->port);
	for (i = 0; i < 8; i++) {
		s->fill[i] = sock_open(AF_INET);
		(void)!connect(s->fill[i], (struct sockaddr *)&a, sizeof(a));
	}
}
static void silent_close(struct silent *s)
{
	size_t i;

	for (i = 0; i < 8; i++)
		close(s->fill[i]);
	close(s->l);
}

static void literal_connects(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 5), one = 0;
	socklen_t len = sizeof(one);
	char want[ADDR_TEXT];

	go(f, "127.0.0.1", port, NULL);
	run(f);
	assert_true(f->fd >= 0);
	snprintf(want, sizeof(want), "127.0.0.1:%u", port);
	assert_string_equal(f->to, want);
	assert_true(fcntl(f->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(f->fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, &len), 0);
	assert_int_equal(one, 1);
	close(l);
}

static void refused_is_told(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_unheard(&port);
	char want[100];

	go(f, "127.0.0.1", port, NULL);
	run(f);
	assert_int_equal(f->fd, -1);
	assert_int_equal(f->why.code, ERR_REFUSED);
	snprintf(want, sizeof(want), "connect to 127.0.0.1:%u: Connection refused", port);
	assert_string_equal(f->why.msg, want);
	close(l);
}

static void name_connects(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 5);

	go(f, "localhost", port, NULL); /* ::1 may come first and refuses */
	run(f);
	assert_true(f->fd >= 0);
	close(l);
}

static void name_that_is_not(void **state)
{
	struct fix *f = *state;
	char name[80] = "";

	memset(name, 'x', 70); /* no label is that long: the resolver asks nobody */
	go(f, name, 80, NULL);
	run(f);
	assert_int_equal(f->why.code, ERR_RESOLVE);
	assert_non_null(strstr(f->why.msg, name));
}

static struct addr literal(const char *host, uint16_t port)
{
	struct addr a;

	assert_true(addr_from_literal(host, port, &a));
	return a;
}

static struct net_dial *go_addrs(struct fix *f, const struct addr *list, size_t n,
				 const struct net_dial_opts *o)
{
	static const struct net_dial_opts patient = { .limit_ms = TEST_LIMIT_MS };
	struct net_dial *d;
	struct err e;

	f->in_call = true;
	d = net_dial_addrs(f->l, list, n, "name.example", o ? o : &patient, dialed, f, &e);
	f->in_call = false;
	assert_non_null(d);
	return d;
}

static void second_family_wins_when_the_first_fails(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 5);
	struct addr list[2] = { literal("::1", port), literal("127.0.0.1", port) };

	go_addrs(f, list, 2, NULL);
	run(f);
	assert_true(f->fd >= 0);
	assert_memory_equal(f->to, "127.0.0.1", 9);
	close(l);
}

static void second_wins_when_the_first_is_silent(void **state)
{
	struct fix *f = *state;
	struct silent s;
	uint16_t port;
	int l = tcp_listen(&port, 5);
	struct addr list[2];
	uint64_t begun = loop_now_ms(f->l);

	silent_open(&s);
	list[0] = literal("127.0.0.1", s.port);
	list[1] = literal("127.0.0.1", port);
	go_addrs(f, list, 2, NULL);
	run(f);
	assert_true(f->fd >= 0);
	assert_true(loop_now_ms(f->l) - begun >= 250); /* the first had its head start */
	silent_close(&s);
	close(l);
}

static void most_telling_cause_is_kept(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_unheard(&port);
	struct addr list[3];

	list[0] = literal("127.0.0.1", port); /* refused */
	list[1] = literal("::1", port);       /* refused too, but later */
	list[2] = literal("fe80::1", port);   /* EINVAL without a scope */
	go_addrs(f, list, 3, NULL);
	run(f);
	assert_int_equal(f->why.code, ERR_REFUSED);
	assert_non_null(strstr(f->why.msg, "name.example (127.0.0.1:"));
	go_addrs(f, list + 1, 2, NULL);
	run(f);
	go_addrs(f, (struct addr[]){ list[2], list[0] }, 2, NULL);
	run(f);
	assert_int_equal(f->why.code, ERR_REFUSED);
	close(l);
}

static void silence_ends_at_the_limit(void **state)
{
	struct fix *f = *state;
	struct net_dial_opts o = { .limit_ms = 100 };
	struct silent s;

	silent_open(&s);
	go(f, "127.0.0.1", s.port, &o);
	run(f);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->why.msg, "no answer within 100 ms"));
	silent_close(&s);
}

static bool allow(void *arg, const struct addr *a, struct err *e)
{
	struct fix *f = arg;

	f->asked++;
	if (addr_port(a) != f->refuse_port)
		return true;
	(void)err_set(e, ERR_DENIED, "port %u is guarded", addr_port(a));
	return false;
}

static void every_address_is_asked_for(void **state)
{
	struct fix *f = *state;
	struct net_dial_opts o = { .allow = allow, .allow_arg = f };
	uint16_t open_port, guarded;
	int l = tcp_listen(&open_port, 5), g = tcp_listen(&guarded, 5);
	struct addr list[2] = { literal("127.0.0.1", guarded), literal("127.0.0.1", open_port) };

	f->refuse_port = guarded;
	go_addrs(f, list, 2, &o);
	run(f);
	assert_true(f->fd >= 0);
	assert_int_equal(f->asked, 2);
	close(f->fd);
	go_addrs(f, list, 1, &o);
	run(f);
	assert_int_equal(f->fd, -1);
	assert_int_equal(f->why.code, ERR_DENIED);
	assert_non_null(strstr(f->why.msg, "is guarded"));
	assert_int_equal(fcntl(g, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(accept(g, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN); /* nobody came */
	close(l);
	close(g);
}

static void unix_paths(void **state)
{
	struct fix *f = *state;
	char dir[] = "/tmp/dial-test-XXXXXX", text[64];
	struct addr a;
	struct err e;
	int l;

	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof(text), "unix:%s/s", dir);
	assert_int_equal(addr_parse(text, &a, &e), 0);
	assert_non_null(net_dial_addr(f->l, &a, NULL, dialed, f, &e));
	run(f);
	assert_int_equal(f->why.code, ERR_REFUSED);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(l, (struct sockaddr *)&a.ss, a.len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_non_null(net_dial_addr(f->l, &a, NULL, dialed, f, &e));
	run(f);
	assert_true(f->fd >= 0);
	close(l);
	unlink(text + 5);
	rmdir(dir);
}

static void cancel_at_every_stage(void **state)
{
	struct fix *f = *state;
	struct silent s;
	struct loop_timer t = { 0 };
	struct net_dial *d;
	uint16_t closed, port;
	int l = tcp_unheard(&closed), o = tcp_listen(&port, 5);
	struct addr two[2];

	silent_open(&s);
	net_dial_cancel(go(f, "localhost", port, NULL));   /* looking up */
	net_dial_cancel(go(f, "127.0.0.1", port, NULL));   /* result posted, or nearly */
	net_dial_cancel(go(f, "127.0.0.1", closed, NULL)); /* failure under way */
	net_dial_cancel(go(f, "fe80::1", closed, NULL));   /* failed inside the call */
	net_dial_cancel(go(f, "127.0.0.1", s.port, NULL)); /* connecting */
	two[0] = two[1] = literal("127.0.0.1", s.port);
	d = go_addrs(f, two, 2, NULL); /* two attempts pending */
	timer_arm(f->l, &t, 300, stop, f);
	loop_run(f->l);
	net_dial_cancel(d);
	net_dial_cancel(NULL);
	timer_arm(f->l, &t, 50, stop, f);
	loop_run(f->l);
	assert_int_equal(f->calls, 0);
	silent_close(&s);
	close(l);
	close(o);
}

static void stream_dialed(void *arg, struct stream *s, const struct addr *to, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->calls++;
	f->s = s;
	if (why)
		f->why = *why;
	else
		addr_format(to, f->to);
	loop_stop(f->l);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct fix *f = arg;

	snprintf(f->to, sizeof(f->to), "%.*s", (int)n, (const char *)p);
	loop_stop(f->l);
}
static void on_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct fix *)arg)->s = NULL;
	loop_stop(((struct fix *)arg)->l);
}

static void dial_may_end_in_a_stream(void **state)
{
	static const struct stream_handler h = { .data = on_data, .closed = on_closed };
	struct fix *f = *state;
	struct err e;
	uint16_t port, closed;
	int l = tcp_listen(&port, 5), k = tcp_unheard(&closed), c;
	char got[3];

	assert_non_null(net_dial_stream(f->l, "127.0.0.1", port, NULL, stream_dialed, f, &e));
	run(f);
	assert_non_null(f->s);
	c = accept(l, NULL, NULL);
	stream_attach(f->s, &h, f);
	assert_int_equal(stream_write(f->s, (const uint8_t *)"abc", 3), 3);
	assert_int_equal(recv(c, got, 3, 0), 3);
	assert_int_equal(send(c, "xyz", 3, 0), 3);
	stream_credit(f->s, 10);
	loop_run(f->l);
	assert_string_equal(f->to, "xyz");
	stream_close(f->s);
	loop_run(f->l);
	assert_null(f->s);
	assert_non_null(net_dial_stream(f->l, "127.0.0.1", closed, NULL, stream_dialed, f, &e));
	run(f);
	assert_null(f->s);
	assert_int_equal(f->why.code, ERR_REFUSED);
	close(c);
	close(l);
	close(k);
}

static void on_eof(void *arg)
{
	((struct fix *)arg)->asked++;
	loop_stop(((struct fix *)arg)->l);
}

/* All there is to hear was reported with the connection itself, and will not be again. */
static void far_side_that_spoke_and_left_is_heard(void **state)
{
	static const struct stream_handler h = { .data = on_data,
						 .eof = on_eof,
						 .closed = on_closed };
	struct fix *f = *state;
	struct err e;
	uint16_t port;
	int l = tcp_listen(&port, 5), c;

	assert_non_null(net_dial_stream(f->l, "127.0.0.1", port, NULL, stream_dialed, f, &e));
	c = accept(l, NULL, NULL);
	assert_int_equal(send(c, "bye", 3, 0), 3);
	close(c);
	run(f);
	assert_non_null(f->s);
	stream_attach(f->s, &h, f);
	stream_credit(f->s, 10);
	loop_run(f->l);
	assert_string_equal(f->to, "bye");
	stream_credit(f->s, 10);
	if (!f->asked) /* else the end was told in the very turn of the last word */
		loop_run(f->l);
	assert_int_equal(f->asked, 1);
	stream_close(f->s);
	loop_run(f->l);
	close(l);
}

static void resolved(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct fix *f = arg;

	f->calls++;
	assert_null(why);
	assert_true(n > 0);
	addr_format(&list[n - 1], f->to);
	loop_stop(f->l);
}

static void resolver_gives_addresses_with_the_port(void **state)
{
	struct fix *f = *state;
	struct net_resolve *r;
	struct err e;

	assert_non_null(net_resolve(f->l, "localhost", 4711, resolved, f, &e));
	run(f);
	assert_non_null(strstr(f->to, ":4711"));
	r = net_resolve(f->l, "localhost", 4711, resolved, f, &e);
	net_resolve_cancel(r);
	assert_int_equal(f->calls, 1);
}

static int warm_up(void **state)
{
	struct loop *l;
	struct err e;

	(void)state;
	if (loop_new(&l, &e) != 0)
		return -1;
	loop_free(l);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(literal_connects),
		T(refused_is_told),
		T(name_connects),
		T(name_that_is_not),
		T(second_family_wins_when_the_first_fails),
		T(second_wins_when_the_first_is_silent),
		T(most_telling_cause_is_kept),
		T(silence_ends_at_the_limit),
		T(every_address_is_asked_for),
		T(unix_paths),
		T(cancel_at_every_stage),
		T(dial_may_end_in_a_stream),
		T(far_side_that_spoke_and_left_is_heard),
		T(resolver_gives_addresses_with_the_port),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
