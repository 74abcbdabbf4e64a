/* To the far end: whose turn it is, and its frames. */
#include "backend/ssm/smux_impl.h"

#include <string.h>

enum { FRAME_WORTH = 64 /* a smaller piece is not worth a header */ };

static void awaits_answer(struct smux *m)
{
	if (!m->asked_ms)
		m->asked_ms = smux_now_ms(m);
}

/* A probe has no owner from the beginning. */
static void syn_leaves(struct smux_stream *s, int64_t seq)
{
	struct smux *m = s->mux;

	s->syn_due = false;
	s->syn_seq = seq;
	list_add_tail(&m->undecided, &s->undecided);
	if (s->owner_gone) {
		m->ghosts++;
		m->probe_seq = seq;
	}
	awaits_answer(m);
}

static void pulled(struct smux_stream *s, size_t n)
{
	buf_drop(&s->out, n);
	s->mux->up += n;
	s->moved_ms = smux_now_ms(s->mux);
	if (s->want_write && buf_room(&s->out) >= s->mux->o.send_max / 2)
		smux_want_run(s);
}

static size_t pull_raw(struct smux_stream *s, uint8_t *to, size_t max)
{
	size_t n = buf_len(&s->out) < max ? buf_len(&s->out) : max;

	if (n == 0)
		s->fin_sent = s->fin_due;
	memcpy(to, buf_ptr(&s->out), n);
	pulled(s, n);
	return n;
}

static size_t pull_stream(struct smux_stream *s, uint8_t *to, size_t max, int64_t seq)
{
	size_t n = buf_len(&s->out);

	if (s->mux->o.raw)
		return pull_raw(s, to, max);
	if (s->syn_due) {
		syn_leaves(s, seq);
		smux_header(to, SMUX_SYN, 0, s->id);
		return SMUX_HEADER;
	}
	if (n) {
		if (n > s->mux->o.frame_max)
			n = s->mux->o.frame_max;
		if (n > max - SMUX_HEADER) {
			n = max - SMUX_HEADER;
			if (n < FRAME_WORTH)
				return 0;
		}
		smux_header(to, SMUX_PSH, (uint16_t)n, s->id);
		memcpy(to + SMUX_HEADER, buf_ptr(&s->out), n);
		pulled(s, n);
		awaits_answer(s->mux);
		return SMUX_HEADER + n;
	}
	if (!s->fin_due || s->fin_sent)
		return 0;
	s->fin_sent = true;
	smux_header(to, SMUX_FIN, 0, s->id);
	return SMUX_HEADER;
}

static bool has_more(const struct smux_stream *s)
{
	return s->syn_due || buf_len(&s->out) || (s->fin_due && !s->fin_sent);
}

size_t smux_pull(struct smux *m, uint8_t *to, size_t max, int64_t seq)
{
	size_t used = 0;

	if (m->dead || max < SMUX_HEADER)
		return 0;
	if (m->nop_due) {
		m->nop_due = false;
		smux_header(to, SMUX_NOP, 0, 0);
		used = SMUX_HEADER;
	}
	while (!list_empty(&m->ready) && max - used >= SMUX_HEADER) {
		struct smux_stream *s = CONTAINER_OF(m->ready.next, struct smux_stream, ready);
		size_t n = pull_stream(s, to + used, max - used, seq);

		if (n == 0 && has_more(s))
			break; /* no room for it in this message */
		used += n;
		list_del(&s->ready);
		if (has_more(s))
			list_add_tail(&m->ready, &s->ready);
		else
			smux_release(s);
	}
	return used;
}

bool smux_pending(const struct smux *m)
{
	return !m->dead && (m->nop_due || !list_empty(&m->ready));
}

void smux_nop(struct smux *m)
{
	m->nop_due = !m->o.raw;
	m->handler->kick(m->arg);
}
