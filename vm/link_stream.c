/*
 * The stream contract over the link. A call only sets flags and queues: what its owner has to hear
 * comes from link_run(), what the far end has to hear leaves with link_pull().
 *
 * To close is to say STOP at once (we read no more) and EOF after what was taken. So the far end
 * need not send what nobody wants, and cannot be kept from reading by its own waiting to write.
 */
#include "vm/link_impl.h"

static struct link_stream *of(struct stream *s)
{
	return CONTAINER_OF(s, struct link_stream, stream);
}

static void on_credit(struct stream *stream, size_t n)
{
	struct link_stream *s = of(stream);

	s->credit = s->credit + n < n ? SIZE_MAX : s->credit + n;
	if (buf_len(&s->in) || (s->got_eof && !s->eof_told) || s->broken)
		link_want_run(s);
}

/* Bytes more that may wait: as many as each may have, and a part of what is left for all. */
static size_t room(const struct link_stream *s)
{
	const struct link *l = s->link;
	size_t len = buf_len(&s->out);
	size_t all = (len > l->initial ? len : l->initial) + l->o.budget / 2 - l->out_extra;

	if (all > l->o.send_max)
		all = l->o.send_max;
	return all > len ? all - len : 0;
}

static void take_spare(struct link_stream *s)
{
	struct link *l = s->link;

	if (s->out.mem || l->spares == 0)
		return;
	s->out = l->spare[--l->spares];
	s->out.ceiling = l->o.send_max;
}

static size_t on_write(struct stream *stream, const uint8_t *p, size_t n)
{
	struct link_stream *s = of(stream);
	size_t before = buf_len(&s->out), may = room(s);

	if (s->closing || s->shut)
		return 0;
	if (s->broken || s->sent_eof || !s->has_id)
		return n; /* nobody is there to read it; closed() or eof() says so */
	if (n > may) {
		n = may;
		s->want_write = true;
		s->low = (before + n) / 2;
	}
	if (n == 0)
		return 0;
	take_spare(s);
	if (buf_add(&s->out, p, n, NULL) != 0) {
		struct err why;

		(void)err_set(&why, ERR_NOMEM, "stream of the VM link");
		link_break_stream(s, &why, true);
		return n;
	}
	link_count_out(s, before);
	link_want_send(s);
	return n;
}

static bool may_go_direct(const struct link_stream *s)
{
	const struct link *l = s->link;

	return s->has_id && !s->broken && !s->sent_eof && !s->shut && !s->closing &&
	       !buf_len(&s->out) && !l->mute && !l->dead && !link_pending(l);
}

size_t link_direct(struct stream *stream, uint8_t *p, size_t n)
{
	struct link_stream *s = of(stream);

	if (!may_go_direct(s))
		return 0;
	if (n > LINK_PIECE)
		n = LINK_PIECE;
	if (n > s->may_send)
		n = s->may_send;
	if (n == 0)
		return 0;
	frame_head_write(p - FRAME_HEAD, FRAME_DATA, (uint32_t)n, s->id);
	s->may_send -= (uint32_t)n;
	return n;
}

static void on_shutdown(struct stream *stream)
{
	struct link_stream *s = of(stream);

	if (s->shut)
		return;
	s->shut = true;
	link_want_send(s);
}

static void on_close(struct stream *stream)
{
	struct link_stream *s = of(stream);

	if (s->closing)
		return;
	s->closing = true;
	link_want_run(s);
	if (!s->has_id || s->broken)
		return;
	if (!s->got_eof) {
		s->got_eof = s->stop_due = true;
		link_want_control(s);
	}
	s->shut = true;
	link_want_send(s);
}

static void on_abort(struct stream *stream)
{
	struct link_stream *s = of(stream);

	s->closing = true;
	link_drop_out(s);
	link_want_run(s);
	if (!s->has_id || s->reset_due)
		return;
	s->reset_due = true;
	link_want_control(s);
}

const struct stream_ops link_stream_ops = {
	.credit = on_credit,
	.write = on_write,
	.shutdown = on_shutdown,
	.close = on_close,
	.abort = on_abort,
};
