/*
 * lws cannot be given a connected descriptor, but it can connect to a Unix
 * socket while it speaks to a named host:
 *
 *     lws --unix socket--> accepted end ==relay== dialled descriptor --> host
 *
 * The listening socket lives in a directory that only we may enter, and only
 * for the length of ws_bridge(): connecting to a Unix socket needs no turn of
 * the loop, so the path, the directory and the listener are gone again before
 * it returns. TLS is between lws and the host; the relay moves its records.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "net/relay.h"
#include "net/tcp.h"
#include "net/ws_impl.h"
#include "stream/stream.h"

/* A listening Unix socket of one connection. */
struct meeting {
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct sockaddr_un at;
	int fd;
};

static bool make_dir(struct meeting *m, const char *base)
{
	/* Room for "/s" behind it. */
	return base && base[0] == '/' &&
	       str_fmt(m->dir, sizeof(m->dir) - 2, "%s/awsocks-XXXXXX", base) &&
	       mkdtemp(m->dir) != NULL; /* mode 0700 */
}

static void meeting_close(struct meeting *m)
{
	if (m->fd >= 0)
		close(m->fd);
	unlink(m->at.sun_path);
	rmdir(m->dir);
}

static int meeting_open(struct meeting *m, struct err *e)
{
	int flags, sys;

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	if (!make_dir(m, getenv("XDG_RUNTIME_DIR")) && !make_dir(m, getenv("TMPDIR")) &&
	    !make_dir(m, "/tmp"))
		return err_sys(e, errno,
			       "no directory for a socket in $XDG_RUNTIME_DIR, "
			       "$TMPDIR or /tmp");
	m->at.sun_family = AF_UNIX;
	(void)str_fmt(m->at.sun_path, sizeof(m->at.sun_path), "%s/s", m->dir);
	m->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	flags = m->fd < 0 ? -1 : fcntl(m->fd, F_GETFL);
	if (flags < 0 || fcntl(m->fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(m->fd, F_SETFD, FD_CLOEXEC) != 0 ||
	    bind(m->fd, (const struct sockaddr *)&m->at, sizeof(m->at)) != 0 ||
	    listen(m->fd, 1) != 0) {
		sys = errno;
		meeting_close(m);
		return err_sys(e, sys, "socket %s", m->at.sun_path);
	}
	return 0;
}

static struct lws *connect_lws(struct ws *ws, const char *path)
{
	static const lws_retry_bo_t no_pings = { 0 }; /* ours are in ws_alive.c */
	char address[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct lws_client_connect_info i = {
		.context = ws->ctx->lws,
		.vhost = ws->trust->vhost,
		.address = address,
		.port = ws->url.port,
		.host = ws->url.authority, /* Host, SNI and the name in the certificate */
		.path = ws->target,
		.alpn = "http/1.1",
		.local_protocol_name = "ws",
		.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT |
				  (ws->url.tls ? LCCSCF_USE_SSL : 0),
		.retry_and_idle_policy = &no_pings,
		.opaque_user_data = ws,
	};
	struct lws *wsi;

	(void)str_fmt(address, sizeof(address), "+%s", path);
	ws->ctx->connecting = ws;
	wsi = lws_client_connect_via_info(&i);
	ws->ctx->connecting = NULL;
	return wsi;
}

static void on_relayed(void *arg, const struct relay_result *r)
{
	struct ws *ws = arg;

	ws->relay = NULL;
	if (r->why)
		ws->relay_why = *r->why;
	ws_bridge_ended(ws);
}

static void ignore_closed(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}

static void drop(struct stream *s)
{
	static const struct stream_handler nobody = { .closed = ignore_closed };

	stream_attach(s, &nobody, NULL);
	stream_close(s);
}

/* Takes both. */
static int join(struct ws *ws, int ours, int host, struct err *e)
{
	struct stream *a = tcp_stream_new(ws->ctx->loop, ours, e);
	struct stream *b = tcp_stream_new(ws->ctx->loop, host, e);

	if (a && b)
		ws->relay = net_relay_start(ws->ctx->loop, a, b, NULL, 0, on_relayed, ws);
	if (ws->relay)
		return 0;
	if (a)
		drop(a);
	if (b)
		drop(b);
	return a && b ? err_set(e, ERR_NOMEM, "websocket") : -1;
}

int ws_bridge(struct ws *ws, int fd, struct err *e)
{
	struct meeting m;
	int ours = -1, sys;

	if (meeting_open(&m, e) != 0) {
		close(fd);
		return -1;
	}
	ws->wsi = connect_lws(ws, m.at.sun_path);
	if (ws->wsi)
		ours = accept(m.fd, NULL, NULL);
	sys = errno;
	meeting_close(&m);
	if (ours >= 0) {
		(void)fcntl(ours, F_SETFD, FD_CLOEXEC);
		return join(ws, ours, fd, e);
	}
	close(fd);
	if (!ws->wsi)
		return err_set(e, ERR_INTERNAL, "libwebsockets does not connect");
	return err_sys(e, sys, "accept the connection of libwebsockets");
}
