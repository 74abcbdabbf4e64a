#ifndef NET_WS_IMPL_H
#define NET_WS_IMPL_H
/* Shared by the files of the websocket client (ws*.c). */
#include <libwebsockets.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/tls_trust.h"
#include "net/url.h"
#include "net/ws.h"
#include "net/ws_frame.h"

enum {
	WS_RX_CHUNK = 16 * 1024,  /* a larger message comes from lws in pieces */
	WS_IO_BUFFER = 64 * 1024, /* bounds the upgrade request, too */
	WS_TRUSTS_MAX = 64,
	WS_CONNECTIONS_MAX = 1024,
};

/* A vhost of lws: what decides about TLS. */
struct ws_trust {
	struct list node;
	struct tls_trust *tls; /* NULL: for ws:// */
	struct lws_vhost *vhost;
};

struct ws_context {
	struct loop *loop;
	struct lws_context *lws; /* made with the first connection */
	struct list trusts, all; /* struct ws_trust, struct ws */
	struct ws *connecting;   /* inside lws_client_connect_via_info() */
	struct ws_keys keys;
	bool freeing;
	loop_fn *freed;
	void *freed_arg;
	struct loop_post post;
	uv_idle_t turn;
	unsigned turns;
};

/* What is true in each state is told in ws.c. */
enum ws_state { WS_DIAL = 0, WS_UPGRADE, WS_OPEN, WS_CLOSING, WS_ENDING, WS_STATE_COUNT };
/* A ping that is not due to be answered, is in our queue, has left it. */
enum ws_ping { WS_PING_NONE = 0, WS_PING_QUEUED, WS_PING_SENT };

struct ws {
	struct list node; /* in ctx->all */
	struct ws_context *ctx;
	const struct ws_handler *handler;
	void *arg;
	enum ws_state state;

	/* how to connect */
	struct url url;
	char *target;
	struct http_header *headers; /* ours */
	size_t header_count;
	struct ws_trust *trust;
	unsigned limit_ms, ping_ms, pong_limit_ms;
	size_t message_max;

	/* the connection */
	struct net_dial *dial;
	struct lws *wsi;
	struct net_relay *relay;
	struct loop_timer limit; /* to be open; to be closed */
	int http_status;

	/* messages */
	struct ws_out out;
	bool want_write; /* lws has been asked for a WRITEABLE */
	bool want_room;  /* ws_send() found none */
	struct buf in;   /* the message so far, when it comes in pieces */
	bool in_text, in_pieces;
	bool paused;

	/* is it alive? */
	struct loop_timer ping_timer, pong_timer;
	enum ws_ping ping;
	uint64_t ping_end; /* place of its last byte in all that was queued */

	/* the end */
	struct loop_post post;
	bool by_us; /* ws_close() */
	bool peer_closed;
	bool dropped; /* lws has ended a connection that was still whole */
	int code;
	char reason[WS_CONTROL_MAX];
	struct err why;       /* ERR_NONE: not known yet */
	struct err relay_why; /* what the connection below said */
};

/* ws_context.c */
MUST_CHECK int ws_context_start(struct ws_context *, struct err *); /* lws itself, once */
struct ws_trust *ws_context_trust(struct ws_context *, bool tls, const char *ca_file, struct err *);
void ws_context_gone(struct ws_context *); /* a ws has left the list */

/* ws.c */
int ws_on_lws(struct lws *, enum lws_callback_reasons, void *in, size_t len);
void ws_end(struct ws *, const struct err *why); /* now; closed() follows from the loop */

void ws_ask_write(struct ws *);
void ws_bridge_ended(struct ws *); /* ws->relay is NULL now */

/* ws_bridge.c: takes fd; afterwards ws->wsi and ws->relay are there, or *e tells. */
MUST_CHECK int ws_bridge(struct ws *, int fd, struct err *);

/* ws_request.c: LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER. */
MUST_CHECK int ws_request_head(struct ws *, struct lws *, unsigned char **at, size_t room);

/* ws_alive.c: pings. */
void ws_alive_start(struct ws *);
void ws_alive_stop(struct ws *);
void ws_alive_heard(struct ws *);   /* anything came from the peer */
void ws_alive_written(struct ws *); /* something left our queue */
void ws_alive_paused(struct ws *);  /* ws->paused has changed */
#endif
