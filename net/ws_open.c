/* The beginning of a websocket: its options copied and checked, the dial. */
#include <string.h>

#include "base/mem.h"
#include "net/egress.h"
#include "net/loop_impl.h"
#include "net/ws_impl.h"

enum {
	LIMIT_MS = 30000,
	PING_MS = 30000,
	PONG_LIMIT_MS = 15000,
	MESSAGE_MAX = 2 * 1024 * 1024,
	TARGET_MAX = 16 * 1024, /* path and query */
};

void ws_free(struct ws *ws)
{
	for (size_t i = 0; i < ws->header_count; i++) {
		mem_free_str((char *)ws->headers[i].name);
		mem_free_str((char *)ws->headers[i].value);
	}
	mem_free(ws->headers);
	mem_free_str(ws->target);
	ws_out_free(&ws->out);
	ws_parser_free(&ws->parser);
	buf_free(&ws->left);
	mem_wipe(ws->pong, sizeof(ws->pong));
	mem_free(ws);
}

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
	if (ws_io_open(&ws->io, ws->ctx->loop, fd, ws->trust ? ws->trust->tls : NULL, ws->url.host,
		       ws_on_ready, ws, &e) != 0) {
		ws_end(ws, &e);
		return;
	}
	ws->state = WS_HELLO;
	ws_on_ready(ws, 0);
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
	if (ws->ctx->freeing)
		return err_set(e, ERR_CLOSED, "websocket client is being closed");
	if (ws->ctx->count == WS_CONNECTIONS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d websockets", WS_CONNECTIONS_MAX);
	if (url_parse(o->url, "ws", "wss", &ws->url, e) != 0)
		return -1;
	ws->target = url_target(&ws->url);
	if (!ws->target)
		return err_set(e, ERR_NOMEM, "websocket");
	if (strlen(ws->target) > TARGET_MAX)
		return err_set(e, ERR_USAGE, "URL with a path of more than %d bytes", TARGET_MAX);
	if (copy_headers(ws, o, e) != 0)
		return -1;
	return ws->url.tls ? ws_context_trust(ws->ctx, o->ca_file, &ws->trust, e) : 0;
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
	ws_out_init(&ws->out, &c->blocks);
	ws_parser_init(&ws->parser, ws->message_max);
	buf_init(&ws->left, LOOP_SHARED);
	return ws;
}

struct ws *ws_open(struct ws_context *c, const struct ws_opts *o, const struct ws_handler *handler,
		   void *arg, struct err *e)
{
	struct ws *ws = ws_new(c, o, handler, arg);
	struct egress_target to = { .ca_file = o->ca_file,
				    .limit_ms = o->limit_ms ? o->limit_ms : LIMIT_MS };

	if (!ws) {
		(void)err_set(e, ERR_NOMEM, "websocket");
		return NULL;
	}
	if (prepare(ws, o, e) == 0) {
		to.tls = ws->url.tls;
		to.host = ws->url.host;
		to.port = ws->url.port;
		ws->dial = egress_dial(c->loop, c->egress, &to, on_dialed, ws, e);
	}
	if (!ws->dial) {
		ws_free(ws);
		return NULL;
	}
	list_add_tail(&c->all, &ws->node);
	c->count++;
	ws->limit_ms += egress_patience_ms(c->egress);
	timer_arm(c->loop, &ws->limit, ws->limit_ms, ws_on_limit, ws);
	return ws;
}
