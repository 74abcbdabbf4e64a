#include "cmd/localaws/server.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "cmd/localaws/gateway.h"
#include "cmd/localaws/service.h"
#include "cmd/localaws/world.h"
#include "net/loop.h"
#include "stream/stream.h"

enum {
	WINDOW = 64 * 1024,
	IN_MAX = HTTP1_HEAD_MAX + 2 * SERVER_BODY_MAX + WINDOW,
	OUT_MAX = REPLY_MAX + 64 * 1024,
	IDLE_MS = 60000,
};

struct conn {
	struct list node; /* in world.conns */
	struct world *w;
	struct stream *stream;
	struct buf in, out, body;
	struct http1_chunks chunks;
	size_t scanned; /* bytes of a chunked body seen, behind the head */
	size_t granted;
	bool continued, closing, handed_over;
	struct loop_timer idle;
	struct loop_post post;
};

static void conn_free(struct conn *c)
{
	list_del(&c->node);
	timer_disarm(c->w->loop, &c->idle);
	loop_unpost(&c->post);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->body);
	mem_free(c);
}

/* --- out --- */

static void flush(struct conn *c)
{
	size_t n = stream_write(c->stream, buf_ptr(&c->out), buf_len(&c->out));

	buf_drop(&c->out, n);
	if (c->closing && buf_len(&c->out) == 0)
		stream_close(c->stream);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 413: return "Content Too Large";
	case 429: return "Too Many Requests";
	case 500: return "Internal Server Error";
	case 503: return "Service Unavailable";
	default: return "Status";
	}
}

static void http_date(int64_t wall_ms, char out[static 40])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&t, &tm))
		(void)strftime(out, 40, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static int put_reply(struct conn *c, const struct request *q, const struct reply *r, bool keep)
{
	char date[40], ttl[80] = "", type[120] = "";

	if (r->metadata_ttl_s)
		(void)str_fmt(ttl, sizeof(ttl), "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: %llu\r\n",
			      (unsigned long long)r->metadata_ttl_s);
	if (r->error_type)
		(void)str_fmt(type, sizeof(type), "x-amzn-ErrorType: %s\r\n", r->error_type);
	http_date(world_wall_ms_of(c->w, r->service), date);
	if (buf_addf(&c->out, NULL,
		     "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: awsocks-localaws\r\n%s: %s\r\n"
		     "Content-Type: %s\r\nContent-Length: %zu\r\n%s%s%s\r\n",
		     r->status, reason_of(r->status), date,
		     r->json_id ? "x-amzn-RequestId" : "x-amzn-requestid", q->id, r->type,
		     buf_len(&r->body), ttl, type, keep ? "" : "Connection: close\r\n") != 0)
		return -1;
	return buf_add(&c->out, buf_ptr(&r->body), buf_len(&r->body), NULL);
}

static void refuse(struct conn *c, int status, const char *why)
{
	struct request q = { 0 };
	struct reply r = { .status = status, .type = "text/plain" };

	random_uuid(q.id);
	buf_init(&r.body, 1024);
	if (buf_addf(&r.body, NULL, "%s\n", why) != 0 || put_reply(c, &q, &r, false) != 0)
		log_error("http", "out of memory");
	buf_free(&r.body);
	c->closing = true;
}

/* --- requests --- */

static void collect(void *arg, const char *p, size_t n)
{
	struct conn *c = arg;

	if (buf_add(&c->body, p, n, NULL) != 0)
		c->closing = true; /* seen by read_body() */
}

/* DONE: the body is whole; *used: its bytes behind the head. */
static enum http1_step read_body(struct conn *c, const struct http1_head *h, const uint8_t **body,
				 size_t *len, size_t *used, struct err *e)
{
	const char *p = (const char *)buf_ptr(&c->in) + h->used;
	size_t n = buf_len(&c->in) - h->used, more = 0;
	enum http1_step step;

	if (h->body != HTTP1_CHUNKED) {
		*used = *len = h->body == HTTP1_LENGTH ? (size_t)h->length : 0;
		*body = (const uint8_t *)p;
		return n < *used ? HTTP1_MORE : HTTP1_DONE;
	}
	step = http1_chunked(&c->chunks, p + c->scanned, n - c->scanned, &more, collect, c, e);
	c->scanned += more;
	if (c->closing) {
		c->closing = false;
		(void)err_set(e, ERR_LIMIT, "body too large");
		return HTTP1_BAD;
	}
	*used = c->scanned;
	*body = buf_ptr(&c->body);
	*len = buf_len(&c->body);
	return step;
}

static void split_target(struct http1_text target, struct request *q)
{
	const char *mark = memchr(target.p, '?', target.n);
	size_t n = mark ? (size_t)(mark - target.p) : target.n;

	q->path = (struct http1_text){ target.p, n };
	q->query = mark ? (struct http1_text){ mark + 1, target.n - n - 1 }
			: (struct http1_text){ target.p + n, 0 };
}

static void hand_over(struct conn *c, const struct http1_head *h, const struct reply *r,
		      size_t used)
{
	const struct http1_field *f = http1_find(h, "sec-websocket-key");
	char key[65];
	struct leg_opts o = { .session_id = r->session_id, .ws_key = key };

	(void)str_fmt(key, sizeof(key), "%.*s", f ? (int)f->value.n : 0, f ? f->value.p : "");
	o.early = buf_ptr(&c->in) + used;
	o.early_len = buf_len(&c->in) - used;
	if (leg_start(c->w, c->stream, &o) != 0) {
		refuse(c, 503, "out of memory");
		return;
	}
	c->handed_over = true;
}

static void answer(struct conn *c, struct http1_head *h, const uint8_t *body, size_t len,
		   size_t used)
{
	struct request q = { .head = h, .body = body, .body_len = len };
	struct reply r = { .status = 200, .type = "application/json" };

	split_target(h->target, &q);
	random_uuid(q.id);
	buf_init(&r.body, REPLY_MAX);
	service_handle(c->w, &q, &r);
	if (r.upgrade) {
		hand_over(c, h, &r, used);
	} else if (put_reply(c, &q, &r, h->keep_alive) != 0) {
		log_error("http", "out of memory");
		c->closing = true;
	}
	buf_free(&r.body);
	c->closing = c->closing || !h->keep_alive;
}

static bool too_large(const struct http1_head *h)
{
	return h->body == HTTP1_LENGTH && h->length > SERVER_BODY_MAX;
}

static void say_continue(struct conn *c, const struct http1_head *h)
{
	if (c->continued || !http1_has_token(h, "expect", "100-continue"))
		return;
	c->continued = true;
	if (buf_addf(&c->out, NULL, "HTTP/1.1 100 Continue\r\n\r\n") != 0)
		c->closing = true;
}

/* One request; false: nothing more can be done with these bytes. */
static bool one_request(struct conn *c)
{
	struct http1_head h;
	struct err e = { 0 };
	const uint8_t *body = NULL;
	size_t len = 0, used = 0;
	enum http1_step step = http1_request((const char *)buf_ptr(&c->in), buf_len(&c->in), &h,
					     &e);

	if (step == HTTP1_DONE && too_large(&h)) {
		refuse(c, 413, "the body is too large");
		return false;
	}
	if (step == HTTP1_DONE) {
		step = read_body(c, &h, &body, &len, &used, &e);
		if (step == HTTP1_MORE)
			say_continue(c, &h);
	}
	if (step == HTTP1_BAD) {
		log_info("http", "bad request: %s", e.msg);
		refuse(c, e.code == ERR_LIMIT ? 413 : 400, e.msg);
	}
	if (step != HTTP1_DONE)
		return false;
	answer(c, &h, body, len, h.used + used);
	if (c->handed_over)
		return false;
	buf_drop(&c->in, h.used + used);
	buf_clear(&c->body);
	c->chunks = (struct http1_chunks){ 0 };
	c->scanned = 0;
	c->continued = false;
	return true;
}

static void serve(void *arg)
{
	struct conn *c = arg;

	while (!c->closing && !c->handed_over && buf_len(&c->in) && buf_len(&c->out) < WINDOW)
		if (!one_request(c))
			break;
	if (c->handed_over) {
		conn_free(c);
		return;
	}
	flush(c);
	if (!c->closing) {
		stream_credit(c->stream, WINDOW - c->granted);
		c->granted = WINDOW;
	}
}

static void idle(void *arg)
{
	struct conn *c = arg;

	stream_close(c->stream);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct conn *c = arg;

	c->granted -= n;
	timer_arm(c->w->loop, &c->idle, IDLE_MS, idle, c);
	if (c->closing)
		return;
	if (buf_add(&c->in, p, n, NULL) != 0) {
		refuse(c, 413, "too large");
		flush(c);
		return;
	}
	serve(c);
}

static void on_eof(void *arg)
{
	struct conn *c = arg;

	c->closing = true;
	flush(c);
}

static void on_writable(void *arg)
{
	struct conn *c = arg;

	flush(c);
	if (buf_len(&c->out) == 0 && !c->closing)
		loop_post(c->w->loop, &c->post, serve, c);
}

static void on_closed(void *arg, const struct err *why)
{
	struct conn *c = arg;

	(void)why;
	c->w->stats.connections_open--;
	conn_free(c);
}

static const struct stream_handler handler = { on_data, on_eof, on_writable, on_closed };

void server_serve(struct world *w, struct stream *stream)
{
	struct conn *c = mem_alloc(sizeof(*c));

	if (!c) {
		stream_close(stream);
		return;
	}
	c->w = w;
	c->stream = stream;
	buf_init(&c->in, IN_MAX);
	buf_init(&c->out, OUT_MAX);
	buf_init(&c->body, SERVER_BODY_MAX);
	list_add_tail(&w->conns, &c->node);
	w->stats.connections++;
	w->stats.connections_open++;
	stream_attach(stream, &handler, c);
	c->granted = WINDOW;
	stream_credit(stream, WINDOW);
	timer_arm(w->loop, &c->idle, IDLE_MS, idle, c);
}

void server_abort(struct world *w)
{
	LIST_EACH (it, &w->conns)
		stream_abort(CONTAINER_OF(it, struct conn, node)->stream);
}
