/*
 * One client's states: its bytes, its limits, its end. handshake.c reads its request,
 * login.c its password, tunnel.c connects it.
 *
 *   accept -> GREETING -+-> REQUEST -+-> DIALING -> REPLYING -> relay, or UDP association
 *               (LOGIN)-+  (SOCKS5)  |
 *                       +------------+   (SOCKS4, CONNECT)
 *                       +-> HTTP -> ...  (plain requests: http_session.c)
 *                                                   \-> HELLO -> relay   (check_sni: hello.c)
 *   GREETING, REQUEST, HTTP -> LEAVING   (another loop has the route: handover.c)
 *   any of them -> REFUSING -> CLOSING, or CLOSING at once
 *
 * Bytes from the client gather in `in`, at most `cap` of them: what is behind
 * the request stays there, and is sent first when the relay starts. An HTTP
 * head is looked at only when a line has ended, so that single bytes do not
 * cost a scan each.
 *
 * client_go() alone writes the state, and arms its limit. A client that ends its
 * direction while we dial has gone away, and the dial is cancelled - unless it has
 * already sent bytes for the far side: then it may be waiting for the answer.
 *
 * When the relay starts the client is freed; what stays is in running.c.
 */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/tcp.h"
#include "proxy/answer.h"
#include "proxy/client.h"
#include "proxy/http_session.h"
#include "proxy/peer.h"
#include "proxy/running.h"
#include "proxy/socks.h"
#include "proxy/udp_associate.h"
#include "stream/stream.h"

enum {
	SMALL_CAP = 4096,     /* more than any SOCKS message */
	OUT_MAX = 256 * 1024, /* an upgrade's answer with what came behind it */
	REPLY_MS = 10000,
	REFUSE_MS = 5000,
	SAME = -1, /* the limit goes on from the state before */
	HANDSHAKE = -2
};

#define TO(state) (1u << CLIENT_##state)
#define ENDS      (TO(REFUSING) | TO(CLOSING))
static const struct {
	const char *name;
	unsigned next;
	int limit_ms;
} states[CLIENT_STATE_COUNT] = {
	[CLIENT_GREETING] = { "greeting",
			      TO(LOGIN) | TO(REQUEST) | TO(DIALING) | TO(HTTP) | TO(LEAVING) | ENDS,
			      HANDSHAKE },
	[CLIENT_LOGIN] = { "login", TO(REQUEST) | ENDS, SAME },
	[CLIENT_REQUEST] = { "request", TO(DIALING) | TO(REPLYING) | TO(LEAVING) | ENDS, SAME },
	[CLIENT_DIALING] = { "dialing", TO(REPLYING) | ENDS, CLIENT_DIAL_MS },
	[CLIENT_REPLYING] = { "replying", TO(HELLO) | TO(CLOSING), REPLY_MS },
	[CLIENT_HELLO] = { "hello", TO(CLOSING), SAME },
	[CLIENT_HTTP] = { "http", TO(DIALING) | TO(REPLYING) | TO(LEAVING) | ENDS, SAME },
	[CLIENT_LEAVING] = { "leaving", ENDS, 0 },
	[CLIENT_REFUSING] = { "refusing", TO(CLOSING), REFUSE_MS },
	[CLIENT_CLOSING] = { "closing", 0, 0 },
};

static void timed_out(void *arg);

void client_limit(struct client *c, unsigned ms)
{
	timer_arm(c->proxy->opts.loop, &c->timer, ms, timed_out, c);
}

void client_go(struct client *c, enum client_state to)
{
	int ms = states[to].limit_ms;

	assert(states[c->state].next & (1u << to));
	log_debug("proxy", "%s %s: %s -> %s", c->proxy->opts.listener, c->peer,
		  states[c->state].name, states[to].name);
	c->state = to;
	if (ms > 0)
		client_limit(c, (unsigned)ms);
	else if (ms == 0)
		timer_disarm(c->proxy->opts.loop, &c->timer);
}

/* ---- bytes ---- */

void client_credit(struct client *c)
{
	size_t held = buf_len(&c->in) + c->credit;

	if (c->eof || held >= c->cap || c->state == CLIENT_CLOSING)
		return;
	stream_credit(c->stream, c->cap - held);
	c->credit = c->cap - buf_len(&c->in);
}

bool client_flush(struct client *c)
{
	size_t n = stream_write(c->stream, buf_ptr(&c->out), buf_len(&c->out));

	buf_drop(&c->out, n);
	return !buf_len(&c->out);
}

/* ---- the audit record ---- */

void client_record(struct client *c, enum client_proto proto)
{
	static const char *const names[] = { "unknown", "socks5", "socks4", "connect", "http" };
	const struct clock *clock = loop_clock(c->proxy->opts.loop);
	struct audit_record *r = &c->rec;

	c->proto = proto;
	r->proto = names[proto];
	if (r->id)
		return;
	r->id = proxy_next_id(c->proxy);
	r->wall_ms = clock_wall_ms(clock);
	r->mono_ms = clock_mono_ms(clock);
	r->listener = c->proxy->opts.listener;
	r->action = AUDIT_REFUSE;
	audit_text(&r->peer, c->peer);
	audit_text(&r->user, c->user);
	r->has_peer_id = c->has_peer_id;
	r->uid = c->uid;
	r->pid = c->pid;
	record_program(r);
}

void client_account(struct client *c, const struct err *why)
{
	if (!c->rec.id)
		return;
	if (c->http)
		http_session_count(c->http, &c->rec);
	if (why)
		audit_text(&c->rec.error, why->msg);
	proxy_record(c->proxy, &c->rec);
}

/* ---- the end ---- */

static void drop_remote(struct client *c)
{
	loop_unpost(&c->leave);
	auth_cancel(&c->ask);
	attempt_cancel(&c->attempt);
	udp_associate_free(c->udp);
	c->udp = NULL;
	if (c->http)
		http_session_free(c->http);
	c->http = NULL;
	if (c->remote)
		proxy_abandon(c->remote);
	c->remote = NULL;
}

void client_free(struct client *c)
{
	drop_remote(c);
	timer_disarm(c->proxy->opts.loop, &c->timer);
	mem_free(c->user);
	buf_free(&c->in);
	buf_free(&c->out);
	audit_record_free(&c->rec);
	member_del(c->proxy, &c->member);
	mem_free(c);
}

void client_end(struct client *c, const struct err *why, bool broken)
{
	if (c->state == CLIENT_CLOSING)
		return;
	client_account(c, why);
	drop_remote(c);
	client_go(c, CLIENT_CLOSING);
	if (broken)
		stream_abort(c->stream);
	else
		stream_close(c->stream);
}

static void on_closed(void *arg, const struct err *why)
{
	struct client *c = arg;
	struct err gone = { .code = ERR_CLOSED, .msg = "the client went away" };

	client_account(c, why ? why : &gone);
	client_free(c);
}

/* ---- refusals ---- */

static int socks_refusal(struct client *c, const struct err *why, struct err *e)
{
	uint8_t reply[SOCKS_REPLY_MAX] = { 5, SOCKS_NO_METHOD };
	size_t n = 2;

	if (c->proto == CLIENT_SOCKS4)
		n = socks4_reply(reply, SOCKS4_REJECTED, NULL);
	else if (c->state == CLIENT_LOGIN)
		reply[0] = 1; /* RFC 1929, 2 */
	else if (c->state != CLIENT_GREETING)
		n = socks5_reply(reply, err_socks_reply(why->code), NULL);
	return buf_add(&c->out, reply, n, e);
}

void client_refuse(struct client *c, int status, const struct err *why)
{
	struct err e;
	int bad;

	client_account(c, why);
	drop_remote(c);
	if (c->proto == CLIENT_SOCKS5 || c->proto == CLIENT_SOCKS4)
		bad = socks_refusal(c, why, &e);
	else
		bad = answer_http(&c->out, status, why, c->head_only, false, &e);
	log_debug("proxy", "%s %s: refused: %s", c->proxy->opts.listener, c->peer, why->msg);
	if (bad) {
		client_end(c, NULL, false);
		return;
	}
	client_go(c, CLIENT_REFUSING);
	if (client_flush(c))
		client_end(c, NULL, false);
}

static void timed_out(void *arg)
{
	struct client *c = arg;
	struct err e;

	switch (c->state) {
	case CLIENT_GREETING:
	case CLIENT_LOGIN:
	case CLIENT_REQUEST:
		err_set(&e, ERR_TIMEOUT, "no whole request within %u ms",
			c->proxy->opts.handshake_ms);
		if (c->proto == CLIENT_UNKNOWN) /* not a byte: nobody to answer */
			client_end(c, &e, false);
		else
			client_refuse(c, 408, &e);
		return;
	case CLIENT_DIALING:
		err_set(&e, ERR_TIMEOUT, "no connection within %d s", CLIENT_DIAL_MS / 1000);
		client_refuse(c, 0, &e);
		return;
	case CLIENT_HTTP: http_session_timeout(c->http); return;
	case CLIENT_HELLO:
		c->rec.action = AUDIT_REFUSE;
		err_set(&e, ERR_TIMEOUT, "check-sni: no whole TLS hello within %u ms",
			c->proxy->opts.handshake_ms);
		client_end(c, &e, true);
		return;
	default: err_set(&e, ERR_TIMEOUT, "the client does not read"); client_end(c, &e, true);
	}
}

/* ---- the client's stream ---- */

static void credit_handshake(struct client *c)
{
	/* While we dial, bytes for the far side may wait in `in`, but no more are asked for. */
	if (c->state <= CLIENT_REQUEST || (c->state == CLIENT_DIALING && !buf_len(&c->in)))
		client_credit(c);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct client *c = arg;
	struct err e;
	/* Of an HTTP head the first bytes are looked at at once, then whole lines. */
	bool mid_line = c->proto == CLIENT_PLAIN && buf_len(&c->in) > 16 && !memchr(p, '\n', n);

	c->credit -= n;
	if (c->state >= CLIENT_REFUSING)
		return; /* nobody reads it any more */
	if (buf_add(&c->in, p, n, &e)) {
		client_end(c, &e, true);
		return;
	}
	if (c->state == CLIENT_HTTP) {
		client_credit(c);
		if (!http_session_idle(c->http) || !mid_line || buf_len(&c->in) >= HTTP1_HEAD_MAX)
			http_session_input(c->http);
		return;
	}
	if (c->state == CLIENT_HELLO) {
		client_hello_input(c);
		return;
	}
	if (!mid_line || buf_len(&c->in) >= HTTP1_HEAD_MAX)
		client_advance(c);
	credit_handshake(c);
}

static void on_eof(void *arg)
{
	struct client *c = arg;
	struct err e;

	c->eof = true;
	switch (c->state) {
	case CLIENT_GREETING:
	case CLIENT_LOGIN:
	case CLIENT_REQUEST:
		err_set(&e, ERR_CLOSED, "the client went away before its request was whole");
		client_end(c, &e, false);
		return;
	case CLIENT_DIALING:
		if (buf_len(&c->in))
			return;
		err_set(&e, ERR_CLOSED, "the client went away before it was connected");
		client_end(c, &e, false);
		return;
	case CLIENT_HTTP: http_session_input(c->http); return;
	case CLIENT_HELLO: client_hello_input(c); return;
	default: return;
	}
}

static void on_writable(void *arg)
{
	struct client *c = arg;

	if (c->state == CLIENT_HTTP) {
		http_session_writable(c->http);
		return;
	}
	if (!client_flush(c))
		return;
	if (c->state == CLIENT_REFUSING)
		client_end(c, NULL, false);
	else if (c->state == CLIENT_REPLYING)
		client_replied(c);
}

static const struct stream_handler handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

void client_attach(struct client *c)
{
	stream_attach(c->stream, &handler, c);
}

/* ---- birth, and the proxy's stop ---- */

static void stop(struct member *m, bool now)
{
	struct client *c = CONTAINER_OF(m, struct client, member);
	struct err e;

	if (!now && (c->state == CLIENT_REPLYING || c->state == CLIENT_REFUSING ||
		     (c->state == CLIENT_HTTP && !http_session_idle(c->http))))
		return;
	err_set(&e, ERR_CLOSED, "awsocks is stopping");
	if (now && c->state == CLIENT_CLOSING)
		stream_abort(c->stream);
	else if (now)
		client_end(c, &e, true);
	else if (c->state == CLIENT_DIALING)
		client_refuse(c, 503, &e);
	else
		client_end(c, &e, false);
}

static const struct member_ops member_ops = { .stop = stop };

struct client *client_make(struct proxy *p, int fd, struct err *e)
{
	struct client *c = mem_alloc(sizeof(*c));
	struct stream *s;

	if (!c) {
		close(fd);
		(void)err_set(e, ERR_NOMEM, "client");
		return NULL;
	}
	s = tcp_stream_adopt(p->opts.loop, fd, e);
	if (!s) {
		mem_free(c);
		return NULL;
	}
	c->proxy = p;
	c->stream = s;
	c->cap = SMALL_CAP;
	buf_init(&c->in, HTTP1_HEAD_MAX);
	buf_init(&c->out, OUT_MAX);
	member_add(p, &c->member, &member_ops);
	client_attach(c);
	client_limit(c, p->opts.handshake_ms);
	return c;
}

void client_resume(struct client *c)
{
	client_advance(c);
	credit_handshake(c);
}

int client_new(struct proxy *p, int fd, const struct addr *peer, struct limits_peer *share,
	       struct err *e)
{
	struct client who = { 0 }, *c;

	if (peer->ss.ss_family == AF_UNIX)
		who.has_peer_id = peer_id(fd, &who.uid, &who.pid);
	c = client_make(p, fd, e);
	if (!c)
		return -1;
	addr_format(peer, c->peer);
	c->member.placed = true;
	c->member.peer = share;
	c->has_peer_id = who.has_peer_id;
	c->uid = who.uid;
	c->pid = who.pid;
	limits_key(peer, who.has_peer_id ? who.uid : -1, c->peer_key);
	client_credit(c);
	return 0;
}
