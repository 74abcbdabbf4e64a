/*
 * The agent's mux: an smux v1 server whose bytes are the session's Output
 * payloads, and a forwarder behind it.
 *
 *   client --payloads--> pipe --frames--> stream.in --> target
 *   client <--1024 B-- pump <-- tx <--frames-- stream.out <-- target
 *
 * True to port_mux.go and smux (ssm-protocol 7.3 and 8):
 *  - all streams share one bucket of 4 MiB; while it is empty no frame is
 *    read, whichever stream fills it, and soon the channel stands still;
 *  - streams are accepted one after another and the dial is inside that loop:
 *    a target that does not answer holds up all new streams;
 *  - a failed dial sends Flag 3 at once and FIN by way of the mux;
 *  - FIN from the client: what is buffered is delivered, then the target is
 *    closed fully. The target's end: FIN, and the stream is forgotten;
 *  - a wrong version byte kills the mux and not the session.
 *
 * A stream that the mux has forgotten lives on (mux NULL) until its socket's
 * closed() has come.
 */
#include "cmd/localaws/plugin.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/localaws/pump.h"
#include "cmd/localaws/smux.h"
#include "cmd/localaws/target.h"
#include "cmd/localaws/world.h"
#include "stream/stream.h"

enum {
	BUCKET = 4 * 1024 * 1024,
	BACKLOG = 1024,
	COPY = 32 * 1024,        /* io.Copy's buffer: the longest frame the agent sends */
	PIPE_SLACK = 208 * 1024, /* the socket between data channel and mux holds that much */
	PIPE_MAX = 64 * 1024 * 1024,
	ID_SLOTS = 256,
	NOP_MS = 10000,
	SILENCE_NOPS = 3,
};

struct mux;
struct mstream {
	struct list node;  /* in its id slot */
	struct list queue; /* in mux.accept or mux.ready, or in none */
	struct mux *mux;   /* NULL: forgotten */
	struct world *w;
	uint32_t id;
	struct stream *target; /* NULL: not connected */
	struct buf in, out;
	bool client_fin, target_eof, closing;
};

struct mux {
	struct plugin plugin;
	struct plugin_ctx ctx;
	struct buf pipe, tx;
	int64_t bucket;
	struct list by_id[ID_SLOTS];
	struct list accept, ready;
	size_t accept_count;
	struct mstream *dialing;
	struct target_dial *dial;
	struct pump pump;
	struct loop_post parse_post;
	struct loop_timer nop, silence;
	bool dead, frame_seen, busy;
};

static void on_parse(void *arg);
static void die(struct mux *m);
static void accept_next(struct mux *m);

/* --- streams --- */

static struct list *slot_of(struct mux *m, uint32_t id)
{
	return &m->by_id[(id >> 1) % ID_SLOTS];
}

static struct mstream *find(struct mux *m, uint32_t id)
{
	LIST_EACH (it, slot_of(m, id)) {
		struct mstream *s = CONTAINER_OF(it, struct mstream, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

static void free_stream(struct mstream *s)
{
	buf_free(&s->in);
	buf_free(&s->out);
	mem_free(s);
}

/* The bucket gets back what the stream held; parsing may go on. */
static void refill(struct mux *m, size_t n)
{
	m->bucket += (int64_t)n;
	if (n && buf_len(&m->pipe))
		loop_post(m->ctx.w->loop, &m->parse_post, on_parse, m);
}

/* The mux does not know the stream any more; its socket closes by itself. */
static void forget(struct mstream *s)
{
	struct mux *m = s->mux;

	list_del(&s->node);
	if (list_linked(&s->queue)) {
		list_del(&s->queue);
		if (!s->target && !s->closing)
			m->accept_count--;
	}
	s->mux = NULL;
	refill(m, buf_len(&s->in));
	if (s->target)
		stream_close(s->target);
	else
		free_stream(s);
}

static void put_frame(struct mux *m, enum smux_cmd cmd, uint32_t id, const void *p, size_t n)
{
	uint8_t head[SMUX_HEAD];

	if (m->dead)
		return;
	smux_head(cmd, id, n, head);
	if (buf_add(&m->tx, head, sizeof(head), NULL) != 0 || buf_add(&m->tx, p, n, NULL) != 0) {
		log_error("agent", "out of memory: the mux is dead");
		m->dead = true;
		return;
	}
	pump_wake(&m->pump);
}

static void finish(struct mstream *s)
{
	struct mux *m = s->mux;

	put_frame(m, SMUX_FIN, s->id, NULL, 0);
	forget(s);
}

/* --- client to target --- */

static void push_in(struct mstream *s)
{
	size_t n;

	if (!s->target || s->closing)
		return;
	n = stream_write(s->target, buf_ptr(&s->in), buf_len(&s->in));
	buf_drop(&s->in, n);
	s->w->stats.target_bytes_out += n;
	refill(s->mux, n);
	if (s->client_fin && buf_len(&s->in) == 0)
		finish(s); /* a full close: replies under way are lost */
}

/* --- target to client --- */

static void make_ready(struct mstream *s)
{
	if (!list_linked(&s->queue))
		list_add_tail(&s->mux->ready, &s->queue);
	pump_wake(&s->mux->pump);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct mstream *s = arg;

	s->w->stats.target_bytes_in += n;
	if (!s->mux)
		return;
	if (buf_add(&s->out, p, n, NULL) != 0) {
		finish(s);
		return;
	}
	make_ready(s);
}

static void on_eof(void *arg)
{
	struct mstream *s = arg;

	if (!s->mux)
		return;
	s->target_eof = true;
	make_ready(s);
}

static void on_writable(void *arg)
{
	struct mstream *s = arg;

	if (s->mux)
		push_in(s);
}

static void on_closed(void *arg, const struct err *why)
{
	struct mstream *s = arg;

	(void)why;
	s->w->stats.targets_open--;
	s->target = NULL;
	if (!s->mux) {
		free_stream(s);
		return;
	}
	s->closing = true; /* broken: what was read still goes, then FIN */
	s->target_eof = true;
	make_ready(s);
}

static const struct stream_handler target_handler = { on_data, on_eof, on_writable, on_closed };

/* One frame of the stream whose turn it is. */
static void frame_next(struct mux *m)
{
	struct mstream *s = CONTAINER_OF(list_pop(&m->ready), struct mstream, queue);
	size_t n = buf_len(&s->out) < COPY ? buf_len(&s->out) : COPY;

	if (n) {
		put_frame(m, SMUX_PSH, s->id, buf_ptr(&s->out), n);
		buf_drop(&s->out, n);
		if (s->target)
			stream_credit(s->target, n);
	}
	if (buf_len(&s->out))
		list_add_tail(&m->ready, &s->queue);
	else if (s->target_eof)
		finish(s);
}

static size_t pull(void *arg, uint8_t *out, size_t max)
{
	struct mux *m = arg;
	size_t n;

	if (fault_on(&m->ctx.w->faults, FAULT_ZOMBIE))
		die(m);
	while (buf_len(&m->tx) < max && !list_empty(&m->ready))
		frame_next(m);
	n = buf_len(&m->tx) < max ? buf_len(&m->tx) : max;
	memcpy(out, buf_ptr(&m->tx), n);
	buf_drop(&m->tx, n);
	return n;
}

/* --- the accept loop --- */

static void refuse(struct mux *m, struct mstream *s)
{
	static const uint8_t flag[4] = { 0, 0, 0, WIRE_CONNECT_ERROR };

	channel_send(m->ctx.ch, WIRE_FLAG, flag, sizeof(flag));
	finish(s);
}

static void on_dialed(void *arg, struct stream *target, const struct err *why)
{
	struct mux *m = arg;
	struct mstream *s = m->dialing;

	m->dial = NULL;
	m->dialing = NULL;
	if (target) {
		s->target = target;
		m->ctx.w->stats.targets_open++;
		stream_attach(target, &target_handler, s);
		stream_credit(target, COPY);
		push_in(s);
	} else {
		log_info("agent", "stream %u: dial failed: %s", (unsigned)s->id, why->msg);
		refuse(m, s);
	}
	accept_next(m);
}

static void accept_next(struct mux *m)
{
	struct mstream *s;

	while (!m->dialing && !list_empty(&m->accept)) {
		struct err e = { 0 };

		s = CONTAINER_OF(list_pop(&m->accept), struct mstream, queue);
		m->accept_count--;
		m->dialing = s;
		m->dial = target_dial(m->ctx.target, on_dialed, m, &e);
		if (m->dial)
			break;
		m->dialing = NULL;
		refuse(m, s);
	}
	if (buf_len(&m->pipe))
		loop_post(m->ctx.w->loop, &m->parse_post, on_parse, m);
}

static void open_stream(struct mux *m, uint32_t id)
{
	struct mstream *s;

	if (find(m, id))
		return;
	s = mem_alloc(sizeof(*s));
	if (!s) {
		put_frame(m, SMUX_FIN, id, NULL, 0);
		return;
	}
	s->mux = m;
	s->w = m->ctx.w;
	s->id = id;
	buf_init(&s->in, BUCKET + SMUX_PAYLOAD_MAX);
	buf_init(&s->out, 2 * COPY);
	list_add_tail(slot_of(m, id), &s->node);
	list_add_tail(&m->accept, &s->queue);
	m->accept_count++;
	accept_next(m);
}

/* --- frames in --- */

/* No FIN, no close: the client hears nothing of it. */
static void die(struct mux *m)
{
	m->dead = true;
	pump_stop(&m->pump);
	target_dial_cancel(m->dial);
	m->dial = NULL;
	m->dialing = NULL;
	for (size_t i = 0; i < ID_SLOTS; i++)
		LIST_EACH (it, &m->by_id[i])
			forget(CONTAINER_OF(it, struct mstream, node));
	buf_free(&m->pipe);
	buf_free(&m->tx);
}

static void frame_in(struct mux *m, const struct smux_frame *f)
{
	struct mstream *s = f->cmd == SMUX_PSH || f->cmd == SMUX_FIN ? find(m, f->id) : NULL;

	m->frame_seen = true;
	if (f->cmd == SMUX_SYN) {
		open_stream(m, f->id);
	} else if (s && f->cmd == SMUX_FIN) {
		s->client_fin = true;
		push_in(s);
	} else if (s && f->len && !s->client_fin) {
		if (buf_add(&s->in, f->payload, f->len, NULL) != 0) {
			die(m);
			return;
		}
		m->bucket -= (int64_t)f->len;
		push_in(s);
	}
}

static void parse(struct mux *m)
{
	struct smux_frame f;

	while (!m->dead && m->bucket > 0 && m->accept_count < BACKLOG) {
		enum smux_step step = smux_decode(buf_ptr(&m->pipe), buf_len(&m->pipe), &f);

		if (step == SMUX_MORE)
			break;
		if (step == SMUX_BAD) {
			log_info("agent", "mux: bad frame; the session is a zombie now");
			die(m);
			break;
		}
		frame_in(m, &f);
		if (!m->dead)
			buf_drop(&m->pipe, f.used);
	}
	if (m->busy && buf_len(&m->pipe) <= PIPE_SLACK) {
		m->busy = false;
		channel_taken(m->ctx.ch);
	}
}

static void on_parse(void *arg)
{
	parse(arg);
}

static enum channel_take bytes_in(struct mux *m, const uint8_t *p, size_t n)
{
	struct err e = { 0 };

	if (fault_on(&m->ctx.w->faults, FAULT_ZOMBIE))
		die(m);
	if (m->dead)
		return CHANNEL_TAKEN; /* acknowledged, and gone */
	if (buf_add(&m->pipe, p, n, &e) != 0) {
		log_warn("agent", "mux: %s", e.msg);
		return CHANNEL_NOT_READY;
	}
	parse(m);
	if (buf_len(&m->pipe) <= PIPE_SLACK)
		return CHANNEL_TAKEN;
	m->busy = true;
	return CHANNEL_BUSY;
}

static enum channel_take input(struct plugin *p, uint32_t type, const uint8_t *bytes, size_t n)
{
	struct mux *m = CONTAINER_OF(p, struct mux, plugin);

	return type == WIRE_OUTPUT ? bytes_in(m, bytes, n) : CHANNEL_TAKEN;
}

/* --- keepalive: only for clients up to 1.2.331.0 --- */

static uint64_t nop_ms(const struct mux *m)
{
	return (uint64_t)fault_value(&m->ctx.w->faults, FAULT_KEEPALIVE, NOP_MS);
}

static void send_nop(void *arg)
{
	struct mux *m = arg;

	put_frame(m, SMUX_NOP, 0, NULL, 0);
	timer_arm(m->ctx.w->loop, &m->nop, nop_ms(m), send_nop, m);
}

static void check_silence(void *arg)
{
	struct mux *m = arg;

	if (!m->frame_seen && m->bucket > 0) {
		log_info("agent", "mux: nothing heard for too long");
		die(m);
		m->ctx.ended(m->ctx.arg, "");
		return;
	}
	m->frame_seen = false;
	timer_arm(m->ctx.w->loop, &m->silence, SILENCE_NOPS * nop_ms(m), check_silence, m);
}

static void wake(struct plugin *p)
{
	struct mux *m = CONTAINER_OF(p, struct mux, plugin);

	if (!m->dead)
		pump_wake(&m->pump);
}

static void stop(struct plugin *p)
{
	struct mux *m = CONTAINER_OF(p, struct mux, plugin);

	die(m);
	loop_unpost(&m->parse_post);
	timer_disarm(m->ctx.w->loop, &m->nop);
	timer_disarm(m->ctx.w->loop, &m->silence);
	buf_free(&m->pipe);
	buf_free(&m->tx);
	mem_free(m);
}

static const struct plugin_ops ops = { input, wake, stop };

struct plugin *plugin_mux_new(const struct plugin_ctx *ctx)
{
	struct mux *m = mem_alloc(sizeof(*m));

	if (!m)
		return NULL;
	m->plugin.ops = &ops;
	m->ctx = *ctx;
	m->bucket = BUCKET;
	buf_init(&m->pipe, PIPE_MAX);
	buf_init(&m->tx, (size_t)PIPE_MAX);
	list_init(&m->accept);
	list_init(&m->ready);
	for (size_t i = 0; i < ID_SLOTS; i++)
		list_init(&m->by_id[i]);
	pump_init(&m->pump, ctx->w, ctx->ch, pull, m);
	if (ctx->keepalive) {
		timer_arm(ctx->w->loop, &m->nop, nop_ms(m), send_nop, m);
		timer_arm(ctx->w->loop, &m->silence, SILENCE_NOPS * nop_ms(m), check_silence, m);
	}
	return &m->plugin;
}
