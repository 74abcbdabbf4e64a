/*
 * A session's websocket: signed with the credentials of the moment, opened,
 * introduced by the open message, and its end told apart from the session's.
 * Each is a `struct link` of its own, so that an abandoned one may end later.
 */
#include "backend/ssm/session_impl.h"

#include <string.h>

#include "backend/ssm/channel.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "credentials/aws.h"
#include "credentials/provider.h"
#include "net/ws.h"

/* RFC 6455, 7.4.1: from "cannot accept" to "message too big" */
enum { CODE_REFUSED = 1002, CODE_TOO_LARGE = 1010, HANDSHAKE_MS = 30000 };

void session_close_link(struct session *s)
{
	if (!s->link)
		return;
	s->link->session = NULL;
	ws_close(s->link->ws);
	s->link = NULL;
}

void session_stop_waiting(struct session *s)
{
	api_cancel(s->call);
	s->call = NULL;
	if (s->asking)
		provider_cancel(s->asking);
	s->asking = NULL;
	timer_disarm(s->env->loop, &s->turn);
}

static void send_open_message(struct session *s)
{
	struct err e;
	char *text;

	if (api_open_message(s->token.text, s->env->client_id, &text, &e) != 0) {
		session_fail(s, &e);
		return;
	}
	if (!ws_send(s->link->ws, true, text, strlen(text)))
		log_debug("ssm", "%s: no room for the open message", s->label);
	mem_free_str(text);
	secret_free(&s->token); /* it is good for one connection */
}

static void on_ws_open(void *arg)
{
	struct link *link = arg;
	struct session *s = link->session;

	if (!s)
		return;
	link->open = true;
	send_open_message(s);
	if (s->state == SESSION_CONNECTING) {
		s->begun_ms = loop_now_ms(s->env->loop);
		session_go(s, SESSION_HANDSHAKE);
	} else if (s->state == SESSION_RECONNECTING) {
		channel_up(s->channel);
		session_mind_reading(s);
		session_go(s, s->was_active ? SESSION_ACTIVE : SESSION_HANDSHAKE);
		s->handler->changed(s->arg);
	}
	session_kick(s);
}

static void on_ws_message(void *arg, bool text, const uint8_t *p, size_t n)
{
	struct link *link = arg;
	struct session *s = link->session;
	struct err e;

	if (!s || text || s->state >= SESSION_TERMINATING)
		return;
	if (s->lost_ms) {
		log_info("ssm", "%s: resumed after %llu ms", s->label,
			 (unsigned long long)(loop_now_ms(s->env->loop) - s->lost_ms));
		s->lost_ms = 0;
		s->tries = 0;
	}
	if (channel_input(s->channel, p, n, &e) != 0)
		session_fail(s, &e);
	session_mind_reading(s);
	session_kick(s);
}

static void on_ws_writable(void *arg)
{
	struct link *link = arg;

	if (link->session)
		session_kick(link->session);
}

/* In the handshake too the service may end a websocket for reasons of its own, and the session
 * lives on; a refusal (1003, 1008 and the like) is not repeated, and neither is what never
 * succeeds. */
static bool may_resume(const struct session *s, int code)
{
	if (s->state == SESSION_ACTIVE || s->state == SESSION_RECONNECTING)
		return true;
	return s->state == SESSION_HANDSHAKE && (code < CODE_REFUSED || code > CODE_TOO_LARGE) &&
	       loop_now_ms(s->env->loop) - s->begun_ms < HANDSHAKE_MS;
}

static void lost_link(struct session *s, int code, const char *reason, const struct err *why)
{
	struct err e;

	if (why)
		e = *why;
	else
		(void)err_set(&e, ERR_CLOSED, "the data channel was closed");
	if (code)
		(void)err_wrap(&e, "close code %d%s%.100s", code, reason && reason[0] ? " " : "",
			       reason ? reason : "");
	if (s->state == SESSION_ENDING)
		session_go(s, SESSION_TERMINATING);
	else if (may_resume(s, code))
		session_lost_link(s, &e);
	else if (s->state < SESSION_TERMINATING)
		session_fail(s, &e);
}

static void on_ws_closed(void *arg, int code, const char *reason, const struct err *why)
{
	struct link *link = arg;
	struct session *s = link->session;

	if (s) {
		s->link = NULL;
		if (!s->closed)
			lost_link(s, code, reason, why);
		session_kick(s);
	}
	mem_free(link);
}

static const struct ws_handler ws_handler = {
	.open = on_ws_open,
	.message = on_ws_message,
	.writable = on_ws_writable,
	.closed = on_ws_closed,
};

static int open_link(struct session *s, const struct api_upgrade *u, struct err *e)
{
	struct ws_opts o = { .url = s->url,
			     .headers = u->headers,
			     .header_count = u->count,
			     .ca_file = s->env->ca_file,
			     .limit_ms = 30000 };
	struct link *link = mem_alloc(sizeof(*link));

	if (!link)
		return err_set(e, ERR_NOMEM, "data channel");
	link->session = s;
	link->ws = ws_open(s->env->ws, &o, &ws_handler, link, e);
	if (!link->ws) {
		mem_free(link);
		return -1;
	}
	s->link = link;
	return 0;
}

static void connect_failed(struct session *s, const struct err *why)
{
	if (s->state == SESSION_RECONNECTING)
		session_lost_link(s, why);
	else
		session_fail(s, why);
}

static void on_creds(void *arg, struct creds *creds, const struct err *why)
{
	struct session *s = arg;
	struct api_upgrade u = { 0 };
	struct err e;
	int r;

	s->asking = NULL;
	if (!creds) {
		connect_failed(s, why);
		return;
	}
	r = api_sign_upgrade(s->url, s->env->api.region, creds,
			     clock_wall_ms(loop_clock(s->env->loop)) +
				     aws_skew_at(s->env->api.aws, s->env->api.endpoint),
			     &u, &e);
	if (r == 0)
		r = open_link(s, &u, &e);
	api_upgrade_free(&u);
	if (r != 0)
		connect_failed(s, &e);
}

/* With the credentials of this moment, so that a renewed set is used. */
void session_connect(struct session *s)
{
	struct api_upgrade none = { 0 };
	struct err e;

	if (s->env->no_sign || api_url_presigned(s->url)) {
		if (open_link(s, &none, &e) != 0)
			connect_failed(s, &e);
		return;
	}
	s->asking = provider_get(aws_provider(s->env->api.aws), on_creds, s, &e);
	if (!s->asking)
		connect_failed(s, &e);
}
