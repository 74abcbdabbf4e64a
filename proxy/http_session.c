/*
 * Plain HTTP on one client connection.
 *
 *   client --in--> [request head: target, rules, rewrite] --up----> upstream
 *   client <--down-- [response head: rewrite] <--upstream.in------- upstream
 *
 *   IDLE -> DIALING -> EXCHANGE -> IDLE ...     one request after the other
 *      \-----(reuse)-----/    \-> relay         (101: the two are joined)
 *
 * A request is decided before anything of it leaves, also on a connection that
 * has served others. The upstream connection of the request before is used
 * again only when host, port and route are the same; it belongs to this client
 * alone. Requests that are pipelined wait in the client's `in`.
 *
 * pump() does all the moving, and is called after every event; what holds it
 * up is credit (reading) and the kernel (writing). Each side holds at most 64 KiB.
 *
 * A response that cannot be finished breaks the client's connection, so that
 * what was cut looks cut.
 */
#include <string.h>

#include "base/mem.h"
#include "proxy/answer.h"
#include "proxy/client.h"
#include "proxy/http_body.h"
#include "proxy/http_head.h"
#include "proxy/http_session.h"
#include "proxy/http_upstream.h"

enum { CLIENT_GONE_MS = 60000 };

enum http_state { HTTP_IDLE = 0, HTTP_DIALING, HTTP_EXCHANGE };

struct http_session {
	struct client *c;
	struct upstream *upstream;
	enum http_state state;
	struct http_body up, down;
	struct buf again;    /* the head as sent, while the request may be sent once more */
	char method[8];      /* as far as it matters: HEAD, CONNECT */
	int minor;           /* the client's version */
	bool keep;           /* the client's wish */
	bool upgrade;        /* asked for */
	bool answered;       /* the final response's head has been read */
	bool heard;          /* a byte of an answer came from upstream */
	bool upstream_keeps; /* so its answer says */
	struct loop_post post;
};

static void pump(struct http_session *h);

/* ---- upstream ---- */

static void upstream_drop(struct http_session *h)
{
	struct upstream *u = h->upstream;

	h->upstream = NULL;
	if (u)
		upstream_let_go(u, h->state == HTTP_EXCHANGE);
}

static void on_upstream(void *arg, enum upstream_event event)
{
	struct http_session *h = arg;

	h->heard = h->heard || event == UPSTREAM_BYTES || event == UPSTREAM_LINES;
	if (h->state != HTTP_EXCHANGE) {
		if (event != UPSTREAM_WRITABLE)
			upstream_drop(h); /* its end, or bytes that nobody asked for */
	} else if (event == UPSTREAM_BYTES && !h->answered) {
		upstream_credit(h->upstream); /* a head is looked at when a line has ended */
	} else {
		pump(h);
	}
}

/* ---- the end of a request ---- */

static void next_request(void *arg);

/* Will no request follow the one under way? */
static bool last(const struct client *c)
{
	return c->proxy->closing || (c->eof && !buf_len(&c->in));
}

/* The proxy's own answer, if none has begun yet. May end the client. */
static void fail(struct http_session *h, int status, const struct err *why)
{
	struct client *c = h->c;
	struct err e;
	bool keep = h->keep && h->minor == 1 && h->up.kind == HTTP1_NO_BODY && !last(c);

	upstream_drop(h);
	attempt_cancel(&c->attempt);
	if (h->answered) {
		client_end(c, why, true);
		return;
	}
	if (!keep) { /* behind interim answers that may still be on their way */
		if (buf_add(&c->out, buf_ptr(&h->down.head), buf_len(&h->down.head), &e))
			client_end(c, why, true);
		else
			client_refuse(c, status, why);
		return;
	}
	client_account(c, why);
	h->state = HTTP_IDLE;
	if (answer_http(&h->down.head, status, why, c->head_only, true, &e))
		client_end(c, &e, true);
	else
		loop_post(c->proxy->opts.loop, &h->post, next_request, h);
}

static void dial(struct http_session *h);

/* RFC 9110, 9.2.2: may be sent again after a connection broke unanswered. */
static bool repeatable(const struct http1_head *head)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (http1_text_is(head->method, methods[i]))
			return head->body == HTTP1_NO_BODY;
	return false;
}

/* The upstream went wrong in the middle of an exchange. */
static void upstream_failed(struct http_session *h, const struct err *why)
{
	struct err e = *why;

	upstream_drop(h);
	if (h->heard || !buf_len(&h->again)) {
		fail(h, e.code == ERR_TIMEOUT ? 504 : 502, &e);
		return;
	}
	buf_clear(&h->up.head);
	if (buf_add(&h->up.head, buf_ptr(&h->again), buf_len(&h->again), &e)) {
		fail(h, 0, &e);
		return;
	}
	buf_clear(&h->again);
	h->up.sent = 0;
	dial(h);
}

/* ---- requests ---- */

static void exchange(struct http_session *h)
{
	h->state = HTTP_EXCHANGE;
	client_limit(h->c, h->c->proxy->opts.exchange_ms);
	upstream_credit(h->upstream);
	pump(h);
}

static void attempted(void *arg, struct stream *remote, const struct err *why)
{
	struct http_session *h = arg;
	struct err e;

	if (!remote) {
		fail(h, 0, why);
		return;
	}
	h->upstream = upstream_new(remote, &h->c->attempt, on_upstream, h, &e);
	if (!h->upstream) {
		fail(h, 0, &e);
		return;
	}
	exchange(h);
}

static void dial(struct http_session *h)
{
	struct err e;

	h->state = HTTP_DIALING;
	client_limit(h->c, CLIENT_DIAL_MS);
	if (attempt_dial(&h->c->attempt, attempted, h, &e))
		fail(h, 0, &e);
}

/* Remembers of the head what is needed when its bytes are gone. */
static void remember(struct http_session *h, const struct http1_head *head)
{
	size_t n = head->method.n < sizeof(h->method) ? head->method.n : sizeof(h->method) - 1;

	h->c->head_only = http1_text_is(head->method, "HEAD");
	memcpy(h->method, head->method.p, n);
	h->method[n] = 0;
	h->minor = head->minor;
	h->keep = head->keep_alive;
	h->upgrade = http_wants_upgrade(head);
	h->answered = h->heard = h->upstream_keeps = false;
	http_body_begin(&h->up, head->body, head->length, false);
	http_body_begin(&h->down, HTTP1_NO_BODY, 0, false);
	h->down.whole = false;
	buf_clear(&h->again);
	buf_clear(&h->up.head);
}

/* Decides, then writes the head for upstream. REFUSED: *e says why, with *status. */
static enum attempt_step route(struct http_session *h, const struct http1_head *head, int *status,
			       struct err *e)
{
	struct client *c = h->c;
	struct http_target t;
	enum attempt_step step;

	*status = 400;
	if (http_plain_target(head, &t, e)) {
		*status = http_refusal_status(e);
		return ATTEMPT_REFUSED;
	}
	*status = 0;
	step = attempt_decide(&c->attempt, c->proxy, &c->rec, t.host.p, t.host.n, t.port, e);
	if (step == ATTEMPT_HERE && http_forward_request(head, &t, h->upgrade, &h->up.head, e))
		step = ATTEMPT_REFUSED;
	return step;
}

/* The client goes on without it. */
static void end_session(struct http_session *h)
{
	h->c->http = NULL;
	http_session_free(h);
}

static void request(struct http_session *h, const struct http1_head *head)
{
	struct client *c = h->c;
	enum attempt_step step;
	struct err e;
	int status, bad;

	client_record(c, CLIENT_PLAIN);
	remember(h, head);
	step = route(h, head, &status, &e);
	if (step == ATTEMPT_ELSEWHERE) {
		end_session(h);
		client_hand_over(c);
		return;
	}
	bad = step == ATTEMPT_REFUSED;
	if (!bad && upstream_fits(h->upstream, &c->attempt) && repeatable(head))
		bad = buf_add(&h->again, buf_ptr(&h->up.head), buf_len(&h->up.head), &e);
	buf_drop(&c->in, head->used);
	client_credit(c);
	if (bad) {
		h->keep = h->keep &&
			  !status; /* no more from one that does not know what a proxy is */
		fail(h, status, &e);
		return;
	}
	if (!upstream_fits(h->upstream, &c->attempt)) {
		upstream_drop(h);
		dial(h);
		return;
	}
	audit_text(&c->rec.address, h->upstream->address);
	audit_text(&c->rec.session, h->upstream->session);
	exchange(h);
}

static void next_request(void *arg)
{
	struct http_session *h = arg;
	struct client *c = h->c;
	struct http1_head head;
	struct err e;

	if (h->state != HTTP_IDLE || client_logs_in(c) || !http_body_flush(&h->down, c->stream))
		return; /* busy, or an answer of ours is still on its way */
	if (!buf_len(&c->in) || c->proxy->closing) {
		if (c->eof || c->proxy->closing)
			client_end(c, NULL, false);
		else
			client_limit(c, c->proxy->opts.idle_ms);
		return;
	}
	if (!c->rec.id) {
		h->up.sent = h->down.sent = 0;
		client_record(c, CLIENT_PLAIN);
		client_limit(c, c->proxy->opts.handshake_ms);
	}
	c->head_only = false; /* that was the request before */
	switch (http1_request((const char *)buf_ptr(&c->in), buf_len(&c->in), &head, &e)) {
	case HTTP1_MORE:
		err_set(&e, ERR_CLOSED, "the client went away before its request was whole");
		if (c->eof)
			client_end(c, &e, false);
		return;
	case HTTP1_BAD:
		upstream_drop(h);
		client_refuse(c, http_refusal_status(&e), &e);
		return;
	case HTTP1_DONE: break;
	}
	if (http1_text_is(head.method, "CONNECT"))
		client_record(c, CLIENT_CONNECT);
	if (!client_admit(c, &head))
		return;
	if (c->proto != CLIENT_CONNECT) {
		request(h, &head);
		return;
	}
	end_session(h);
	client_connect(c, &head);
}

/* ---- responses ---- */

static enum http_after after(const struct http_session *h, bool delimited)
{
	if (!h->keep || !delimited || last(h->c))
		return HTTP_AFTER_CLOSE;
	return h->minor == 0 ? HTTP_AFTER_KEEP : HTTP_AFTER_DEFAULT;
}

static int final_response(struct http_session *h, const struct http1_head *head, struct err *e)
{
	struct http1_text method = { h->method, strlen(h->method) };
	enum http1_body kind = http1_response_body(head, method);
	bool plain = kind == HTTP1_CHUNKED && h->minor == 0;
	bool delimited = kind != HTTP1_UNTIL_CLOSE && !plain;
	uint64_t sent = h->down.sent;

	if (after(h, delimited) == HTTP_AFTER_CLOSE)
		h->keep = false;
	if (http_forward_response(head, head->body == HTTP1_CHUNKED && !plain, after(h, delimited),
				  &h->down.head, e))
		return -1;
	h->answered = true;
	h->upstream_keeps = head->keep_alive && kind != HTTP1_UNTIL_CLOSE;
	http_body_begin(&h->down, kind, head->length, plain);
	h->down.sent = sent;
	return 0;
}

static int closed_early(const struct upstream *u, const char *when, struct err *e)
{
	if (u->why.code)
		return err_set(e, u->why.code, "the server broke off %s: %s", when, u->why.msg);
	return err_set(e, ERR_CLOSED, "the server closed the connection %s", when);
}

/* 101: what follows is no HTTP any more. Ends this session. */
static void upgraded(struct http_session *h)
{
	struct client *c = h->c;
	struct upstream *u = h->upstream;
	struct stream *remote;
	struct err e;
	int bad;

	bad = buf_add(&c->out, buf_ptr(&h->down.head), buf_len(&h->down.head), &e) ||
	      buf_add(&c->out, buf_ptr(&u->in), buf_len(&u->in), &e);
	if (!bad && !u->stream)
		bad = closed_early(u, "within its answer", &e);
	if (bad) {
		buf_clear(&c->out);
		buf_clear(&h->down.head); /* the 101 alone: what was before it has left */
		fail(h, 502, &e);
		return;
	}
	http_session_count(h, &c->rec);
	c->rec.down += buf_len(&c->out);
	c->http = NULL;
	h->upstream = NULL;
	remote = upstream_release(u);
	http_session_free(h);
	client_relay(c, remote);
}

enum headed { HEADED_ON, HEADED_WAIT, HEADED_GONE };

/* One response head, if it is there. GONE: the session may be no more. */
static enum headed response_head(struct http_session *h)
{
	struct upstream *u = h->upstream;
	struct http1_head head;
	struct err e;
	enum http1_step step = http1_response((const char *)buf_ptr(&u->in), buf_len(&u->in), &head,
					      &e);
	int bad = step == HTTP1_BAD;

	if (step == HTTP1_MORE && !u->eof)
		return HEADED_WAIT;
	if (step == HTTP1_MORE)
		bad = closed_early(u, "without an answer", &e);
	else if (!bad && head.status == 101 && !h->upgrade)
		bad = err_set(&e, ERR_PROTO, "the server changes protocols unasked");
	else if (!bad && (head.status >= 200 || head.status == 101))
		bad = head.status == 101 ? http_forward_response(&head, false, HTTP_AFTER_DEFAULT,
								 &h->down.head, &e)
					 : final_response(h, &head, &e);
	else if (!bad && h->minor == 1) /* interim; HTTP/1.0 knows none */
		bad = http_forward_response(&head, false, HTTP_AFTER_DEFAULT, &h->down.head, &e);
	if (bad) {
		upstream_failed(h, &e);
		return HEADED_GONE;
	}
	buf_drop(&u->in, head.used);
	if (head.status == 101) {
		upgraded(h);
		return HEADED_GONE;
	}
	return h->answered ? HEADED_WAIT : HEADED_ON;
}

/* Both directions are through with this request. */
static void finish(struct http_session *h)
{
	struct client *c = h->c;
	bool spent = !http_body_done(&h->up); /* answered before the request was whole */

	client_account(c, NULL);
	h->state = spent ? HTTP_EXCHANGE : HTTP_IDLE;
	if (!h->upstream_keeps || spent || h->upstream->eof || buf_len(&h->upstream->in))
		upstream_drop(h);
	if (!h->keep || spent) {
		client_end(c, NULL, false);
		return;
	}
	loop_post(c->proxy->opts.loop, &h->post, next_request, h);
}

/* Client to server. -1: the session may be no more. */
static int move_up(struct http_session *h)
{
	struct client *c = h->c;
	struct upstream *u = h->upstream;
	struct err e;

	if (!u->stream)
		return 0;
	if (http_body_move(&h->up, &c->in, false, u->stream, &e)) {
		h->keep = false;
		fail(h, 400, &e);
		return -1;
	}
	client_credit(c);
	if (!c->eof || h->up.whole)
		return 0;
	err_set(&e, ERR_CLOSED, "the client went away before its request was whole");
	client_end(c, &e, true);
	return -1;
}

/* Server to client. The session may be no more afterwards. */
static void move_down(struct http_session *h)
{
	struct client *c = h->c;
	struct upstream *u = h->upstream;
	enum headed headed = HEADED_ON;
	struct err e;

	while (headed == HEADED_ON && !h->answered && http_body_flush(&h->down, c->stream))
		headed = response_head(h);
	if (headed == HEADED_GONE)
		return;
	if (!h->answered) {
		upstream_credit(u);
		return;
	}
	if (http_body_move(&h->down, &u->in, u->eof && !u->why.code, c->stream, &e)) {
		upstream_failed(h, &e);
		return;
	}
	if (http_body_done(&h->down)) {
		finish(h);
		return;
	}
	if (u->eof && !h->down.whole && !buf_len(&h->down.head) && !buf_len(&u->in)) {
		(void)closed_early(u, "within its answer", &e);
		upstream_failed(h, &e);
		return;
	}
	upstream_credit(u);
}

static void pump(struct http_session *h)
{
	client_limit(h->c, h->c->eof ? CLIENT_GONE_MS : h->c->proxy->opts.exchange_ms);
	if (!move_up(h))
		move_down(h);
}

/* ---- what the client does ---- */

void http_session_input(struct http_session *h)
{
	if (h->state == HTTP_EXCHANGE)
		pump(h);
	else if (h->state == HTTP_IDLE)
		next_request(h);
}

void http_session_writable(struct http_session *h)
{
	http_session_input(h);
}

void http_session_timeout(struct http_session *h)
{
	struct err e;

	if (h->state == HTTP_IDLE && (!buf_len(&h->c->in) || buf_len(&h->down.head))) {
		client_end(h->c, NULL, buf_len(&h->down.head) > 0);
		return;
	}
	err_set(&e, ERR_TIMEOUT,
		h->state == HTTP_IDLE      ? "no whole request in time"
		: h->state == HTTP_DIALING ? "no connection in time"
					   : "nothing moved for longer than the idle limit");
	if (h->state == HTTP_IDLE)
		client_refuse(h->c, 408, &e);
	else
		fail(h, 504, &e);
}

bool http_session_idle(const struct http_session *h)
{
	return h->state == HTTP_IDLE;
}

struct http_session *http_session_new(struct client *c, struct err *e)
{
	struct http_session *h = mem_alloc(sizeof(*h));

	if (!h) {
		err_set(e, ERR_NOMEM, "HTTP session");
		return NULL;
	}
	h->c = c;
	http_body_init(&h->up);
	http_body_init(&h->down);
	buf_init(&h->again, 2 * HTTP1_HEAD_MAX);
	return h;
}

void http_session_count(const struct http_session *h, struct audit_record *r)
{
	r->up = h->up.sent;
	r->down = h->down.sent;
}

void http_session_free(struct http_session *h)
{
	loop_unpost(&h->post);
	upstream_drop(h);
	attempt_cancel(&h->c->attempt);
	http_body_free(&h->up);
	http_body_free(&h->down);
	buf_free(&h->again);
	mem_free(h);
}
