/*
 * libwebsockets on our loop. Its context is made with the first connection,
 * so that a program which needs none pays nothing; its environment variables
 * (proxies), signals, redirects and time limits are not used: ours are.
 *
 * Each choice of trust (none, the system's, one CA file) is a vhost with an
 * OpenSSL context of ours.
 *
 * The way down: connections end, then lws_context_destroy() begins to close
 * lws' own libuv handles; those closings need some turns of libuv's closing
 * phase, which we count by opening and closing a handle of our own; then
 * lws_context_destroy() again, which frees. Called too early the second time
 * it would free handles that libuv still holds.
 */
#include "net/ws_impl.h"

#include <string.h>

#include "base/mem.h"
#include "net/lws_log.h"

enum { CLOSING_TURNS = 4 /* event pipe, then timer and idle: 2; and a margin */ };

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		  size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
		tls_trust_verified(user, (int)len);
		return 0;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
	case LWS_CALLBACK_CLIENT_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
	case LWS_CALLBACK_CLIENT_WRITEABLE:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
	case LWS_CALLBACK_CLIENT_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY: return ws_on_lws(wsi, reason, in, len);
	default: return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "ws",
	  .callback = on_lws,
	  .rx_buffer_size = WS_RX_CHUNK,
	  .tx_packet_size = WS_BLOCK },
	{ .name = NULL },
};

int ws_context_start(struct ws_context *c, struct err *e)
{
	void *loops[1] = { loop_uv(c->loop) };
	struct lws_context_creation_info info = {
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			   LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8,
		.foreign_loops = loops,
		.port = CONTEXT_PORT_NO_LISTEN,
		.pt_serv_buf_size = WS_IO_BUFFER,
		.max_http_header_data2 = WS_IO_BUFFER / 2, /* holds path and host */
		/* Not by the number of descriptors allowed, which may be a billion. */
		.fd_limit_per_thread = WS_CONNECTIONS_MAX + 8,
		.timeout_secs = 24 * 3600,
		.connect_timeout_secs = 24 * 3600,
		.uid = -1,
		.gid = -1,
		.user = c,
	};

	if (c->freeing)
		return err_set(e, ERR_CLOSED, "websocket client is being closed");
	if (c->lws)
		return 0;
	lws_log_init();
	c->lws = lws_create_context(&info);
	if (!c->lws)
		return err_set(e, ERR_INTERNAL,
			       "libwebsockets does not start (is its libuv plug-in, "
			       "libwebsockets-evlib-uv, installed?)");
	return 0;
}

static bool is_for(const struct ws_trust *t, bool tls, const char *ca_file)
{
	const char *has = t->tls ? tls_trust_file(t->tls) : NULL;

	if (tls != (t->tls != NULL))
		return false;
	if (!tls || !has || !ca_file)
		return !tls || (!has && !ca_file);
	return strcmp(has, ca_file) == 0;
}

static int make_vhost(struct ws_context *c, struct ws_trust *t, struct err *e)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.http_proxy_address = "", /* or it would read $http_proxy */
		.timeout_secs = 24 * 3600,
		.connect_timeout_secs = 24 * 3600,
	};

	if (t->tls) {
		info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
		info.provided_client_ssl_ctx = tls_trust_ctx(t->tls);
	}
	t->vhost = lws_create_vhost(c->lws, &info);
	return t->vhost ? 0 : err_set(e, ERR_INTERNAL, "libwebsockets makes no vhost");
}

static void trust_free(struct ws_trust *t)
{
	list_del(&t->node);
	tls_trust_free(t->tls);
	mem_free(t);
}

static struct ws_trust *new_trust(struct ws_context *c, bool tls, const char *ca_file,
				  struct err *e)
{
	struct ws_trust *t = mem_alloc(sizeof(*t));

	if (!t) {
		(void)err_set(e, ERR_NOMEM, "websocket");
		return NULL;
	}
	if (tls)
		t->tls = tls_trust_new(ca_file, e);
	if ((tls && !t->tls) || make_vhost(c, t, e) != 0) {
		trust_free(t);
		return NULL;
	}
	list_add_tail(&c->trusts, &t->node);
	return t;
}

struct ws_trust *ws_context_trust(struct ws_context *c, bool tls, const char *ca_file,
				  struct err *e)
{
	struct ws_trust *t;
	size_t count = 0;

	LIST_EACH (it, &c->trusts) {
		t = CONTAINER_OF(it, struct ws_trust, node);
		count++;
		if (is_for(t, tls, ca_file))
			return t->tls && tls_trust_refresh(t->tls, e) != 0 ? NULL : t;
	}
	if (count == WS_TRUSTS_MAX) {
		(void)err_set(e, ERR_LIMIT, "more than %d CA files in use", WS_TRUSTS_MAX);
		return NULL;
	}
	return new_trust(c, tls, ca_file, e);
}

struct ws_context *ws_context_new(struct loop *l, struct err *e)
{
	struct ws_context *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "websocket client");
		return NULL;
	}
	c->loop = l;
	list_init(&c->trusts);
	list_init(&c->all);
	return c;
}

static void free_now(void *arg)
{
	struct ws_context *c = arg;
	loop_fn *freed = c->freed;
	void *freed_arg = c->freed_arg;

	LIST_EACH (it, &c->trusts)
		trust_free(CONTAINER_OF(it, struct ws_trust, node));
	mem_wipe(&c->keys, sizeof(c->keys));
	mem_free(c);
	if (freed)
		freed(freed_arg);
}

static void destroy_lws(void *arg)
{
	struct ws_context *c = arg;

	lws_context_destroy(c->lws); /* the second time: frees */
	free_now(c);
}

static void turn(struct ws_context *c);

static void turned(uv_handle_t *h)
{
	struct ws_context *c = h->data;

	if (++c->turns < CLOSING_TURNS)
		turn(c);
	else
		loop_post(c->loop, &c->post, destroy_lws, c);
}

static void turn(struct ws_context *c)
{
	uv_idle_init(loop_uv(c->loop), &c->turn);
	c->turn.data = c;
	uv_close((uv_handle_t *)&c->turn, turned);
}

static void close_lws(void *arg)
{
	struct ws_context *c = arg;

	lws_context_destroy(c->lws);
	turn(c);
}

void ws_context_gone(struct ws_context *c)
{
	if (c->freeing && list_empty(&c->all))
		loop_post(c->loop, &c->post, c->lws ? close_lws : free_now, c);
}

void ws_context_free(struct ws_context *c, loop_fn *freed, void *arg)
{
	if (!c || c->freeing)
		return;
	c->freeing = true;
	c->freed = freed;
	c->freed_arg = arg;
	LIST_EACH (it, &c->all) {
		CONTAINER_OF(it, struct ws, node)->by_us = true;
		ws_end(CONTAINER_OF(it, struct ws, node), NULL);
	}
	ws_context_gone(c);
}
