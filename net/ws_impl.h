#ifndef NET_WS_IMPL_H
#define NET_WS_IMPL_H
/* Shared by the files of the websocket client (ws*.c). */
#include "base/buf.h"
#include "base/list.h"
#include "net/tls_trust.h"
#include "net/url.h"
#include "net/ws.h"
#include "net/ws_frame.h"
#include "net/ws_io.h"
#include "net/ws_parse.h"
#include "net/ws_upgrade.h"

enum { WS_TRUSTS_MAX = 64, WS_CONNECTIONS_MAX = 1024 };

/* What decides about TLS: the system's authorities, or one CA file. */
struct ws_trust {
	struct list node;
	struct tls_trust *tls;
};

struct ws_context {
	struct loop *loop;
	struct list trusts, all; /* struct ws_trust, struct ws */
	size_t count;            /* of all */
	uint64_t little_ms;      /* when one of them has last read a little */
	struct egress *egress;   /* NULL: straight */
	struct ws_keys keys;
	struct ws_blocks blocks;
	bool freeing;
	loop_fn *freed;
	void *freed_arg;
	struct loop_post post;
};

/* What is true in each state is told in ws.c. */
enum ws_state { WS_DIAL = 0, WS_HELLO, WS_UPGRADE, WS_OPEN, WS_CLOSING, WS_ENDING, WS_STATE_COUNT };
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
	struct ws_trust *trust; /* NULL: plain */
	char key[WS_KEY_TEXT];
	unsigned limit_ms, ping_ms, pong_limit_ms;
	size_t message_max;

	/* the connection */
	struct egress_dial *dial;
	struct ws_io io;
	struct loop_timer limit; /* to be open; to be closed */
	struct loop_post turn;   /* there may be something to read */
	struct loop_post flush;  /* or to write */

	/* messages */
	struct ws_out out;
	bool want_room;         /* ws_send() found none */
	bool urgent;            /* `out` holds more than what may wait */
	struct loop_timer soon; /* until then it waits */
	struct ws_parser parser;
	struct buf left; /* bytes that were read and not used yet */
	bool stuck;      /* they are not enough for anything */
	bool busy;       /* the last read brought much */
	bool paused;
	bool mute;         /* a write has failed: what can be read still is; why_mute */
	uint64_t pong_end; /* place of the last pong's end in all that was queued */
	bool pong_due;     /* a ping came while that one had not left */
	uint8_t pong[WS_CONTROL_MAX];
	size_t pong_len;

	/* is it alive? */
	struct loop_timer ping_timer, pong_timer;
	enum ws_ping ping;
	uint64_t ping_end; /* place of its last byte in all that was queued */

	/* the end */
	struct loop_post end;
	bool by_us; /* ws_close() */
	bool peer_closed;
	int code;
	char reason[WS_CONTROL_MAX];
	struct err why; /* ERR_NONE: not known yet */
	struct err why_mute;
};

/* ws_context.c */
MUST_CHECK int ws_context_trust(struct ws_context *, const char *ca_file, struct ws_trust **,
				struct err *);
void ws_context_gone(struct ws_context *); /* a ws has left the list */

/* ws.c */
void ws_end(struct ws *, const struct err *why); /* now; closed() follows from the loop */
void ws_ask_write(struct ws *);
void ws_on_ready(void *arg, unsigned ready); /* of the connection's watch */
void ws_on_limit(void *arg);

/* ws_open.c */
void ws_free(struct ws *); /* the memory alone */

/* ws_alive.c: pings. */
void ws_alive_start(struct ws *);
void ws_alive_stop(struct ws *);
void ws_alive_heard(struct ws *);   /* anything came from the peer */
void ws_alive_written(struct ws *); /* something left our queue */
void ws_alive_paused(struct ws *);  /* ws->paused has changed */
#endif
