/*
 * One websocket connection. Its life, and who still holds what:
 *
 *     DIAL      net_dial() is under way
 *     UPGRADE   the bridge (ws_bridge.c) and lws are connected; TLS, HTTP
 *     OPEN      messages
 *     CLOSING   a close frame has come or is on its way out; no messages
 *     ENDING    what is left of lws' connection and of the bridge goes; when
 *               both have gone, closed() is posted and the memory freed
 *
 * lws closes in its own time and reports the end of its connection only by
 * WSI_DESTROY, whatever happened before; it is never ended from inside one of
 * its callbacks but from a post.
 *
 * Why a connection ended is known by the first that says so: a failed dial,
 * the TLS check, the HTTP status, a close frame; otherwise the bridge tells
 * how the connection below it ended.
 */
#include "net/ws.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/dialer.h"
#include "net/relay.h"
#include "net/ws_impl.h"

enum {
	LIMIT_MS = 30000,
	PING_MS = 30000,
	PONG_LIMIT_MS = 15000,
	MESSAGE_MAX = 2 * 1024 * 1024,
	CLOSE_MS = 2000,  /* from our close frame to the peer's end */
	LINGER_MS = 1000, /* from lws' end to the bridge's */
	HOST_MAX = 118,   /* what lws takes for SNI and Host */
};

/* ---- the end ---- */

static void ws_free(struct ws *ws)
{
	for (size_t i = 0; i < ws->header_count; i++) {
		mem_free_str((char *)ws->headers[i].name);
		mem_free_str((char *)ws->headers[i].value);
	}
	mem_free(ws->headers);
	mem_free_str(ws->target);
	ws_out_free(&ws->out);
	buf_free(&ws->in);
	mem_free(ws);
}

static const struct err *cause(struct ws *ws)
{
	struct err *e = &ws->why;

	if (ws->by_us)
		return NULL;
	if (e->code != ERR_NONE)
		;
	else if (ws->peer_closed)
		(void)err_set(e, ERR_CLOSED, "closed by the peer: %d %s", ws->code, ws->reason);
	else if (ws->relay_why.code != ERR_NONE)
		*e = ws->relay_why;
	else if (ws->dropped)
		(void)err_set(e, ERR_PROTO, "websocket protocol broken by the peer");
	else
		(void)err_set(e, ERR_CLOSED, "connection closed by the peer");
	(void)err_wrap(e, "%s", ws->url.authority);
	return e;
}

static void finish(void *arg)
{
	struct ws *ws = arg;
	struct ws_context *c = ws->ctx;

	ws->handler->closed(ws->arg, ws->code, ws->reason, cause(ws));
	list_del(&ws->node);
	ws_free(ws);
	ws_context_gone(c);
}

static void finish_if_gone(struct ws *ws)
{
	if (ws->wsi || ws->relay)
		return;
	timer_disarm(ws->ctx->loop, &ws->limit);
	loop_post(ws->ctx->loop, &ws->post, finish, ws);
}

/* Ends what is left; outside of lws' callbacks. The bridge goes first: lws
 * would wait for room to write what it holds. */
static void hang_up(void *arg)
{
	struct ws *ws = arg;

	if (ws->relay)
		net_relay_abort(ws->relay);
	if (ws->wsi)
		lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	finish_if_gone(ws);
}

static void enter_ending(struct ws *ws)
{
	ws->state = WS_ENDING;
	timer_disarm(ws->ctx->loop, &ws->limit);
	ws_alive_stop(ws);
	if (ws->dial)
		net_dial_cancel(ws->dial);
	ws->dial = NULL;
}

void ws_end(struct ws *ws, const struct err *why)
{
	if (why && ws->why.code == ERR_NONE)
		ws->why = *why;
	if (ws->state == WS_ENDING)
		return;
	enter_ending(ws);
	loop_post(ws->ctx->loop, &ws->post, hang_up, ws);
}

void ws_bridge_ended(struct ws *ws)
{
	/* Otherwise lws sees the end of its socket, after what is still in it. */
	if (ws->state == WS_ENDING)
		finish_if_gone(ws);
}

/* lws is about to close. Has the peer ended, or has lws seen something that it
 * does not stand, which it does not tell? */
static void on_closing(struct ws *ws)
{
	SSL *ssl = lws_get_ssl(ws->wsi);
	ssize_t n;
	char c;

	if (ssl && (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN))
		return;
	n = recv(lws_get_socket_fd(ws->wsi), &c, 1, MSG_PEEK | MSG_DONTWAIT);
	ws->dropped = n > 0 || (n < 0 && errno == EAGAIN);
}

/* lws has let go. If it did so by itself, the bridge gets a moment to bring
 * the last bytes out and to tell how the connection ended. */
static void on_destroyed(struct ws *ws)
{
	ws->wsi = NULL;
	if (ws->state != WS_ENDING) {
		enter_ending(ws);
		if (ws->relay && ws->why.code == ERR_NONE) {
			timer_arm(ws->ctx->loop, &ws->limit, LINGER_MS, hang_up, ws);
			return;
		}
		loop_post(ws->ctx->loop, &ws->post, hang_up, ws);
		return;
	}
	finish_if_gone(ws);
}

/* ---- messages ---- */

void ws_ask_write(struct ws *ws)
{
	if (ws->want_write || !ws->wsi)
		return;
	ws->want_write = true; /* asking lws again is not free */
	(void)lws_callback_on_writable(ws->wsi);
}

static int on_writeable(struct ws *ws)
{
	size_t n = 0;
	uint8_t *p;

	ws->want_write = false;
	p = ws_out_piece(&ws->out, &n);
	if (p) {
		/* LWS_WRITE_HTTP: as it is. One write per callback; what the
		 * socket does not take lws keeps and sends before it calls again. */
		if (lws_write(ws->wsi, p, n, LWS_WRITE_HTTP) < 0)
			return -1;
		ws_out_drop_piece(&ws->out);
		ws_alive_written(ws);
	}
	if (ws->out.len)
		ws_ask_write(ws);
	if (ws->want_room && ws->state == WS_OPEN && ws->out.len <= WS_SEND_MAX / 2) {
		ws->want_room = false;
		ws->handler->writable(ws->arg);
	}
	return 0;
}

bool ws_send(struct ws *ws, bool text, const void *p, size_t n)
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
	if (ws_out_add(&ws->out, &ws->ctx->keys, text ? WS_TEXT : WS_BINARY, p, n, &e) != 0) {
		ws_end(ws, &e);
		return false;
	}
	ws_ask_write(ws);
	return true;
}

static void on_message(struct ws *ws, const uint8_t *p, size_t n)
{
	ws->handler->message(ws->arg, ws->in_text, p, n);
}

static void on_piece(struct ws *ws, const uint8_t *p, size_t n)
{
	bool last = lws_is_final_fragment(ws->wsi);
	struct err e;

	if (!ws->in_pieces)
		ws->in_text = !lws_frame_is_binary(ws->wsi);
	if (buf_len(&ws->in) + n > ws->message_max) {
		(void)err_set(&e, ERR_LIMIT, "message of more than %zu bytes", ws->message_max);
		ws_end(ws, &e);
		return;
	}
	if (last && !ws->in_pieces) {
		on_message(ws, p, n);
		return;
	}
	if (buf_add(&ws->in, p, n, &e) != 0) {
		ws_end(ws, &e);
		return;
	}
	ws->in_pieces = !last;
	if (!last)
		return;
	on_message(ws, buf_ptr(&ws->in), buf_len(&ws->in));
	buf_drop(&ws->in, buf_len(&ws->in));
}

void ws_pause(struct ws *ws, bool paused)
{
	if (ws->paused == paused)
		return;
	ws->paused = paused;
	if (ws->state != WS_OPEN)
		return; /* on_open() looks */
	(void)lws_rx_flow_control(ws->wsi, !paused);
	ws_alive_paused(ws);
	if (!paused)
		ws_ask_write(ws); /* an event makes lws look at what it had kept */
}

/* ---- open and close ---- */

static void on_open(struct ws *ws)
{
	ws->state = WS_OPEN;
	timer_disarm(ws->ctx->loop, &ws->limit);
	if (ws->paused)
		(void)lws_rx_flow_control(ws->wsi, 0);
	ws_alive_start(ws);
	ws->handler->open(ws->arg);
}

static void on_limit(void *arg)
{
	struct ws *ws = arg;
	struct err e;

	if (ws->state == WS_CLOSING) {
		ws_end(ws, NULL);
		return;
	}
	(void)err_set(&e, ERR_TIMEOUT, "no %s within %u ms",
		      ws->state == WS_DIAL ? "connection" : "answer to the upgrade", ws->limit_ms);
	ws_end(ws, &e);
}

static void enter_closing(struct ws *ws)
{
	ws->state = WS_CLOSING;
	ws_alive_stop(ws);
	timer_arm(ws->ctx->loop, &ws->limit, CLOSE_MS, on_limit, ws);
	if (ws->paused)
		(void)lws_rx_flow_control(ws->wsi, 1);
}

void ws_close(struct ws *ws)
{
	static const uint8_t normal[2] = { 1000 >> 8, 1000 & 0xff };

	if (ws->by_us)
		return;
	ws->by_us = true;
	if (ws->state == WS_OPEN &&
	    ws_out_add(&ws->out, &ws->ctx->keys, WS_CLOSE, normal, sizeof(normal), NULL) == 0) {
		enter_closing(ws);
		ws_ask_write(ws);
	} else if (ws->state != WS_CLOSING) {
		ws_end(ws, NULL);
	}
}

/* 0: lws answers with the same code, then closes. */
static int on_peer_close(struct ws *ws, const uint8_t *p, size_t n)
{
	ws->peer_closed = true;
	if (n >= 2) {
		ws->code = p[0] << 8 | p[1];
		(void)str_fmt(ws->reason, sizeof(ws->reason), "%.*s", (int)(n - 2),
			      (const char *)p + 2);
	}
	if (ws->state != WS_OPEN)
		return -1; /* it is the answer to ours */
	enter_closing(ws);
	return 0;
}

/* The head of the answer has come. */
static int on_answer(struct ws *ws, struct lws *wsi)
{
	int status = (int)lws_http_client_http_response(wsi);

	if (status == 101)
		return 0;
	return err_set(&ws->why, status == 401 || status == 403 ? ERR_CREDS : ERR_PROTO,
		       "upgrade refused with HTTP status %d", status);
}

/* lws' own words are all there is when neither TLS nor HTTP has said why. */
static void on_error(struct ws *ws, const char *text, size_t n)
{
	char reason[TLS_REASON] = "";

	if (ws->trust->tls)
		tls_trust_take_reason(ws->trust->tls, reason);
	if (ws->why.code != ERR_NONE)
		return;
	if (reason[0])
		(void)err_set(&ws->why, ERR_TLS, "TLS: %s", reason);
	else if (n >= 3 && strncmp(text, "HS:", 3) == 0)
		(void)err_set(&ws->why, ERR_PROTO, "upgrade: %.*s", (int)n, text);
	/* else: the connection ended; the bridge knows how */
}

/* ---- what lws says ---- */

/* The ws of this wsi; NULL: it is gone, or the wsi is another one of lws'. */
static struct ws *find(struct lws *wsi)
{
	struct ws_context *c = lws_context_user(lws_get_context(wsi));
	const struct ws *want = lws_get_opaque_user_data(wsi);
	struct ws *ws;

	if (!c || !want)
		return NULL;
	if (c->connecting == want)
		return c->connecting;
	LIST_EACH (it, &c->all) {
		ws = CONTAINER_OF(it, struct ws, node);
		if (ws == want)
			return ws->wsi == wsi ? ws : NULL;
	}
	return NULL;
}

static int on_rare(struct lws *wsi, enum lws_callback_reasons why, void *in, size_t len)
{
	struct ws *ws = find(wsi);

	if (!ws)
		return 0;
	switch (why) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: return ws_request_head(ws, wsi, in, len);
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP: return on_answer(ws, wsi);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: on_error(ws, in ? in : "", in ? len : 0); break;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		if (ws->state == WS_UPGRADE)
			on_open(ws);
		break;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: return on_peer_close(ws, in, len);
	case LWS_CALLBACK_CLIENT_CLOSED: on_closing(ws); break;
	case LWS_CALLBACK_WSI_DESTROY:
		if (ws->wsi) /* else ws_bridge() is told by a NULL */
			on_destroyed(ws);
		break;
	default: break;
	}
	return 0;
}

int ws_on_lws(struct lws *wsi, enum lws_callback_reasons why, void *in, size_t len)
{
	struct ws *ws;

	switch (why) {
	case LWS_CALLBACK_CLIENT_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
		ws = lws_get_opaque_user_data(wsi);
		ws_alive_heard(ws);
		if (why == LWS_CALLBACK_CLIENT_RECEIVE && ws->state == WS_OPEN)
			on_piece(ws, in, len);
		return 0;
	case LWS_CALLBACK_CLIENT_WRITEABLE: return on_writeable(lws_get_opaque_user_data(wsi));
	default: return on_rare(wsi, why, in, len);
	}
}

/* ---- opening ---- */

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct ws *ws = arg;
	struct err e;

	(void)to;
	ws->dial = NULL;
	if (fd < 0) {
		ws_end(ws, why);
		return;
	}
	ws->state = WS_UPGRADE;
	if (ws_bridge(ws, fd, &e) != 0)
		ws_end(ws, &e);
}

static bool fits_in_head(const char *s)
{
	return s[strcspn(s, "\r\n")] == '\0';
}

static int copy_headers(struct ws *ws, const struct ws_opts *o, struct err *e)
{
	if (o->header_count == 0)
		return 0;
	ws->headers = mem_alloc(o->header_count * sizeof(*ws->headers));
	if (!ws->headers)
		return err_set(e, ERR_NOMEM, "websocket");
	for (size_t i = 0; i < o->header_count; i++) {
		struct http_header *h = &ws->headers[i];

		if (!fits_in_head(o->headers[i].name) || !fits_in_head(o->headers[i].value))
			return err_set(e, ERR_USAGE, "header with a line end");
		h->name = mem_strdup(o->headers[i].name);
		h->value = mem_strdup(o->headers[i].value);
		ws->header_count = i + 1;
		if (!h->name || !h->value)
			return err_set(e, ERR_NOMEM, "websocket");
	}
	return 0;
}

static int prepare(struct ws *ws, const struct ws_opts *o, struct err *e)
{
	if (url_parse(o->url, "ws", "wss", &ws->url, e) != 0)
		return -1;
	if (strlen(ws->url.authority) > HOST_MAX)
		return err_set(e, ERR_USAGE, "URL with a host of more than %d bytes", HOST_MAX);
	if (ws->url.tls && ws->url.v6)
		return err_set(e, ERR_UNSUPPORTED, "wss to an IPv6 literal: use a name");
	ws->target = url_target(&ws->url);
	if (!ws->target)
		return err_set(e, ERR_NOMEM, "websocket");
	if (strlen(ws->target) > WS_IO_BUFFER / 4)
		return err_set(e, ERR_USAGE, "URL with a path of more than %d bytes",
			       WS_IO_BUFFER / 4);
	if (copy_headers(ws, o, e) != 0 || ws_context_start(ws->ctx, e) != 0)
		return -1;
	ws->trust = ws_context_trust(ws->ctx, ws->url.tls, o->ca_file, e);
	return ws->trust ? 0 : -1;
}

static struct ws *ws_new(struct ws_context *c, const struct ws_opts *o,
			 const struct ws_handler *handler, void *arg)
{
	struct ws *ws = mem_alloc(sizeof(*ws));

	if (!ws)
		return NULL;
	ws->ctx = c;
	ws->handler = handler;
	ws->arg = arg;
	ws->limit_ms = o->limit_ms ? o->limit_ms : LIMIT_MS;
	ws->ping_ms = o->ping_ms ? o->ping_ms : PING_MS;
	ws->pong_limit_ms = o->pong_limit_ms ? o->pong_limit_ms : PONG_LIMIT_MS;
	ws->message_max = o->message_max ? o->message_max : MESSAGE_MAX;
	ws_out_init(&ws->out, LWS_PRE);
	buf_init(&ws->in, ws->message_max);
	return ws;
}

struct ws *ws_open(struct ws_context *c, const struct ws_opts *o, const struct ws_handler *handler,
		   void *arg, struct err *e)
{
	struct ws *ws = ws_new(c, o, handler, arg);
	struct net_dial_opts dial = { .limit_ms = o->limit_ms ? o->limit_ms : LIMIT_MS };

	if (!ws) {
		(void)err_set(e, ERR_NOMEM, "websocket");
		return NULL;
	}
	if (prepare(ws, o, e) == 0)
		ws->dial = net_dial(c->loop, ws->url.host, ws->url.port, &dial, on_dialed, ws, e);
	if (!ws->dial) {
		ws_free(ws);
		return NULL;
	}
	list_add_tail(&c->all, &ws->node);
	timer_arm(c->loop, &ws->limit, ws->limit_ms, on_limit, ws);
	return ws;
}
