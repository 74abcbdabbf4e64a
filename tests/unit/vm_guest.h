#ifndef TESTS_VM_GUEST_H
#define TESTS_VM_GUEST_H
/*
 * A guest for the unit tests of the link's host: a link in the guest's role at the other end of a
 * socket pair, on the same loop. It resolves by a table, "connects" at once to the first address,
 * and its streams echo. One program includes this once.
 *
 * Names: "two.test" is 192.0.2.7 and 2001:db8::7; "mixed.test" is the gateway, loopback, and
 * 192.0.2.7; "bad.test" is only what must not be reached; "silent.test" is never answered; others
 * fail with guest.cause.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/loop.h"
#include "stream/stream.h"
#include "vm/link.h"

enum { GUEST_ECHO_MAX = 1024 * 1024, GUEST_STREAMS = 8 };

enum guest_open { GUEST_CONNECTS = 0, GUEST_REFUSES, GUEST_WAITS, GUEST_LIES };

struct guest;
struct guest_stream {
	struct guest *of;
	struct stream *stream;
	struct buf held;
	bool eof;
	bool ended;
};
struct guest {
	struct loop *loop;
	struct link *link;
	struct loop_watch watch;
	struct loop_post post;
	uint8_t out[64 * 1024];
	size_t out_at, out_len;
	bool hangs; /* neither reads nor writes any more */
	enum guest_open mode;
	uint8_t cause;
	int resolves, opens, taken_back, shutdowns, goodbyes;
	char name[FRAME_NAME_MAX + 1];
	struct frame_addresses asked;
	struct guest_stream streams[GUEST_STREAMS];
	size_t stream_count;
};

static struct addr guest_addr(const char *text)
{
	struct addr a;

	assert_true(addr_from_literal(text, 0, &a));
	return a;
}

/* ---- streams: echo ---- */

static void guest_push(struct guest_stream *s)
{
	size_t n = stream_write(s->stream, buf_ptr(&s->held), buf_len(&s->held));

	buf_drop(&s->held, n);
	stream_credit(s->stream, n);
	if (s->eof && !buf_len(&s->held))
		stream_close(s->stream);
}

static void guest_data(void *arg, const uint8_t *p, size_t n)
{
	struct guest_stream *s = arg;

	assert_int_equal(buf_add(&s->held, p, n, NULL), 0);
	guest_push(s);
}

static void guest_eof(void *arg)
{
	struct guest_stream *s = arg;

	s->eof = true;
	guest_push(s);
}

static void guest_writable(void *arg)
{
	guest_push(arg);
}

static void guest_closed(void *arg, const struct err *why)
{
	struct guest_stream *s = arg;

	(void)why;
	s->stream = NULL;
	s->ended = true;
	buf_free(&s->held);
}
static const struct stream_handler guest_echo = {
	.data = guest_data, .eof = guest_eof, .writable = guest_writable, .closed = guest_closed
};

static void guest_serve(struct guest *g, struct stream *stream)
{
	struct guest_stream *s = &g->streams[g->stream_count++];

	assert_non_null(stream);
	assert_true(g->stream_count <= GUEST_STREAMS);
	s->of = g;
	s->stream = stream;
	buf_init(&s->held, GUEST_ECHO_MAX);
	stream_attach(stream, &guest_echo, s);
	stream_credit(stream, GUEST_ECHO_MAX);
}

/* ---- the link ---- */

static void guest_flush(struct guest *g)
{
	while (!g->hangs && g->watch.added) {
		if (!g->out_len) {
			g->out_at = 0;
			g->out_len = link_pull(g->link, g->out, sizeof(g->out));
		}
		ssize_t n = g->out_len ? send(g->watch.fd, g->out + g->out_at,
					      g->out_len - g->out_at, MSG_NOSIGNAL)
				       : 0;
		if (n <= 0)
			break;
		g->out_at += (size_t)n;
		if (g->out_at == g->out_len)
			g->out_len = 0;
	}
	if (g->watch.added)
		watch_set(g->loop, &g->watch,
			  g->hangs     ? 0
			  : g->out_len ? WATCH_READ | WATCH_WRITE
				       : WATCH_READ);
}

static void guest_turn(void *arg)
{
	struct guest *g = arg;

	link_run(g->link);
	guest_flush(g);
}

static void guest_hang_up(struct guest *g)
{
	if (!g->watch.added)
		return;
	watch_close(g->loop, &g->watch);
	link_break(g->link, NULL);
}

static void guest_ready(void *arg, unsigned bits)
{
	static uint8_t in[64 * 1024];
	struct guest *g = arg;
	struct err e;
	ssize_t n;

	if (g->hangs)
		return;
	if (bits & WATCH_READ) {
		n = read(g->watch.fd, in, sizeof(in));
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			guest_hang_up(g);
			loop_post(g->loop, &g->post, guest_turn, g);
			return;
		}
		if (n > 0)
			assert_int_equal(link_input(g->link, in, (size_t)n, &e), 0);
	}
	guest_turn(g);
}

static void guest_kick(void *arg)
{
	struct guest *g = arg;

	loop_post_last(g->loop, &g->post, guest_turn, g);
}

static void guest_resolve(void *arg, uint32_t id, const char *name)
{
	struct guest *g = arg;
	struct frame_addresses a = { 0 };
	struct frame_failed f = { .cause = g->cause };

	g->resolves++;
	(void)snprintf(g->name, sizeof(g->name), "%s", name);
	if (!strcmp(name, "silent.test"))
		return;
	if (!strcmp(name, "mixed.test") || !strcmp(name, "bad.test")) {
		a.list[a.count++] = guest_addr("10.0.2.2");
		a.list[a.count++] = guest_addr("127.0.0.1");
	}
	if (!strcmp(name, "two.test") || !strcmp(name, "mixed.test"))
		a.list[a.count++] = guest_addr("192.0.2.7");
	if (!strcmp(name, "two.test"))
		a.list[a.count++] = guest_addr("2001:db8::7");
	if (a.count) {
		link_addresses(g->link, id, &a);
	} else {
		(void)snprintf(f.text, sizeof(f.text), "cause %u", g->cause);
		link_failed(g->link, id, &f);
	}
}

static void guest_open(void *arg, uint32_t id, const struct frame_addresses *to)
{
	struct guest *g = arg;
	const struct frame_failed refused = { .cause = g->cause, .text = "so it is \xff\xc2\x9b" };
	struct addr lie = guest_addr("198.51.100.1");

	g->opens++;
	g->asked = *to;
	addr_set_port(&lie, addr_port(&to->list[0]));
	switch (g->mode) {
	case GUEST_CONNECTS: guest_serve(g, link_opened(g->link, id, &to->list[0])); break;
	case GUEST_REFUSES: link_failed(g->link, id, &refused); break;
	case GUEST_LIES: guest_serve(g, link_opened(g->link, id, &lie)); break;
	case GUEST_WAITS: break;
	}
}

static void guest_taken_back(void *arg, uint32_t id)
{
	(void)id;
	((struct guest *)arg)->taken_back++;
}

static void guest_shutdown(void *arg)
{
	((struct guest *)arg)->shutdowns++;
}

static void guest_goodbye(void *arg, const char *text)
{
	(void)text;
	((struct guest *)arg)->goodbyes++;
}

static void guest_welcome(void *arg, const struct frame_welcome *w)
{
	(void)arg;
	assert_int_equal(w->version, FRAME_VERSION);
}

static const struct link_handler guest_handler = {
	.kick = guest_kick,
	.welcome = guest_welcome,
	.resolve = guest_resolve,
	.open = guest_open,
	.taken_back = guest_taken_back,
	.shutdown = guest_shutdown,
	.goodbye = guest_goodbye,
};

static void guest_network(struct guest *g, bool up)
{
	struct frame_network n = { .up = up, .prefix = 24, .dns_count = 1 };

	n.address = guest_addr("10.0.2.15");
	n.gateway = guest_addr("10.0.2.2");
	n.dns[0] = guest_addr("10.0.2.3");
	if (!up)
		n = (struct frame_network){ .why = "no DHCP server answers" };
	link_network(g->link, &n);
	guest_kick(g);
}

/* Takes fd; says HELLO with nonce. */
static void guest_start(struct guest *g, struct loop *l, int fd, const struct frame_hello *hello)
{
	const struct link_opts o = { .role = LINK_GUEST, .streams_max = hello->streams_max };
	struct err e;

	*g = (struct guest){ .loop = l, .cause = FRAME_CAUSE_NO_NAME };
	g->link = link_new(&o, &guest_handler, g, &e);
	assert_non_null(g->link);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(watch_add(l, &g->watch, fd, WATCH_READ, guest_ready, g, &e), 0);
	link_hello(g->link, hello);
	guest_kick(g);
}

static void guest_end(struct guest *g)
{
	if (!g->link)
		return;
	guest_hang_up(g);
	loop_unpost(&g->post);
	link_run(g->link);
	assert_int_equal(link_streams(g->link), 0);
	link_free(g->link);
	loop_unpost(&g->post);
	g->link = NULL;
}
#endif
