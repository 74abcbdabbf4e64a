/*
 * The stream contract over smux. A call only sets flags and queues: what its
 * owner has to hear comes from smux_run(), what the far end has to hear leaves
 * with smux_pull().
 */
#include "backend/ssm/smux_impl.h"

static struct smux_stream *of(struct stream *s)
{
	return CONTAINER_OF(s, struct smux_stream, stream);
}

int64_t smux_syn_seq(const struct stream *stream)
{
	return CONTAINER_OF(stream, const struct smux_stream, stream)->syn_seq;
}

void smux_wake(struct stream *stream)
{
	smux_want_run(of(stream));
}

static void on_credit(struct stream *stream, size_t n)
{
	struct smux_stream *s = of(stream);

	s->credit = s->credit + n < n ? SIZE_MAX : s->credit + n;
	if (buf_len(&s->in) || s->remote_fin || s->broken)
		smux_want_run(s);
}

static size_t on_write(struct stream *stream, const uint8_t *p, size_t n)
{
	struct smux_stream *s = of(stream);
	size_t room = buf_room(&s->out);

	if (s->closing || s->shut)
		return 0;
	if (s->broken || s->remote_fin || s->mux->dead)
		return n; /* nobody is there to read it; closed() or eof() says so */
	if (n > room) {
		n = room;
		s->want_write = true;
	}
	if (n == 0)
		return 0;
	if (buf_add(&s->out, p, n, NULL) != 0) {
		struct err why;

		(void)err_set(&why, ERR_NOMEM, "smux stream");
		smux_break_stream(s, &why);
		return n;
	}
	s->moved_ms = smux_now_ms(s->mux);
	smux_want_send(s);
	return n;
}

static void on_shutdown(struct stream *stream)
{
	struct smux_stream *s = of(stream);

	if (s->shut)
		return;
	s->shut = true;
	s->moved_ms = smux_now_ms(s->mux);
	smux_mind_due(s);
	s->mux->handler->kick(s->mux->arg); /* smux_next() has changed */
}

static void on_close(struct stream *stream)
{
	struct smux_stream *s = of(stream);

	if (s->closing)
		return;
	s->closing = true;
	smux_mind_due(s);
	smux_set_full(s, false);
	buf_free(&s->in);
	smux_finish_sending(s);
	smux_want_run(s);
}

static void on_abort(struct stream *stream)
{
	struct smux_stream *s = of(stream);

	if (!s->closing)
		buf_free(&s->out);
	on_close(stream);
}

const struct stream_ops smux_stream_ops = {
	.credit = on_credit,
	.write = on_write,
	.shutdown = on_shutdown,
	.close = on_close,
	.abort = on_abort,
};
