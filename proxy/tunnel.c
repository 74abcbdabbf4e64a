/*
 * From a decided request to what carries its bytes: the dial, the answer, and
 * the join. A relay (running.c) or a UDP association takes over the client's
 * stream, its place and its audit record, and the client is freed.
 *
 *   client_tunnel() -> attempt -> attempted() -> client_relay() ~~answer has left~~> client_join()
 *   client_associate() ----------------------------------------~~answer has left~~> join_udp()
 *
 * A route of another loop leaves before the request's bytes are dropped.
 */
#include "net/tcp.h"
#include "proxy/answer.h"
#include "proxy/client.h"
#include "proxy/http_head.h"
#include "proxy/running.h"
#include "proxy/socks.h"
#include "proxy/udp_associate.h"
#include "stream/stream.h"

/* ---- the join ---- */

/* The client's end was heard here already: a fresh stream hears it again, and the relay with it. */
static int renew(struct client *c, struct err *e)
{
	int fd = stream_release_fd(c->stream);

	if (fd < 0)
		return err_set(e, ERR_CLOSED, "the client went away");
	c->stream = tcp_stream_adopt(c->proxy->opts.loop, fd, e);
	return c->stream ? 0 : -1;
}

void client_join(struct client *c)
{
	struct running *r;
	struct err e;

	r = running_new(c->proxy, &e);
	if (!r || (c->eof && renew(c, &e)) ||
	    running_start(r, c->stream, c->remote, buf_ptr(&c->in), buf_len(&c->in), &c->rec, &e)) {
		if (r)
			running_free(r);
		if (c->stream) {
			client_attach(c);
			client_end(c, &e, true);
			return;
		}
		client_account(c, &e);
	} else {
		running_take_place(r, &c->member);
		c->remote = NULL;
	}
	client_free(c);
}

/* The far side went while the reply was on its way. */
static void remote_closed(void *arg, const struct err *why)
{
	struct client *c = arg;

	c->remote = NULL;
	client_end(c, why, true);
}

static void remote_eof(void *arg)
{
	client_end(arg, NULL, false);
}

static const struct stream_handler remote_handler = { .eof = remote_eof, .closed = remote_closed };

void client_relay(struct client *c, struct stream *remote)
{
	c->remote = remote;
	stream_attach(remote, &remote_handler, c);
	client_go(c, CLIENT_REPLYING);
	if (client_flush(c))
		client_replied(c);
}

/* ---- the dial ---- */

static int success(struct client *c, struct err *e)
{
	static const char connected[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	uint8_t reply[SOCKS_REPLY_MAX];

	if (c->proto == CLIENT_CONNECT)
		return buf_add(&c->out, connected, sizeof(connected) - 1, e);
	/* What address the far side was reached from is not known for most
	 * routes and nobody's business: 0.0.0.0:0. */
	if (c->proto == CLIENT_SOCKS5)
		return buf_add(&c->out, reply, socks5_reply(reply, 0, NULL), e);
	return buf_add(&c->out, reply, socks4_reply(reply, SOCKS4_GRANTED, NULL), e);
}

static void attempted(void *arg, struct stream *remote, const struct err *why)
{
	struct client *c = arg;
	struct err e;

	if (!remote) {
		client_refuse(c, 0, why);
		return;
	}
	if (success(c, &e)) {
		proxy_abandon(remote);
		client_end(c, &e, true);
		return;
	}
	c->check_hello = c->proxy->opts.check_sni;
	client_relay(c, remote);
}

void client_tunnel(struct client *c, const char *host, size_t n, uint16_t port, size_t used)
{
	enum attempt_step step;
	struct err e;

	step = attempt_decide(&c->attempt, c->proxy, &c->rec, host, n, port, &e);
	if (step == ATTEMPT_ELSEWHERE) {
		client_hand_over(c);
		return;
	}
	buf_drop(&c->in, used);
	if (step == ATTEMPT_REFUSED || attempt_dial(&c->attempt, attempted, c, &e))
		client_refuse(c, 0, &e);
	else
		client_go(c, CLIENT_DIALING);
}

void client_connect(struct client *c, const struct http1_head *h)
{
	struct http1_text host;
	uint16_t port;
	struct err e;

	client_record(c, CLIENT_CONNECT);
	if (http_connect_target(h, &host, &port, &e)) {
		client_refuse(c, 400, &e);
		return;
	}
	client_tunnel(c, host.p, host.n, port, h->used);
}

/* ---- UDP ---- */

/* What the client has sent behind the request is nothing to anybody. */
static void join_udp(struct client *c)
{
	struct err e;

	if (udp_associate_start(c->udp, c->stream, c->eof, &c->member, &c->rec, &e)) {
		client_end(c, &e, true);
		return;
	}
	c->udp = NULL;
	client_free(c);
}

static void associated(void *arg)
{
	struct client *c = arg;

	if (client_flush(c))
		join_udp(c);
}

void client_associate(struct client *c, const struct socks_dest *d)
{
	uint8_t reply[SOCKS_REPLY_MAX];
	struct err e;

	c->rec.proto = "socks5-udp";
	if (c->proxy->opts.no_udp) {
		(void)err_set(&e, ERR_UNSUPPORTED, "the upstream proxy of direct carries no UDP");
		client_refuse(c, 0, &e);
		return;
	}
	c->udp = udp_associate_new(c->proxy, c->stream, d, &c->rec, associated, c, &e);
	if (!c->udp ||
	    buf_add(&c->out, reply, socks5_reply(reply, 0, udp_associate_addr(c->udp)), &e)) {
		client_refuse(c, 0, &e);
		return;
	}
	client_go(c, CLIENT_REPLYING);
}

void client_replied(struct client *c)
{
	if (c->udp)
		join_udp(c);
	else if (c->check_hello)
		client_hello(c);
	else
		client_join(c);
}
