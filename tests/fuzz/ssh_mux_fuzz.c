/*
 * Laws: whatever a master says and however it is cut, nothing is read beyond it; what we send is
 * whole packets, none for a channel that we have closed; every dial is answered and every owner
 * told exactly once; and all memory goes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/ssh_mux.h"
#include "backend/ssm/ssh_wire.h"
#include "net/loop.h"
#include "stream/stream_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { OWNERS = 4, SENT_MAX = 1 << 20 };

struct link {
	struct stream stream;
	struct loop_post post;
	struct loop *loop;
	uint8_t *sent;
	size_t n;
	bool closed;
};

struct owner {
	struct stream *s;
	int dones, closeds, opened;
	bool close_at_once;
};

static void link_closed(void *arg)
{
	struct link *l = arg;

	l->stream.handler->closed(l->stream.arg, NULL);
}
static void link_close(struct stream *s)
{
	struct link *l = (struct link *)(void *)s;

	if (!l->closed)
		loop_post(l->loop, &l->post, link_closed, l);
	l->closed = true;
}
static void link_credit(struct stream *s, size_t n)
{
	(void)s;
	(void)n;
}
static size_t link_write(struct stream *s, const uint8_t *p, size_t n)
{
	struct link *l = (struct link *)(void *)s;

	assert(l->n + n <= SENT_MAX);
	memcpy(l->sent + l->n, p, n);
	l->n += n;
	return n;
}
static void link_shutdown(struct stream *s)
{
	(void)s;
}
static const struct stream_ops link_ops = {
	.credit = link_credit, .write = link_write, .shutdown = link_shutdown, .close = link_close
};

static void ignore(void *arg)
{
	(void)arg;
}
static void on_ended(void *arg, const struct err *why)
{
	(void)arg;
	assert(why->code != ERR_NONE);
}
static void on_freed(void *arg)
{
	*(bool *)arg = true;
}
static const struct ssh_mux_handler handler = { ignore, ignore, on_ended, on_freed };

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct owner *o = arg;

	(void)p;
	assert(n);
	if (o->close_at_once)
		stream_close(o->s);
	else
		stream_credit(o->s, n);
}
static void u_closed(void *arg, const struct err *why)
{
	struct owner *o = arg;

	(void)why;
	o->closeds++;
	o->s = NULL;
}
static const struct stream_handler user = { u_data, ignore, ignore, u_closed };

static void u_done(void *arg, struct stream *s, const struct err *why)
{
	struct owner *o = arg;

	o->dones++;
	o->s = s;
	assert((s == NULL) == (why != NULL));
	if (!s)
		return;
	o->opened++;
	stream_attach(s, &user, o);
	stream_credit(s, 50);
	(void)stream_write(s, (const uint8_t *)"0123456789", 10);
	stream_shutdown(s);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void turns(struct loop *l)
{
	for (int i = 0; i < 4; i++) {
		struct loop_post post = { 0 };

		loop_post(l, &post, stop, l);
		loop_run(l);
	}
}

/* Whole packets, and the last for each of sshd's channels is its CLOSE. (sshd may give one number
 * to several of ours: then nothing can be said.) */
static void check_sent(const struct link *l)
{
	size_t at = 0, len;
	struct ssh_msg m;

	for (int i = 0; ssh_frame(l->sent + at, l->n - at, &len, NULL) == 1; i++, at += len)
		if (i > 1)
			assert(ssh_parse(l->sent + at + 4, len - 4, &m, NULL) == 0);
	assert(at == l->n);
}

static void run(struct loop *loop, const uint8_t *p, size_t n, size_t piece)
{
	static const uint8_t hello[] = { 0, 0, 0, 8, 0,    0, 0, 1,   0, 0, 0, 4,
					 0, 0, 0, 8, 0x80, 0, 0, 0xf, 0, 0, 0, 1 };
	struct link link = { .stream.ops = &link_ops, .loop = loop };
	struct ssh_mux_opts o = { .loop = loop, .window = 64, .send_max = 16 };
	struct owner owner[OWNERS] = { 0 };
	bool freed = false;
	struct ssh_mux *m;

	link.sent = malloc(SENT_MAX);
	m = ssh_mux_new(&o, &link.stream, &handler, &freed, NULL);
	link.stream.handler->data(link.stream.arg, hello, n && p[0] & 1 ? 12 : sizeof(hello));
	for (int i = 0; i < OWNERS; i++) {
		struct ssh_dial *d = ssh_mux_dial(m, "host", 80, u_done, &owner[i], NULL);

		owner[i].close_at_once = i == 1;
		if (i == 2)
			turns(loop);
		if (i == 3)
			ssh_mux_cancel(d);
	}
	turns(loop);
	for (size_t at = 1; at < n && !link.closed; at += piece) {
		size_t k = n - at < piece ? n - at : piece;

		link.stream.handler->data(link.stream.arg, p + at, k);
		turns(loop);
	}
	if (!freed)
		ssh_mux_close(m, &(struct err){ .code = ERR_CLOSED });
	turns(loop);
	for (int i = 0; i < OWNERS; i++)
		if (owner[i].s)
			stream_close(owner[i].s);
	turns(loop);
	assert(freed);
	for (int i = 0; i < OWNERS; i++) {
		assert(owner[i].dones == (i != 3));
		assert(owner[i].closeds == owner[i].opened);
	}
	check_sent(&link);
	free(link.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct loop *loop;

	if (n > 4096)
		return 0;
	if (!loop && loop_new(&loop, NULL) != 0)
		abort();
	run(loop, p, n, n + 1);
	run(loop, p, n, 7);
	return 0;
}
