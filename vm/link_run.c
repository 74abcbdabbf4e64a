/* To the owners of streams: bytes, ends. What they have consumed is granted again. */
#include "vm/link_impl.h"

enum { DELIVER_MAX = 64 << 10 };

static bool deliverable(const struct link_stream *s)
{
	return s->stream.handler && !s->closing && !s->broken;
}

static void consumed(struct link_stream *s, size_t n)
{
	s->owed += (uint32_t)n;
	if (s->got_eof || s->window_due || s->owed < s->limit / 2)
		return;
	s->window_due = true;
	link_want_control(s);
}

size_t link_deliver(struct link_stream *s, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n && s->credit && deliverable(s)) {
		size_t part = n - done < DELIVER_MAX ? n - done : DELIVER_MAX;

		if (part > s->credit)
			part = s->credit;
		s->credit -= part;
		s->stream.handler->data(s->stream.arg, p + done, part);
		consumed(s, part);
		done += part;
	}
	return done;
}

/* What is in `in` stays where it is as long as a handler looks at it: only link_input(), which no
 * handler calls, adds to it, and it is dropped by us alone. */
static void run_input(struct link_stream *s)
{
	size_t n = link_deliver(s, buf_ptr(&s->in), buf_len(&s->in));

	if (n == 0)
		return;
	s->link->held -= n;
	buf_drop(&s->in, n);
	if (buf_len(&s->in) == 0)
		buf_free(&s->in);
}

static bool is_over(const struct link_stream *s)
{
	return s->closing || s->broken || (s->finished && s->eof_told);
}

static void reset_stalled(struct link *l)
{
	LIST_EACH (it, &l->orphans) {
		struct link_stream *s = CONTAINER_OF(it, struct link_stream, orphan);

		if (s->may_send)
			continue; /* it is the pipe that it waits for */
		list_del(&s->orphan);
		l->orphan_count--;
		link_break_stream(s, NULL, true);
		return;
	}
}

/* Those that nobody owns wait for their far readers; not too many of them. */
static void linger(struct link_stream *s)
{
	struct link *l = s->link;

	if (!s->has_id || s->reset_due || buf_len(&s->out) == 0)
		return;
	list_add_tail(&l->orphans, &s->orphan);
	if (++l->orphan_count > l->o.streams_max / 4)
		reset_stalled(l);
}

static void tell_closed(struct link_stream *s)
{
	struct err why = s->why;
	bool failed = (s->broken || s->finished) && why.code != ERR_NONE;

	link_drop_in(s);
	if (s->stream.handler)
		s->stream.handler->closed(s->stream.arg, failed ? &why : NULL);
	s->stream.handler = NULL;
	s->owner_gone = true;
	linger(s);
	link_release(s);
}

static void run_stream(struct link_stream *s)
{
	if (deliverable(s))
		run_input(s);
	if (deliverable(s) && s->want_write && buf_len(&s->out) <= s->low) {
		s->want_write = false;
		s->stream.handler->writable(s->stream.arg);
	}
	if (deliverable(s) && s->got_eof && !s->eof_told && buf_len(&s->in) == 0) {
		s->eof_told = true;
		s->stream.handler->eof(s->stream.arg);
	}
	if (!is_over(s) || s->owner_gone)
		return;
	if (s->closing || s->stream.handler)
		tell_closed(s);
	else if (!list_linked(&s->todo)) /* its handler has not come yet */
		list_add_tail(&s->link->todo, &s->todo);
}

void link_run(struct link *l)
{
	struct list now;

	if (l->running)
		return;
	l->running = true;
	list_init(&now); /* what the handlers add is for the next turn */
	while (!list_empty(&l->todo))
		list_add_tail(&now, list_pop(&l->todo));
	while (!list_empty(&now))
		run_stream(CONTAINER_OF(list_pop(&now), struct link_stream, todo));
	l->running = false;
}
