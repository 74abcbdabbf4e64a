/*
 * Is the peer alive? A ping goes out every ping_ms. Once it has left our
 * queue, something must be heard within pong_limit_ms; anything counts, for
 * the pong may stand behind data. Before that, something must at least leave
 * the queue in that time: a peer that reads slowly is alive.
 *
 * While the owner has paused reading nothing can be heard, so nothing is held
 * against the peer; the time starts anew when reading resumes.
 */
#include "net/ws_impl.h"

static void on_silence(void *arg)
{
	struct ws *ws = arg;
	struct err e;

	(void)err_set(&e, ERR_TIMEOUT, "no pong for %u ms", ws->pong_limit_ms);
	ws_end(ws, &e);
}

static void expect(struct ws *ws)
{
	if (!ws->paused)
		timer_arm(ws->ctx->loop, &ws->pong_timer, ws->pong_limit_ms, on_silence, ws);
}

static void on_ping_due(void *arg)
{
	struct ws *ws = arg;

	timer_arm(ws->ctx->loop, &ws->ping_timer, ws->ping_ms, on_ping_due, ws);
	if (ws->ping == WS_PING_QUEUED || (ws->ping == WS_PING_SENT && !ws->paused))
		return;
	if (ws_out_add(&ws->out, &ws->ctx->keys, WS_PING, "keepalive", 9, NULL) != 0)
		return; /* no memory: the next one will do */
	ws->ping = WS_PING_QUEUED;
	ws->ping_end = ws->out.total;
	ws->urgent = true;
	ws_ask_write(ws);
	expect(ws);
}

void ws_alive_start(struct ws *ws)
{
	timer_arm(ws->ctx->loop, &ws->ping_timer, ws->ping_ms, on_ping_due, ws);
}

void ws_alive_stop(struct ws *ws)
{
	timer_disarm(ws->ctx->loop, &ws->ping_timer);
	timer_disarm(ws->ctx->loop, &ws->pong_timer);
	ws->ping = WS_PING_NONE;
}

void ws_alive_heard(struct ws *ws)
{
	if (ws->ping == WS_PING_NONE)
		return;
	ws->ping = WS_PING_NONE;
	timer_disarm(ws->ctx->loop, &ws->pong_timer);
}

void ws_alive_written(struct ws *ws)
{
	if (ws->ping != WS_PING_QUEUED)
		return;
	if (ws->out.total - ws->out.len >= ws->ping_end)
		ws->ping = WS_PING_SENT;
	expect(ws);
}

void ws_alive_paused(struct ws *ws)
{
	if (ws->paused)
		timer_disarm(ws->ctx->loop, &ws->pong_timer);
	else if (ws->ping != WS_PING_NONE)
		expect(ws);
}
