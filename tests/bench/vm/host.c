/*
 * The host's end of the VM benchmark's link, and nothing before it: vm/conn.c at a descriptor, one
 * stream to the guest (guest.c), whose source, sink and echo it measures.
 *
 *     vm-host FD NONCE MIB COUNT
 *
 * FD: the pipe; NONCE: 64 hexadecimal digits; MIB: bytes each way; COUNT: round trips. It says
 * "ready" when the stream is open, and answers each line that it reads with a number: "down" and
 * "up" with MB/s, "rtt" with us (the median). The end of its input ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "stream/stream.h"
#include "vm/conn.h"

enum { PIECE = 64 * 1024, CREDIT = 1024 * 1024, HEAD = 9, DIAL_MS = 30000, PORT = 5000 };

struct host {
	struct loop *loop;
	struct vm_conn *conn;
	struct stream *stream;
	struct loop_watch orders;
	struct loop_post begin;
	char order;
	size_t mib, count;
	char what;     /* under way: 'D', 'U', 'E'; 0: nothing */
	uint64_t left; /* to come (D), to go (U); round trips (E) */
	double since;
	double *took; /* count of them */
};

static const uint8_t filler[PIECE];

static _Noreturn void fail(const char *what, const struct err *why)
{
	fprintf(stderr, "vm-host: %s: %s\n", what, why ? why->msg : "it ended");
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t bytes(const struct host *h)
{
	return (uint64_t)h->mib << 20;
}

static double rate(const struct host *h)
{
	return (double)bytes(h) / (now_s() - h->since) / 1e6;
}

static void write_all(struct host *h, const uint8_t *p, size_t n)
{
	if (stream_write(h->stream, p, n) != n)
		fail("an order", NULL);
}

static void ask(struct host *h, char what, uint64_t n)
{
	uint8_t head[HEAD] = { (uint8_t)what };

	for (int i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)(n >> (56 - 8 * i));
	h->what = what;
	h->left = n;
	h->since = now_s();
	write_all(h, head, sizeof(head));
}

static void send_more(void *arg)
{
	struct host *h = arg;

	while (h->what == 'U' && h->left) {
		size_t n = h->left < PIECE ? (size_t)h->left : PIECE;
		size_t taken = stream_write(h->stream, filler, n);

		h->left -= taken;
		if (taken < n)
			return;
	}
}

static void ping(struct host *h)
{
	h->since = now_s();
	write_all(h, filler, 1);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void tell(struct host *h)
{
	if (h->what == 'E')
		qsort(h->took, h->count, sizeof(*h->took), by_size);
	printf("%.3f\n", h->what == 'E' ? h->took[h->count / 2] * 1e6 : rate(h));
	(void)fflush(stdout);
	h->what = 0;
}

static void on_echo(struct host *h)
{
	h->took[--h->left] = now_s() - h->since;
	if (h->left)
		ping(h);
	else
		tell(h);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct host *h = arg;

	(void)p;
	stream_credit(h->stream, n);
	if (h->what == 'E') {
		on_echo(h);
		return;
	}
	if (h->what == 'D')
		h->left -= n;
	if (h->left == 0)
		tell(h);
}

static void on_eof(void *arg)
{
	(void)arg;
	fail("stream", NULL);
}

static void on_closed(void *arg, const struct err *why)
{
	(void)arg;
	fail("stream", why);
}

static const struct stream_handler handler = {
	.data = on_data, .eof = on_eof, .writable = send_more, .closed = on_closed
};

static void begin(void *arg)
{
	struct host *h = arg;

	if (h->order == 'd') {
		ask(h, 'D', bytes(h));
	} else if (h->order == 'u') {
		ask(h, 'U', bytes(h));
		send_more(h);
	} else {
		ask(h, 'E', h->count);
		ping(h);
	}
}

static void on_order(void *arg, unsigned ready)
{
	struct host *h = arg;
	char line[16];

	(void)ready;
	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		exit(0); /* the pipe's end is the guest's */
	h->order = line[0];
	loop_post(h->loop, &h->begin, begin, h);
}

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct host *h = arg;
	struct err e;

	if (!d)
		fail("dial", why);
	h->stream = d->stream;
	stream_attach(h->stream, &handler, h);
	stream_credit(h->stream, CREDIT);
	if (watch_add(h->loop, &h->orders, STDIN_FILENO, WATCH_READ, on_order, h, &e) != 0)
		fail("input", &e);
	(void)puts("ready");
	(void)fflush(stdout);
}

static void on_lost(void *arg, const struct err *why)
{
	(void)arg;
	fail("link", why);
}

static void read_nonce(uint8_t nonce[FRAME_NONCE], const char *text)
{
	for (size_t i = 0; i < FRAME_NONCE && strlen(text) == 2 * FRAME_NONCE; i++) {
		char two[3] = { text[2 * i], text[2 * i + 1], 0 };

		nonce[i] = (uint8_t)strtoul(two, NULL, 16);
	}
}

static void open_all(struct host *h, int fd, const char *nonce)
{
	static const struct vm_conn_handler owner = { .lost = on_lost };
	const struct dest to = { .host = "198.51.100.2", .port = PORT };
	struct vm_conn_opts opts = { .loop = NULL };
	struct err e;

	if (loop_new(&h->loop, &e) != 0)
		fail("loop", &e);
	opts.loop = h->loop;
	read_nonce(opts.nonce, nonce);
	h->conn = vm_conn_new(fd, &opts, &owner, h, &e);
	if (!h->conn || !vm_conn_dial(h->conn, VM_USER_CLIENT, &to, DIAL_MS, dialed, h, &e))
		fail("link", &e);
}

int main(int argc, char **argv)
{
	static struct host h;

	if (argc != 5)
		fail("FD NONCE MIB COUNT", NULL);
	h.mib = strtoul(argv[3], NULL, 10);
	h.count = strtoul(argv[4], NULL, 10);
	h.took = calloc(h.count + 1, sizeof(*h.took));
	if (!h.took || !h.mib || !h.count)
		fail("MIB, COUNT", NULL);
	open_all(&h, (int)strtol(argv[1], NULL, 10), argv[2]);
	loop_run(h.loop);
}
