/*
 * The agent's basic port session: one raw stream to one target, dialled when
 * the session starts (ssm-protocol 7.2).
 *
 *  - until the target is connected, input is refused without acknowledgement;
 *  - if that first dial fails the worker process dies: the session ends
 *    without a reason for the client;
 *  - an SSH document: the target's end ends the session;
 *  - LocalPortForwarding (clients too old for mux): nobody is told of the
 *    target's end, and the next data dials again.
 */
#include "cmd/localaws/plugin.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/localaws/pump.h"
#include "cmd/localaws/target.h"
#include "cmd/localaws/world.h"
#include "stream/stream.h"

enum { READ_AHEAD = 32 * 1024, IN_MAX = 64 * 1024 * 1024 };

/* The socket and its bytes live until closed(), the plugin perhaps shorter. */
struct link {
	struct basic *of; /* NULL: the plugin is gone, or has another link */
	struct world *w;
	struct stream *target;
	struct buf in, out;
	bool eof;
};

struct basic {
	struct plugin plugin;
	struct plugin_ctx ctx;
	struct target_dial *dial;
	struct link *link; /* NULL: not connected */
	struct pump pump;
	struct loop_post end_post;
	bool was_connected, busy, ending;
};

static void dial(struct basic *b);

static void on_end(void *arg)
{
	struct basic *b = arg;

	b->ctx.ended(b->ctx.arg, "");
}

static void end_later(struct basic *b)
{
	if (b->ending)
		return;
	b->ending = true;
	loop_post(b->ctx.w->loop, &b->end_post, on_end, b);
}

static void drop_link(struct basic *b)
{
	struct link *l = b->link;

	if (!l)
		return;
	b->link = NULL;
	l->of = NULL;
	stream_close(l->target);
}

/* The target's direction is over and all of it has left. */
static void target_over(struct basic *b)
{
	drop_link(b);
	if (b->busy) {
		b->busy = false;
		channel_taken(b->ctx.ch);
	}
	if (!b->ctx.reconnect)
		end_later(b);
}

static void push_in(struct basic *b)
{
	struct link *l = b->link;
	size_t n = stream_write(l->target, buf_ptr(&l->in), buf_len(&l->in));

	buf_drop(&l->in, n);
	l->w->stats.target_bytes_out += n;
	if (b->busy && buf_len(&l->in) == 0) {
		b->busy = false;
		channel_taken(b->ctx.ch);
	}
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct link *l = arg;

	l->w->stats.target_bytes_in += n;
	if (!l->of)
		return;
	if (buf_add(&l->out, p, n, NULL) != 0)
		l->eof = true;
	pump_wake(&l->of->pump);
}

static void on_eof(void *arg)
{
	struct link *l = arg;

	l->eof = true;
	if (l->of)
		pump_wake(&l->of->pump);
}

static void on_writable(void *arg)
{
	struct link *l = arg;

	if (l->of)
		push_in(l->of);
}

static void on_closed(void *arg, const struct err *why)
{
	struct link *l = arg;
	struct basic *b = l->of;

	(void)why;
	l->w->stats.targets_open--;
	if (b)
		b->link = NULL;
	buf_free(&l->in);
	buf_free(&l->out);
	mem_free(l);
	if (b)
		target_over(b);
}

static const struct stream_handler target_handler = { on_data, on_eof, on_writable, on_closed };

static size_t pull(void *arg, uint8_t *out, size_t max)
{
	struct basic *b = arg;
	struct link *l = b->link;
	size_t n;

	if (!l)
		return 0;
	n = buf_len(&l->out) < max ? buf_len(&l->out) : max;
	memcpy(out, buf_ptr(&l->out), n);
	buf_drop(&l->out, n);
	stream_credit(l->target, n);
	if (n == 0 && l->eof)
		target_over(b);
	return n;
}

static struct link *link_new(struct basic *b, struct stream *target)
{
	struct link *l = mem_alloc(sizeof(*l));

	if (!l)
		return NULL;
	l->of = b;
	l->w = b->ctx.w;
	l->target = target;
	buf_init(&l->in, IN_MAX);
	buf_init(&l->out, 2 * READ_AHEAD);
	return l;
}

static void on_dialed(void *arg, struct stream *target, const struct err *why)
{
	struct basic *b = arg;

	b->dial = NULL;
	if (target)
		b->link = link_new(b, target);
	if (!b->link) {
		log_info("agent", "basic: dial failed: %s; the worker dies", why ? why->msg : "");
		if (target)
			stream_close(target);
		if (!b->was_connected || !b->ctx.reconnect)
			end_later(b);
		return;
	}
	b->was_connected = true;
	b->ctx.w->stats.targets_open++;
	stream_attach(target, &target_handler, b->link);
	stream_credit(target, READ_AHEAD);
	channel_kick(b->ctx.ch);
}

static void dial(struct basic *b)
{
	struct err e = { 0 };

	b->dial = target_dial(b->ctx.target, on_dialed, b, &e);
	if (!b->dial)
		end_later(b);
}

static enum channel_take input(struct plugin *p, uint32_t type, const uint8_t *bytes, size_t n)
{
	struct basic *b = CONTAINER_OF(p, struct basic, plugin);

	if (type == WIRE_FLAG && n == 4 && bytes[3] == WIRE_DISCONNECT) {
		drop_link(b);
		if (!b->ctx.reconnect)
			end_later(b); /* its reader has lost the connection */
		return CHANNEL_TAKEN;
	}
	if (type != WIRE_OUTPUT)
		return CHANNEL_TAKEN;
	if (!b->link) {
		if (!b->dial && b->was_connected && b->ctx.reconnect)
			dial(b);
		return CHANNEL_NOT_READY;
	}
	if (buf_add(&b->link->in, bytes, n, NULL) != 0)
		return CHANNEL_NOT_READY;
	push_in(b);
	if (buf_len(&b->link->in) == 0)
		return CHANNEL_TAKEN;
	b->busy = true;
	return CHANNEL_BUSY;
}

static void wake(struct plugin *p)
{
	pump_wake(&CONTAINER_OF(p, struct basic, plugin)->pump);
}

static void stop(struct plugin *p)
{
	struct basic *b = CONTAINER_OF(p, struct basic, plugin);

	target_dial_cancel(b->dial);
	pump_stop(&b->pump);
	loop_unpost(&b->end_post);
	drop_link(b);
	mem_free(b);
}

static const struct plugin_ops ops = { input, wake, stop };

struct plugin *plugin_basic_new(const struct plugin_ctx *ctx)
{
	struct basic *b = mem_alloc(sizeof(*b));

	if (!b)
		return NULL;
	b->plugin.ops = &ops;
	b->ctx = *ctx;
	pump_init(&b->pump, ctx->w, ctx->ch, pull, b);
	dial(b);
	return &b->plugin;
}
