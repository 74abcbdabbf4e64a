/* Bytes gather in `in`, as far as credit allows; the session takes them from there. */
#include <string.h>

#include "base/mem.h"
#include "proxy/attempt.h"
#include "proxy/audit.h"
#include "proxy/http_upstream.h"
#include "proxy/running.h"
#include "stream/stream.h"

static void upstream_free(struct upstream *u)
{
	buf_free(&u->in);
	mem_free(u->address);
	mem_free(u->session);
	mem_free(u);
}

static void tell(struct upstream *u, enum upstream_event event)
{
	if (u->event)
		u->event(u->arg, event);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct upstream *u = arg;

	u->credit -= n;
	if (!u->event || u->eof)
		return;
	if (buf_add(&u->in, p, n, &u->why)) {
		u->eof = true;
		tell(u, UPSTREAM_END);
		return;
	}
	if (memchr(p, '\n', n) || buf_len(&u->in) >= UPSTREAM_MAX)
		tell(u, UPSTREAM_LINES);
	else
		tell(u, UPSTREAM_BYTES);
}

static void on_eof(void *arg)
{
	struct upstream *u = arg;

	u->eof = true;
	tell(u, UPSTREAM_END);
}

static void on_writable(void *arg)
{
	tell(arg, UPSTREAM_WRITABLE);
}

static void on_closed(void *arg, const struct err *why)
{
	struct upstream *u = arg;

	u->stream = NULL;
	u->eof = true;
	if (why)
		u->why = *why;
	if (u->event)
		tell(u, UPSTREAM_END);
	else
		upstream_free(u);
}

static const struct stream_handler handler = { on_data, on_eof, on_writable, on_closed };

struct upstream *upstream_new(struct stream *s, const struct attempt *a, upstream_fn *event,
			      void *arg, struct err *e)
{
	struct upstream *u = mem_alloc(sizeof(*u));

	if (!u) {
		proxy_abandon(s);
		err_set(e, ERR_NOMEM, "upstream connection");
		return NULL;
	}
	u->stream = s;
	u->event = event;
	u->arg = arg;
	buf_init(&u->in, UPSTREAM_MAX);
	memcpy(u->host, a->host.text, sizeof(u->host));
	u->port = a->port;
	u->route = a->route;
	audit_text(&u->address, a->rec->address);
	audit_text(&u->session, a->rec->session);
	stream_attach(s, &handler, u);
	return u;
}

void upstream_let_go(struct upstream *u, bool broken)
{
	u->event = NULL;
	if (!u->stream)
		upstream_free(u);
	else if (broken) /* closed() frees it */
		stream_abort(u->stream);
	else
		stream_close(u->stream);
}

struct stream *upstream_release(struct upstream *u)
{
	struct stream *s = u->stream;

	upstream_free(u);
	return s;
}

void upstream_credit(struct upstream *u)
{
	size_t held = buf_len(&u->in) + u->credit;

	if (u->eof || held >= UPSTREAM_MAX)
		return;
	u->credit += UPSTREAM_MAX - held;
	stream_credit(u->stream, UPSTREAM_MAX - held);
}

bool upstream_fits(const struct upstream *u, const struct attempt *a)
{
	return u && u->stream && !u->eof && !buf_len(&u->in) && u->port == a->port &&
	       u->route.kind == a->route.kind && strcmp(u->host, a->host.text) == 0 &&
	       strcmp(u->route.profile, a->route.profile) == 0;
}
