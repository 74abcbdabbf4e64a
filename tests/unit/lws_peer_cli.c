/*
 * A websocket server that is not ours: libwebsockets, for net_ws_lws_test.c.
 * Usage: lws_peer_cli CERTIFICATE KEY. Listens on loopback, prints "PLAIN TLS" (ports), and serves
 * until its standard input ends. It echoes every message, in fragments of PIECE bytes; "bye" it
 * answers by closing with 4001.
 */
#include <libwebsockets.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1000 };

struct message {
	struct message *next;
	size_t len, sent;
	bool text;
	uint8_t bytes[]; /* LWS_PRE, then the message */
};
struct conn {                               /* zeroed by lws */
	struct message *now, *first, **end; /* being received; to be sent */
};
static atomic_bool ended;

static int add(struct conn *c, const void *p, size_t n)
{
	size_t len = c->now ? c->now->len : 0;
	struct message *m = realloc(c->now, sizeof(*m) + LWS_PRE + len + n);

	if (!m)
		return -1;
	memcpy(m->bytes + LWS_PRE + len, p, n);
	m->len = len + n;
	m->sent = 0;
	m->next = NULL;
	c->now = m;
	return 0;
}

static int received(struct lws *wsi, struct conn *c, const void *p, size_t n)
{
	struct message *m;

	if (add(c, p, n) != 0)
		return -1;
	if (lws_remaining_packet_payload(wsi) || !lws_is_final_fragment(wsi))
		return 0;
	m = c->now;
	c->now = NULL;
	if (m->len == 3 && memcmp(m->bytes + LWS_PRE, "bye", 3) == 0) {
		unsigned char why[] = "as told";

		free(m);
		lws_close_reason(wsi, (enum lws_close_status)4001, why, sizeof(why) - 1);
		return -1;
	}
	m->text = !lws_frame_is_binary(wsi);
	if (!c->first)
		c->end = &c->first;
	*c->end = m;
	c->end = &m->next;
	lws_callback_on_writable(wsi);
	return 0;
}

static int write_piece(struct lws *wsi, struct conn *c)
{
	struct message *m = c->first;
	size_t n;
	int how;

	if (!m)
		return 0;
	n = m->len - m->sent < PIECE ? m->len - m->sent : PIECE;
	how = m->sent ? LWS_WRITE_CONTINUATION : m->text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
	if (m->sent + n < m->len)
		how |= LWS_WRITE_NO_FIN;
	/* lws writes in front of a piece: what stands there was sent already. */
	if (lws_write(wsi, m->bytes + LWS_PRE + m->sent, n, (enum lws_write_protocol)how) < 0)
		return -1;
	m->sent += n;
	if (m->sent == m->len) {
		c->first = m->next;
		free(m);
	}
	if (c->first)
		lws_callback_on_writable(wsi);
	return 0;
}

static void forget(struct conn *c)
{
	free(c->now);
	while (c->first) {
		struct message *m = c->first;

		c->first = m->next;
		free(m);
	}
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct conn *c = user;

	switch (why) {
	case LWS_CALLBACK_RECEIVE: return received(wsi, c, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE: return write_piece(wsi, c);
	case LWS_CALLBACK_CLOSED: forget(c); return 0;
	default: return 0;
	}
}

static void *until_end_of_input(void *ctx)
{
	char c;

	while (read(0, &c, 1) > 0)
		;
	ended = true;
	lws_cancel_service(ctx);
	return NULL;
}

static struct lws_vhost *listen_at(struct lws_context *ctx, const char *name, const char *cert,
				   const char *key)
{
	static const struct lws_protocols protocols[] = {
		{ .name = "ws",
		  .callback = on_lws,
		  .per_session_data_size = sizeof(struct conn),
		  .rx_buffer_size = 4096 },
		{ .name = NULL },
	};
	struct lws_context_creation_info info = {
		.port = 0,
		.iface = "127.0.0.1",
		.vhost_name = name,
		.protocols = protocols,
		.ssl_cert_filepath = cert,
		.ssl_private_key_filepath = key,
		.options = cert ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0,
	};

	return lws_create_vhost(ctx, &info);
}

int main(int argc, char **argv)
{
	struct lws_context_creation_info info = {
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.uid = -1,
		.gid = -1,
		.fd_limit_per_thread = 64,
	};
	struct lws_context *ctx;
	struct lws_vhost *plain, *tls;
	pthread_t t;

	if (argc != 3)
		return 64;
	lws_set_log_level(LLL_ERR, NULL);
	ctx = lws_create_context(&info);
	plain = ctx ? listen_at(ctx, "plain", NULL, NULL) : NULL;
	tls = ctx ? listen_at(ctx, "tls", argv[1], argv[2]) : NULL;
	if (!plain || !tls)
		return 1;
	printf("%d %d\n", lws_get_vhost_listen_port(plain), lws_get_vhost_listen_port(tls));
	fflush(stdout);
	if (pthread_create(&t, NULL, until_end_of_input, ctx) != 0)
		return 1;
	while (!ended && lws_service(ctx, 0) >= 0)
		;
	lws_context_destroy(ctx);
	return 0;
}
