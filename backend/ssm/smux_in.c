/* From the far end to the owners: who was refused, what is delivered, what they are told. */
#include "backend/ssm/smux_impl.h"

enum {
	HOLD_LOW = 256 << 10, /* reading goes on when this much has gone */
	DELIVER_MAX = 64 << 10,
	BUFFERS_KEPT = 16 /* with more streams than that, an empty buffer is freed at once */
};

/* --- who was refused --- */

static void decide(struct smux_stream *s, enum smux_fate fate)
{
	struct smux *m = s->mux;

	list_del(&s->undecided);
	if (s->owner_gone) {
		m->ghosts--;
		smux_release(s);
		return;
	}
	if (!s->closing)
		m->handler->decided(m->arg, &s->stream, fate);
}

/* The far end is past the dials of all streams up to this id: they succeeded. */
static void prove_until(struct smux *m, uint32_t id)
{
	while (!list_empty(&m->undecided)) {
		struct smux_stream *s = CONTAINER_OF(m->undecided.next, struct smux_stream,
						     undecided);

		if (s->id > id)
			break;
		decide(s, SMUX_CARRIES);
	}
	if (list_empty(&m->undecided))
		m->failures = 0;
}

static void refuse(struct smux_stream *s)
{
	struct err why;

	(void)err_set(&why, ERR_DIAL, "the agent could not connect to the destination");
	smux_break_stream(s, &why);
	decide(s, SMUX_REFUSED);
}

void smux_refused(struct smux *m)
{
	struct list *first = m->undecided.next;

	if (list_empty(&m->undecided))
		return; /* its stream has gone already */
	if (first->next == &m->undecided)
		refuse(CONTAINER_OF(first, struct smux_stream, undecided));
	else
		m->failures++;
}

static void on_fin(struct smux_stream *s)
{
	struct smux *m = s->mux;

	s->remote_fin = true;
	s->moved_ms = smux_now_ms(m);
	if (list_linked(&s->undecided)) {
		prove_until(m, s->id - 1);
		if (m->failures) {
			m->failures--;
			refuse(s);
		} else {
			decide(s, SMUX_ENDED);
		}
		return; /* s may be gone; a kept one is run by what decide() led to */
	}
}

/* --- receiving --- */

static bool deliverable(const struct smux_stream *s)
{
	return s->stream.handler && !s->closing && !s->owner_gone;
}

static size_t deliver(struct smux_stream *s, const uint8_t *p, size_t n)
{
	if (n > s->credit)
		n = s->credit;
	if (n == 0)
		return 0;
	s->credit -= n;
	s->stream.handler->data(s->stream.arg, p, n);
	return n;
}

static void on_data(struct smux_stream *s, const uint8_t *p, size_t n)
{
	struct smux *m = s->mux;
	bool unwanted = s->owner_gone || s->closing || s->broken || s->remote_fin;
	struct err e;

	m->down += n;
	s->got_data = true;
	s->moved_ms = smux_now_ms(m);
	if (list_linked(&s->undecided))
		prove_until(m, s->id); /* one without an owner goes with that */
	if (unwanted || s->closing)
		return;
	if (buf_add(&s->in, p, n, &e) != 0) {
		(void)err_wrap(&e, "slow reader");
		smux_break_stream(s, &e);
		return;
	}
	if (buf_len(&s->in) >= m->o.hold_max)
		smux_set_full(s, true);
	if (s->credit) /* all that comes in one turn is handed on at once */
		smux_want_run(s);
}

static void raw_input(struct smux *m, const uint8_t *p, size_t n)
{
	if (!list_empty(&m->streams) && !m->dead)
		on_data(CONTAINER_OF(m->streams.next, struct smux_stream, node), p, n);
}

int smux_input(struct smux *m, const uint8_t *p, size_t n, struct err *e)
{
	struct smux_frame f;
	int r;

	if (m->o.raw) {
		raw_input(m, p, n);
		return 0;
	}
	while ((r = smux_parse(&m->parser, &p, &n, &f, e)) == 1) {
		struct smux_stream *s = *smux_slot(m, f.id);

		m->asked_ms = 0;
		if (!s || s->syn_due || m->dead)
			continue; /* unknown ids are ignored, so is what we never opened */
		if (f.cmd == SMUX_PSH) {
			on_data(s, f.p, f.n);
		} else if (f.cmd == SMUX_FIN) {
			if (!s->owner_gone)
				smux_want_run(s);
			on_fin(s);
		}
	}
	return r;
}

void smux_raw_end(struct smux *m)
{
	struct smux_stream *s;

	if (!m->o.raw || m->dead || list_empty(&m->streams))
		return;
	s = CONTAINER_OF(m->streams.next, struct smux_stream, node);
	s->remote_fin = true;
	s->moved_ms = smux_now_ms(m);
	if (!s->owner_gone)
		smux_want_run(s);
}

/* --- telling the owner --- */

static void run_input(struct smux_stream *s)
{
	while (buf_len(&s->in) && s->credit && deliverable(s)) {
		size_t n = buf_len(&s->in) < DELIVER_MAX ? buf_len(&s->in) : DELIVER_MAX;

		n = deliver(s, buf_ptr(&s->in), n);
		if (buf_len(&s->in)) /* not closed meanwhile */
			buf_drop(&s->in, n);
	}
	if (s->full && buf_len(&s->in) + HOLD_LOW <= s->mux->o.hold_max)
		smux_set_full(s, false);
	if (s->full && s->mux->o.hold_max <= HOLD_LOW && buf_len(&s->in) == 0)
		smux_set_full(s, false);
}

static void run_stream(struct smux_stream *s)
{
	if (deliverable(s))
		run_input(s);
	if (buf_len(&s->in) == 0 && s->mux->count > BUFFERS_KEPT)
		buf_free(&s->in);
	if (deliverable(s) && s->want_write && buf_room(&s->out) >= s->mux->o.send_max / 2 &&
	    !s->broken) {
		s->want_write = false;
		s->stream.handler->writable(s->stream.arg);
	}
	if (deliverable(s) && s->remote_fin && !s->eof_told && !s->broken && buf_len(&s->in) == 0) {
		s->eof_told = true;
		s->moved_ms = smux_now_ms(s->mux);
		smux_mind_due(s);
		s->stream.handler->eof(s->stream.arg);
	}
	if (s->owner_gone || !(s->closing || (s->broken && s->stream.handler)))
		return;
	if (s->stream.handler)
		s->stream.handler->closed(s->stream.arg, s->broken && s->why.code ? &s->why : NULL);
	smux_finish_sending(s);
	smux_owner_left(s);
}

void smux_run(struct smux *m)
{
	struct list now;

	/* what the handlers add is for the next turn */
	list_init(&now);
	while (!list_empty(&m->todo))
		list_add_tail(&now, list_pop(&m->todo));
	while (!list_empty(&now))
		run_stream(CONTAINER_OF(list_pop(&now), struct smux_stream, todo));
}
