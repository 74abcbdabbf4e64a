/* To the far end: what the link itself has to say, then what streams have beside data, then data,
 * a frame of each stream in turn. */
#include <string.h>

#include "vm/link_impl.h"

enum { PIECE_WORTH = 512 /* a smaller piece is not worth a head, if there is more */ };

struct pull {
	uint8_t *to;
	size_t used, max;
};

/* Where a payload of n bytes goes; NULL: no room for its frame. */
static uint8_t *room(const struct pull *p, size_t n)
{
	return p->max - p->used < FRAME_HEAD + n ? NULL : p->to + p->used + FRAME_HEAD;
}

static void frame(struct pull *p, enum frame_type type, size_t n, uint32_t id)
{
	frame_head_write(p->to + p->used, type, (uint32_t)n, id);
	p->used += FRAME_HEAD + n;
}

/* --- of the link --- */

static bool put_token(struct pull *p, enum frame_type type, bool *due, uint64_t token)
{
	uint8_t *to = *due ? room(p, 8) : NULL;

	if (!to)
		return !*due;
	frame_put_u64(to, token);
	frame(p, type, 8, 0);
	*due = false;
	return true;
}

static bool put_first(struct link *l, struct pull *p)
{
	uint8_t *to = room(p, FRAME_CONTROL_MAX);

	if (l->hello_due && to) {
		frame(p, FRAME_HELLO, frame_hello_write(to, &l->hello), 0);
		l->hello_due = false;
	}
	if (l->welcome_due && to) {
		frame(p, FRAME_WELCOME, frame_welcome_write(to, &l->welcome), 0);
		l->welcome_due = false;
	}
	return l->welcomed && !l->hello_due && !l->welcome_due;
}

static bool put_news(struct link *l, struct pull *p)
{
	uint8_t *to;

	if (l->network_due) {
		to = room(p, FRAME_CONTROL_MAX);
		if (!to)
			return false;
		frame(p, FRAME_NETWORK, frame_network_write(to, &l->network), 0);
		l->network_due = false;
	}
	if (l->metrics_due) {
		to = room(p, FRAME_CONTROL_MAX);
		if (!to)
			return false;
		frame(p, FRAME_METRICS, frame_metrics_write(to, &l->metrics), 0);
		l->metrics_due = false;
	}
	if (l->shutdown_due) {
		if (!room(p, 0))
			return false;
		frame(p, FRAME_SHUTDOWN, 0, 0);
		l->shutdown_due = false;
	}
	return true;
}

static bool put_log(struct link *l, struct pull *p)
{
	while (buf_len(&l->log)) { /* whole frames stand in it */
		size_t n = FRAME_HEAD + (frame_u32(buf_ptr(&l->log)) & 0xffffff);

		if (p->max - p->used < n)
			return false;
		memcpy(p->to + p->used, buf_ptr(&l->log), n);
		p->used += n;
		buf_drop(&l->log, n);
	}
	return true;
}

static bool put_link(struct link *l, struct pull *p)
{
	if (!put_first(l, p) || !put_token(p, FRAME_PONG, &l->pong_due, l->pong))
		return false;
	if (l->ping_due)
		l->pinged = true;
	return put_token(p, FRAME_PING, &l->ping_due, l->ping) && put_news(l, p) && put_log(l, p);
}

/* --- of streams, beside data --- */

static bool put_said(struct link_stream *s, struct pull *p)
{
	const uint8_t *from = buf_ptr(&s->said);
	size_t n = buf_len(&s->said);
	uint8_t *to;

	if (s->say == FRAME_OPENED) {
		from = s->opened;
		n = s->opened_n;
	} else if (n == 0) { /* there was no memory to say more */
		from = &s->cause;
		n = 1;
	}
	to = room(p, n);
	if (!to)
		return false;
	memcpy(to, from, n);
	frame(p, (enum frame_type)s->say, n, s->id);
	if (s->say == FRAME_FAILED || s->say == FRAME_ADDRESSES)
		link_drop_id(s);
	s->say = 0;
	buf_free(&s->said);
	return true;
}

/* Quick readers get more, as long as there is some; slow ones give it back when it gets scarce. */
static uint32_t grant(struct link_stream *s)
{
	struct link *l = s->link;
	size_t left = l->o.budget / 2 - l->extra;
	uint32_t n = s->owed, more = s->limit;

	s->owed = 0;
	if (buf_len(&s->in) == 0) {
		if (more > l->o.window - s->limit)
			more = l->o.window - s->limit;
		if (more > left)
			more = (uint32_t)left;
		l->extra += more;
		s->limit += more;
		n += more;
	} else if (left < l->o.budget / 4 && s->limit > l->initial) {
		uint32_t less = s->limit - l->initial < n ? s->limit - l->initial : n;

		l->extra -= less;
		s->limit -= less;
		n -= less;
	}
	s->may_recv += n;
	return n;
}

static bool put_window(struct link_stream *s, struct pull *p)
{
	uint8_t *to = room(p, 4);
	uint32_t n;

	if (!to)
		return false;
	s->window_due = false;
	n = s->got_eof ? 0 : grant(s);
	if (n == 0)
		return true;
	frame_put_u32(to, n);
	frame(p, FRAME_WINDOW, 4, s->id);
	return true;
}

static bool put_end(struct link_stream *s, struct pull *p, enum frame_type type)
{
	if (!room(p, 0))
		return false;
	frame(p, type, 0, s->id);
	if (type == FRAME_RESET) {
		link_drop_id(s);
		return true;
	}
	if (type == FRAME_STOP)
		s->stop_due = false;
	else
		s->sent_eof = true;
	link_end_if_over(s);
	return true;
}

/* false: no room for all of it. */
static bool put_control(struct link_stream *s, struct pull *p)
{
	if (s->say && !put_said(s, p))
		return false;
	if (s->reset_due)
		return put_end(s, p, FRAME_RESET);
	if (s->window_due && !put_window(s, p))
		return false;
	return !s->stop_due || put_end(s, p, FRAME_STOP);
}

static bool put_controls(struct link *l, struct pull *p)
{
	while (!list_empty(&l->control)) {
		struct link_stream *s = CONTAINER_OF(l->control.next, struct link_stream, control);

		if (!put_control(s, p))
			return false;
		list_del(&s->control);
		link_release(s);
	}
	return true;
}

/* --- data --- */

static void sent(struct link_stream *s, size_t n)
{
	size_t before = buf_len(&s->out);

	s->may_send -= (uint32_t)n;
	if (n < before)
		buf_drop(&s->out, n);
	else
		link_spare(s);
	link_count_out(s, before);
	if (s->want_write && buf_len(&s->out) <= s->low && !s->owner_gone)
		link_want_run(s);
}

/* false: no room. */
static bool put_data(struct link_stream *s, struct pull *p)
{
	size_t n = buf_len(&s->out), left = p->max - p->used;

	if (n > LINK_PIECE)
		n = LINK_PIECE;
	if (n > s->may_send)
		n = s->may_send;
	if (n + FRAME_HEAD > left) {
		if (left < FRAME_HEAD + PIECE_WORTH)
			return false;
		n = left - FRAME_HEAD;
	}
	if (n) {
		memcpy(room(p, n), buf_ptr(&s->out), n);
		frame(p, FRAME_DATA, n, s->id);
		sent(s, n);
	}
	if (buf_len(&s->out) == 0 && s->shut)
		(void)put_end(s, p, FRAME_EOF); /* no room: in its next turn */
	return true;
}

/* One that had nothing to send goes before those that always have. When it has had its turn it is
 * one of them until its next turn there, so that it cannot go before them again at once. */
static void put_datas(struct link *l, struct pull *p)
{
	for (;;) {
		bool fresh = !list_empty(&l->fresh);
		struct list *from = fresh ? &l->fresh : &l->ready;
		struct link_stream *s = CONTAINER_OF(from->next, struct link_stream, ready);

		if (list_empty(from))
			return;
		if (!link_sendable(s)) {
			list_del(&s->ready);
			continue;
		}
		if (!put_data(s, p))
			return;
		list_del(&s->ready);
		if (s->has_id && (fresh || link_sendable(s)))
			list_add_tail(&l->ready, &s->ready);
		link_release(s);
	}
}

/* --- all --- */

static size_t put_goodbye(struct link *l, struct pull *p)
{
	size_t n = strlen(l->goodbye);

	memcpy(room(p, n), l->goodbye, n);
	frame(p, FRAME_GOODBYE, n, 0);
	l->goodbye_due = false;
	l->mute = true;
	return p->used;
}

size_t link_pull(struct link *l, uint8_t *to, size_t max)
{
	struct pull p = { to, 0, max };

	if (l->mute || max < FRAME_HEAD + FRAME_CONTROL_MAX)
		return 0;
	if (l->goodbye_due)
		return put_goodbye(l, &p);
	if (!l->dead && put_link(l, &p) && put_controls(l, &p))
		put_datas(l, &p);
	return p.used;
}

bool link_pending(const struct link *l)
{
	if (l->mute)
		return false;
	if (l->goodbye_due || l->dead)
		return l->goodbye_due;
	if (l->hello_due || l->welcome_due || !l->welcomed)
		return l->hello_due || l->welcome_due;
	return l->pong_due || l->ping_due || l->network_due || l->metrics_due || l->shutdown_due ||
	       buf_len(&l->log) || !list_empty(&l->control) || !list_empty(&l->fresh) ||
	       !list_empty(&l->ready);
}
