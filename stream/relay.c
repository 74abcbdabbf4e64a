/*
 * Two sides, each a stream and the bytes read from it that the other side has
 * not taken yet.
 *
 *     client --data--> held --write--> remote        (up)
 *     client <--write-- held <--data-- remote        (down)
 *
 * A side starts with RELAY_WINDOW of credit and gets back only what has left,
 * so held never passes the window (and what credit the previous owner of the
 * stream had left). The end of a direction is passed on after its last byte;
 * when both have ended, both streams are closed. A side that breaks breaks
 * the other one, so that a cut-off answer is never taken for a whole one.
 */
#include "stream/relay.h"

#include <assert.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "stream/stream.h"

enum { HELD_MAX = 4 * RELAY_WINDOW };

struct side {
	struct relay *of;
	struct stream *stream; /* NULL: gone */
	struct buf held;
	uint64_t moved; /* from here to the other side */
	bool eof;       /* nothing more comes from here */
	bool ended;     /* and the other side knows */
};

struct relay {
	struct side client, remote;
	relayed_fn *done;
	void *arg;
	bool ending;
	bool failed;
	struct err why;
};

static struct side *other(struct side *s)
{
	return s == &s->of->client ? &s->of->remote : &s->of->client;
}

/* ---- the end ---- */

static void finish(struct relay *r)
{
	relayed_fn *done = r->done;
	void *arg = r->arg;
	struct err why = r->why;
	struct relay_result result = { .up = r->client.moved,
				       .down = r->remote.moved,
				       .why = r->failed ? &why : NULL };

	buf_free(&r->client.held);
	buf_free(&r->remote.held);
	mem_free(r);
	done(arg, &result);
}

static void end_side(struct side *s, bool broken)
{
	if (!s->stream)
		return;
	if (broken)
		stream_abort(s->stream);
	else
		stream_close(s->stream);
}

static void end_both(struct relay *r)
{
	r->ending = true;
	end_side(&r->client, r->failed);
	end_side(&r->remote, r->failed);
}

static void fail(struct relay *r, const struct err *why)
{
	if (r->ending)
		return;
	r->failed = true;
	r->why = *why;
	end_both(r);
}

/* ---- moving ---- */

/* Offers bytes to the side they are for; all are gone when that side is. */
static size_t hand_over(struct side *from, const uint8_t *p, size_t n)
{
	struct side *to = other(from);
	size_t taken = to->stream ? stream_write(to->stream, p, n) : n;

	from->moved += to->stream ? taken : 0;
	if (from->stream)
		stream_credit(from->stream, taken);
	return taken;
}

static void pass_end(struct side *from)
{
	struct side *to = other(from);

	if (!from->eof || from->ended || buf_len(&from->held))
		return;
	from->ended = true;
	if (to->stream)
		stream_shutdown(to->stream);
	if (to->ended)
		end_both(from->of);
}

static void push(struct side *from)
{
	if (buf_len(&from->held))
		buf_drop(&from->held, hand_over(from, buf_ptr(&from->held), buf_len(&from->held)));
	pass_end(from);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct side *from = arg;
	size_t taken = 0;
	struct err e;

	if (from->of->ending)
		return;
	if (!buf_len(&from->held))
		taken = hand_over(from, p, n);
	if (buf_add(&from->held, p + taken, n - taken, &e) != 0)
		fail(from->of, &e);
}

static void on_eof(void *arg)
{
	struct side *from = arg;

	from->eof = true;
	if (!from->of->ending)
		push(from);
}

static void on_writable(void *arg)
{
	struct side *to = arg;

	if (!to->of->ending)
		push(other(to));
}

static void on_closed(void *arg, const struct err *why)
{
	struct side *s = arg;
	struct relay *r = s->of;

	s->stream = NULL;
	if (why)
		fail(r, why);
	if (!r->client.stream && !r->remote.stream) {
		finish(r);
		return;
	}
	if (r->ending)
		return;
	/* a clean end of both directions: what it said is delivered, what is said to it is lost */
	s->eof = true;
	other(s)->ended = true;
	buf_clear(&other(s)->held);
	push(s);
	if (s->ended && !r->ending)
		end_both(r);
}

static const struct stream_handler side_handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

/* ---- public ---- */

struct relay *relay_start(struct stream *client, struct stream *remote, const uint8_t *early,
			  size_t n, relayed_fn *done, void *arg)
{
	struct relay *r = mem_alloc(sizeof(*r));

	assert(n <= RELAY_WINDOW);
	if (!r)
		return NULL;
	r->done = done;
	r->arg = arg;
	r->client.of = r->remote.of = r;
	buf_init(&r->client.held, HELD_MAX);
	buf_init(&r->remote.held, HELD_MAX);
	if (buf_add(&r->client.held, early, n, NULL) != 0) {
		mem_free(r);
		return NULL;
	}
	r->client.stream = client;
	r->remote.stream = remote;
	stream_attach(client, &side_handler, &r->client);
	stream_attach(remote, &side_handler, &r->remote);
	stream_credit(client, RELAY_WINDOW - n);
	stream_credit(remote, RELAY_WINDOW);
	push(&r->client);
	return r;
}

void relay_counts(const struct relay *r, uint64_t *up, uint64_t *down)
{
	*up = r->client.moved;
	*down = r->remote.moved;
}

void relay_abort(struct relay *r)
{
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "ended here");
	fail(r, &why);
}
