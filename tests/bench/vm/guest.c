/*
 * The VM benchmark's guest: the far end of vm/link.c as awsocks' agent is, by the agent's own loop
 * and wire, but with a source, a sink and an echo of its own instead of a network. Every OPEN is
 * answered at once; a stream asks as bare.c has it:
 *
 *     'U' u64(be) n    n bytes are taken unseen, then 'K'
 *     'D' u64(be) n    n bytes are sent
 *     'E' u64(be) n    n bytes are sent back as they come
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "cmd/agent/wire.h"
#include "cmd/bridge/ev.h"
#include "stream/stream.h"
#include "vm/frame.h"
#include "vm/link.h"

/* As cmd/agent/agent.c has them. */
enum { WINDOW = 256 * 1024, BUDGET = 16 * 1024 * 1024, SEND_MAX = 64 * 1024 };
enum { STREAMS = 64, HEAD = 9 };

struct guest {
	struct ev *ev;
	struct ev_timer turn;
	struct link *link;
	struct wire *wire;
	bool kicked;
	/* What is sent, behind room for a head. */
	uint8_t block[FRAME_HEAD + LINK_PIECE];
};
struct one {
	struct guest *of;
	struct stream *stream;
	uint8_t head[HEAD];
	size_t have; /* of head */
	uint64_t left;
};

static void begin_next(struct one *o)
{
	o->have = 0;
	o->left = 0;
}

static void finish_sink(struct one *o)
{
	if (o->left == 0 && o->have == HEAD && o->head[0] == 'U') {
		(void)stream_write(o->stream, (const uint8_t *)"K", 1);
		begin_next(o);
	}
}

static void send_more(void *arg)
{
	struct one *o = arg;

	if (o->have < HEAD || o->head[0] != 'D')
		return;
	while (o->left) {
		size_t n = o->left < LINK_PIECE ? (size_t)o->left : LINK_PIECE;
		size_t taken = wire_send(o->of->wire, o->stream, o->of->block + FRAME_HEAD, n);
		o->left -= taken;
		if (taken < n)
			return;
	}
	begin_next(o);
}

static size_t take_head(struct one *o, const uint8_t *p, size_t n)
{
	size_t now = n < HEAD - o->have ? n : HEAD - o->have;

	memcpy(o->head + o->have, p, now);
	o->have += now;
	for (size_t i = 1; o->have == HEAD && i < HEAD; i++)
		o->left = o->left << 8 | o->head[i];
	send_more(o);
	return now;
}

static size_t take_body(struct one *o, const uint8_t *p, size_t n)
{
	size_t now = n < o->left ? n : (size_t)o->left;

	if (o->head[0] == 'E')
		(void)stream_write(o->stream, p, now);
	o->left -= now;
	finish_sink(o);
	if (o->head[0] == 'E' && o->left == 0)
		begin_next(o);
	return now;
}

static void take(void *arg, const uint8_t *p, size_t n)
{
	struct one *o = arg;

	stream_credit(o->stream, n);
	while (n) {
		size_t now = o->have < HEAD ? take_head(o, p, n) : take_body(o, p, n);
		if (now == 0)
			return; /* it talks while it is sent to */
		p += now;
		n -= now;
	}
}

static void end(void *arg)
{
	struct one *o = arg;

	stream_close(o->stream);
}

static void closed(void *arg, const struct err *why)
{
	(void)why;
	free(arg);
}

static const struct stream_handler each = {
	.data = take, .eof = end, .writable = send_more, .closed = closed
};

static void open_one(void *arg, uint32_t id, const struct frame_addresses *to)
{
	struct guest *g = arg;
	struct one *o = calloc(1, sizeof(*o));

	if (!o)
		boot_off("memory");
	o->of = g;
	o->stream = link_opened(g->link, id, &to->list[0]);
	if (!o->stream) {
		free(o);
		return;
	}
	stream_attach(o->stream, &each, o);
	stream_credit(o->stream, WINDOW);
}

static void resolve_one(void *arg, uint32_t id, const char *name)
{
	struct guest *g = arg;
	struct frame_failed failed = { .cause = FRAME_CAUSE_NO_NAME };

	(void)name;
	link_failed(g->link, id, &failed);
}

static struct addr ipv4(const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct addr a = { .len = sizeof(in) };

	(void)inet_pton(AF_INET, text, &in.sin_addr);
	memcpy(&a.ss, &in, sizeof(in));
	return a;
}

static void welcomed(void *arg, const struct frame_welcome *w)
{
	struct guest *g = arg;
	struct frame_network net = { .up = true, .prefix = 24, .dns_count = 1 };

	(void)w;
	net.address = ipv4("10.0.2.15");
	net.gateway = ipv4("10.0.2.2");
	net.dns[0] = ipv4("10.0.2.3");
	link_network(g->link, &net);
}

static void power_off(void *arg)
{
	(void)arg;
	boot_off(NULL);
}

static void turn(void *arg)
{
	struct guest *g = arg;

	g->kicked = false;
	link_run(g->link);
	wire_pump(g->wire);
}

static void kick(void *arg)
{
	struct guest *g = arg;

	if (g->kicked)
		return;
	g->kicked = true;
	ev_arm(g->ev, &g->turn, 0, turn, g);
}

static const struct link_handler all = {
	.kick = kick,
	.welcome = welcomed,
	.resolve = resolve_one,
	.open = open_one,
	.shutdown = power_off,
};

/* The first line of /conf: nonce= and 64 hexadecimal digits. */
static void read_nonce(uint8_t nonce[FRAME_NONCE])
{
	FILE *f = fopen("/conf", "re");
	char text[2 * FRAME_NONCE + 16] = "";

	if (!f || !fgets(text, sizeof(text), f) || strncmp(text, "nonce=", 6) != 0)
		boot_off("/conf");
	for (size_t i = 0; i < FRAME_NONCE; i++) {
		char two[3] = { text[6 + 2 * i], text[7 + 2 * i], 0 };
		nonce[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	(void)fclose(f);
}

static void ended(void *arg, const struct err *why)
{
	(void)arg;
	boot_off(why ? why->msg : NULL);
}

int main(void)
{
	static struct guest g;
	const struct link_opts opts = { .role = LINK_GUEST,
					.streams_max = STREAMS,
					.window = WINDOW,
					.budget = BUDGET,
					.send_max = SEND_MAX };
	struct frame_hello hello = { .least = FRAME_VERSION,
				     .most = FRAME_VERSION,
				     .window = WINDOW,
				     .streams_max = STREAMS,
				     .agent = "benchmark" };
	int fd = boot_port();
	struct err e = { 0 };

	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		boot_off("fcntl");
	read_nonce(hello.nonce);
	if (ev_new(&g.ev, &e) != 0)
		boot_off("epoll");
	g.link = link_new(&opts, &all, &g, &e);
	if (!g.link || wire_new(&g.wire, g.ev, g.link, fd, ended, &g, &e) != 0)
		boot_off("link");
	link_hello(g.link, &hello);
	boot_off(ev_run(g.ev, &e) != 0 ? e.msg : NULL);
}
