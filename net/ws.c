/*
 * One websocket connection. Its life, and who still holds what:
 *
 *     DIAL      egress_dial() is under way
 *     HELLO     TLS; plain passes through it
 *     UPGRADE   the request is on its way, or its answer
 *     OPEN      messages
 *     CLOSING   a close frame has come or is on its way out; no messages
 *     ENDING    closed() is posted; the connection is closed and the memory freed there
 *
 * Bytes in: io -> the loop's shared buffer -> parser -> message(), where they
 * stand. What is not a whole frame, or comes while paused, is kept in `left`
 * and stands before what is read next. Bytes out: ws_send() -> out -> io, one
 * write for all that was sent in a turn.
 *
 * Reading happens in turn(), which runs from the watch, or from a post that
 * stands behind everybody's: READ_TURN bytes, then others have theirs. Writing
 * happens in flush(), at the end of the loop's turn in which something was
 * queued; a queue which has grown long is written at once. The calls of the
 * owner only queue and ask for these.
 *
 * Why a connection ended is known by the first that says so.
 */
#include "net/ws.h"

#include <string.h>

#include "base/str.h"
#include "net/egress.h"
#include "net/loop_impl.h"
#include "net/ws_impl.h"

enum {
	CLOSE_MS = 2000,        /* from our close frame to the peer's end */
	ANSWER_MS = 5000,       /* from its first byte to the end of an answer */
	WRITE_NOW = 128 * 1024, /* a longer queue would leave the processor's cache */
	/* Read in one turn: as much as pays, and less while others say little and often. */
	READ_TURN = 32 * 1024,
	READ_SHORT = 8 * 1024,
	SHORT_MS = 20,
};

static void flush(void *arg);
static void turn(void *arg);

/* ---- the end ---- */

static const struct err *cause(struct ws *ws)
{
	struct err *e = &ws->why;

	if (ws->by_us)
		return NULL;
	if (e->code == ERR_NONE && ws->peer_closed)
		(void)err_set(e, ERR_CLOSED, "closed by the peer: %d %s", ws->code, ws->reason);
	else if (e->code == ERR_NONE)
		(void)err_set(e, ERR_CLOSED, "connection closed by the peer");
	(void)err_wrap(e, "%s", ws->url.authority);
	return e;
}

static void finish(void *arg)
{
	struct ws *ws = arg;
	struct ws_context *c = ws->ctx;

	loop_unpost(&ws->turn);
	loop_unpost(&ws->flush);
	ws_io_close(&ws->io);
	ws->handler->closed(ws->arg, ws->code, ws->reason, cause(ws));
	list_del(&ws->node);
	c->count--;
	ws_free(ws);
	ws_context_gone(c);
}

void ws_end(struct ws *ws, const struct err *why)
{
	if (why && ws->why.code == ERR_NONE)
		ws->why = *why;
	if (ws->state == WS_ENDING)
		return;
	ws->state = WS_ENDING;
	timer_disarm(ws->ctx->loop, &ws->limit);
	timer_disarm(ws->ctx->loop, &ws->soon);
	ws_alive_stop(ws);
	egress_cancel(ws->dial);
	ws->dial = NULL;
	loop_post(ws->ctx->loop, &ws->end, finish, ws);
}

/* ---- writing ---- */

void ws_ask_write(struct ws *ws)
{
	if (ws->state != WS_ENDING)
		loop_post_last(ws->ctx->loop, &ws->flush, flush, ws);
}

static void ask_turn(struct ws *ws)
{
	loop_post_more(ws->ctx->loop, &ws->turn, turn, ws);
}

/* A failed write does not end the connection at once: what the peer said before it went (a close
 * frame with its reason) is read first. */
static void write_out(struct ws *ws)
{
	size_t before = ws->out.len;

	if (ws->out.len == 0 || ws->mute || !ws->io.writable)
		return;
	if (ws_io_write(&ws->io, &ws->out, &ws->why_mute) != 0) {
		ws->mute = true;
		ws->io.readable = true;
		ws_out_free(&ws->out);
		ask_turn(ws);
	} else if (ws->out.len < before) {
		ws_alive_written(ws);
	}
	if (ws->out.len == 0) {
		ws->urgent = false;
		timer_disarm(ws->ctx->loop, &ws->soon);
	}
}

static void now_urgent(void *arg)
{
	struct ws *ws = arg;

	ws->urgent = true;
	ws_ask_write(ws);
}

/* within_ms 0: it leaves with this turn. */
static int put(struct ws *ws, enum ws_opcode op, const void *p, size_t n, unsigned within_ms)
{
	struct err e;

	if (ws->mute)
		return 0; /* the end is near */
	if (ws_out_add(&ws->out, &ws->ctx->keys, op, p, n, &e) != 0) {
		ws_end(ws, &e);
		return -1;
	}
	if (within_ms == 0 || ws->out.len >= WS_BLOCK)
		now_urgent(ws);
	else if (!ws->urgent && !timer_armed(&ws->soon))
		timer_arm(ws->ctx->loop, &ws->soon, within_ms, now_urgent, ws);
	return 0;
}

static bool send_message(struct ws *ws, bool text, const void *p, size_t n, unsigned within_ms)
{
	struct err e;

	if (ws->state != WS_OPEN)
		return false;
	if (n > ws->message_max) {
		(void)err_set(&e, ERR_LIMIT, "message of %zu bytes to be sent, at most %zu", n,
			      ws->message_max);
		ws_end(ws, &e);
		return false;
	}
	/* One that is longer than the queue may be goes when nothing waits. */
	if (ws->out.len && ws->out.len + WS_HEAD_MAX + n > WS_SEND_MAX) {
		ws->want_room = true;
		return false;
	}
	if (put(ws, text ? WS_TEXT : WS_BINARY, p, n, within_ms) != 0)
		return false;
	if (ws->out.len >= WRITE_NOW)
		write_out(ws);
	return true;
}

bool ws_send(struct ws *ws, bool text, const void *p, size_t n)
{
	return send_message(ws, text, p, n, 0);
}

bool ws_send_soon(struct ws *ws, const void *p, size_t n, unsigned within_ms)
{
	return send_message(ws, false, p, n, within_ms);
}

/* ---- closing ---- */

static void enter_closing(struct ws *ws)
{
	ws->state = WS_CLOSING;
	ws_alive_stop(ws);
	timer_arm(ws->ctx->loop, &ws->limit, CLOSE_MS, ws_on_limit, ws);
}

static int put_close(struct ws *ws, int code)
{
	uint8_t body[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	return put(ws, WS_CLOSE, body, code ? sizeof(body) : 0, 0);
}

void ws_close(struct ws *ws)
{
	if (ws->by_us)
		return;
	ws->by_us = true;
	if (ws->state == WS_OPEN) {
		enter_closing(ws);
		(void)put_close(ws, 1000);
	} else if (ws->state != WS_CLOSING) {
		ws_end(ws, NULL);
	}
}

/* It is answered with the same code, and when that has left, or when it is the answer to ours,
 * this is the end (RFC 6455, 5.5.1). */
static void on_peer_close(struct ws *ws, const struct ws_event *ev)
{
	ws->peer_closed = true;
	if (ev->n >= 2) {
		ws->code = ev->p[0] << 8 | ev->p[1];
		(void)str_fmt(ws->reason, sizeof(ws->reason), "%.*s", (int)(ev->n - 2),
			      (const char *)ev->p + 2);
	}
	if (ws->state != WS_OPEN) {
		ws_end(ws, NULL);
		return;
	}
	enter_closing(ws);
	(void)put_close(ws, ws->code);
}

/* The peer is told what it did, as far as that leaves at once. */
static void on_broken(struct ws *ws, const struct err *why)
{
	if (ws->state == WS_OPEN) {
		(void)put_close(ws, ws->parser.close_code);
		write_out(ws); /* urgent or not */
	}
	ws_end(ws, why);
}

/* ---- reading ---- */

/* Only the last of several pings needs an answer (RFC 6455, 5.5.3), so a flood of them fills no
 * queue. */
static void on_ping(struct ws *ws, const uint8_t *p, size_t n)
{
	if (ws->out.total - ws->out.len < ws->pong_end) {
		memcpy(ws->pong, p, n);
		ws->pong_len = n;
		ws->pong_due = true;
		return;
	}
	ws->pong_due = false;
	if (put(ws, WS_PONG, p, n, 0) == 0)
		ws->pong_end = ws->out.total;
}

static void pong_again(struct ws *ws)
{
	if (ws->pong_due && ws->out.total - ws->out.len >= ws->pong_end)
		on_ping(ws, ws->pong, ws->pong_len);
}

static void on_control(struct ws *ws, const struct ws_event *ev)
{
	if (ev->op == WS_CLOSE)
		on_peer_close(ws, ev);
	else if (ev->op == WS_PING && ws->state == WS_OPEN)
		on_ping(ws, ev->p, ev->n);
}

/* Does the connection use what comes? */
static bool reads(const struct ws *ws)
{
	return ws->state == WS_UPGRADE || (ws->state == WS_OPEN && !ws->paused) ||
	       (ws->state == WS_CLOSING && !ws->peer_closed);
}

static size_t take_frames(struct ws *ws, const uint8_t *p, size_t n)
{
	size_t all = 0, used;
	struct ws_event ev;
	struct err e;

	while (reads(ws)) {
		enum ws_got got = ws_parse(&ws->parser, p + all, n - all, &used, &ev, &e);

		all += used;
		if (got == WS_GOT_BAD)
			on_broken(ws, &e);
		else if (got == WS_GOT_CONTROL)
			on_control(ws, &ev);
		else if (got == WS_GOT_MESSAGE && ws->state == WS_OPEN)
			ws->handler->message(ws->arg, ev.op == WS_TEXT, ev.p, ev.n);
		ws->stuck = got == WS_GOT_MORE;
		if (ws->stuck)
			break;
	}
	return all;
}

static void enter_open(struct ws *ws)
{
	ws->state = WS_OPEN;
	timer_disarm(ws->ctx->loop, &ws->limit);
	ws_alive_start(ws);
	ws->handler->open(ws->arg);
}

static size_t take_answer(struct ws *ws, const uint8_t *p, size_t n, bool ended)
{
	size_t used = 0;
	struct err e;

	switch (ws_upgrade_answer((const char *)p, n, ended, ws->key, &used, &e)) {
	case WS_ANSWER_BAD: ws_end(ws, &e); break;
	case WS_ANSWER_OPEN:
		ws->stuck = false;
		enter_open(ws);
		break;
	default:
		if (!ws->stuck && ws->limit_ms > ANSWER_MS)
			timer_arm(ws->ctx->loop, &ws->limit, ANSWER_MS, ws_on_limit, ws);
		ws->stuck = true;
		break;
	}
	return used;
}

static void keep(struct ws *ws, const uint8_t *p, size_t n)
{
	struct err e;

	if (ws->state == WS_ENDING)
		return;
	if (ws->stuck && n == LOOP_SHARED)
		(void)err_set(&e, ERR_LIMIT, "upgrade: answer of more than %d bytes", LOOP_SHARED);
	else if (buf_add(&ws->left, p, n, &e) == 0)
		return;
	ws_end(ws, &e);
}

static void take(struct ws *ws, const uint8_t *p, size_t n, bool ended)
{
	size_t used = 0;

	/* Frames that came with the answer are for the next turn: open() comes alone. */
	if (ws->state == WS_UPGRADE)
		used = take_answer(ws, p, n, ended);
	else
		used = take_frames(ws, p, n);
	keep(ws, p + used, n - used);
}

static size_t turn_max(const struct ws *ws)
{
	uint64_t now = loop_now_ms(ws->ctx->loop);

	return ws->ctx->count > 1 && now < ws->ctx->little_ms + SHORT_MS ? READ_SHORT : READ_TURN;
}

/* One read, behind what was left over. */
static void read_in(struct ws *ws)
{
	uint8_t *shared = ws->ctx->loop->shared;
	size_t have = buf_len(&ws->left), max = turn_max(ws);
	struct err e;
	long n = 0;

	if (!reads(ws) || (!ws->io.readable && (have == 0 || ws->stuck)))
		return;
	memcpy(shared, buf_ptr(&ws->left), have);
	buf_drop(&ws->left, have);
	if (ws->io.readable && have < LOOP_SHARED)
		n = ws_io_read(&ws->io, shared + have,
			       LOOP_SHARED - have < max ? LOOP_SHARED - have : max, &e);
	ws->busy = n >= READ_SHORT / 2;
	if (n > 0) {
		if (!ws->busy)
			ws->ctx->little_ms = loop_now_ms(ws->ctx->loop);
		have += (size_t)n;
		ws_alive_heard(ws);
	}
	if (have)
		take(ws, shared, have, n < 0);
	if (n < 0 && reads(ws))
		ws_end(ws, ws->mute && !ws->peer_closed ? &ws->why_mute : &e);
}

void ws_pause(struct ws *ws, bool paused)
{
	if (ws->paused == paused)
		return;
	ws->paused = paused;
	if (ws->state != WS_OPEN)
		return; /* enter_open() comes later */
	ws_alive_paused(ws);
	ws_ask_write(ws);
}

/* ---- a turn ---- */

static void say_hello(struct ws *ws)
{
	struct err e;
	struct buf head;
	int r = ws_io_handshake(&ws->io, &e);

	if (r == 0)
		return;
	buf_init(&head, WS_REQUEST_MAX);
	ws_upgrade_key(ws->key);
	if (r > 0)
		r = ws_upgrade_request(&head, ws->url.authority, ws->target, ws->key, ws->headers,
				       ws->header_count, &e);
	if (r == 0)
		r = ws_out_add_raw(&ws->out, buf_ptr(&head), buf_len(&head), &e);
	buf_free(&head);
	if (r != 0)
		ws_end(ws, &e);
	else
		ws->state = WS_UPGRADE;
	ws->urgent = true;
}

static void tell_room(struct ws *ws)
{
	if (!ws->want_room || ws->state != WS_OPEN || ws->out.len > WS_SEND_MAX / 2)
		return;
	ws->want_room = false;
	ws->handler->writable(ws->arg);
}

static void after_writing(struct ws *ws)
{
	if (ws->state == WS_OPEN)
		pong_again(ws);
	if (ws->state == WS_CLOSING && ws->peer_closed && ws->out.len == 0)
		ws_end(ws, NULL); /* the answer has left */
	if (ws->mute && ws->state != WS_ENDING && !(reads(ws) && ws->io.readable))
		ws_end(ws, ws->peer_closed ? NULL : &ws->why_mute);
}

/* What the socket is watched for, and whether there is more to read without waiting for it. */
static void go_on(struct ws *ws)
{
	if (reads(ws) && (ws->io.readable || (buf_len(&ws->left) && !ws->stuck)))
		ask_turn(ws);
	ws_io_want(&ws->io, ws->state == WS_HELLO || reads(ws),
		   !ws->io.writable && (ws->out.len || ws->state == WS_HELLO));
}

static void flush(void *arg)
{
	struct ws *ws = arg;

	if (ws->state == WS_DIAL || ws->state == WS_ENDING)
		return;
	if (ws->state != WS_HELLO) {
		if (ws->urgent)
			write_out(ws);
		after_writing(ws);
		tell_room(ws);
	}
	if (ws->state != WS_ENDING)
		go_on(ws);
}

static void turn(void *arg)
{
	struct ws *ws = arg;

	if (ws->state == WS_HELLO)
		say_hello(ws);
	read_in(ws);
	ws_ask_write(ws);
}

/* One that has much to say is behind those that have not. */
void ws_on_ready(void *arg, unsigned ready)
{
	struct ws *ws = arg;

	ws_io_ready(&ws->io, ready);
	if (ws->state == WS_ENDING)
		return;
	if (ws->busy)
		ask_turn(ws);
	else if (!list_linked(&ws->turn.node))
		turn(ws);
}

/* ---- its limits ---- */

void ws_on_limit(void *arg)
{
	struct ws *ws = arg;
	struct err e;

	if (ws->state == WS_UPGRADE && buf_len(&ws->left)) {
		(void)take_answer(ws, buf_ptr(&ws->left), buf_len(&ws->left), true);
		return;
	}
	if (ws->state == WS_CLOSING) {
		ws_end(ws, NULL);
		return;
	}
	(void)err_set(&e, ERR_TIMEOUT, "no %s within %u ms",
		      ws->state == WS_DIAL    ? "connection"
		      : ws->state == WS_HELLO ? "end of the TLS handshake"
					      : "answer to the upgrade",
		      ws->limit_ms);
	ws_end(ws, &e);
}
