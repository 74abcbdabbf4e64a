/* What both roles take: frames of streams, and of the link where either may send them. */
#include <string.h>

#include "vm/link_impl.h"

bool link_was_asked(const struct link *l, uint32_t id)
{
	/* serial numbers (RFC 1982), once they have begun anew */
	return l->wrapped ? (int32_t)(l->last_id - id) >= 0 : id <= l->last_id;
}

void link_set_asked(struct link *l, uint32_t id)
{
	l->wrapped = l->wrapped || id < l->last_id;
	l->last_id = id;
}

void link_become_stream(struct link_stream *s)
{
	struct link *l = s->link;

	s->kind = LINK_STREAM;
	s->owner_gone = false;
	s->may_send = l->peer_initial;
	s->limit = s->may_recv = l->initial;
}

static int wrong(const struct link *l, const char *what, struct err *e)
{
	return err_set(e, ERR_PROTO, "%s of stream %u, %s", frame_name(l->frame.type),
		       l->frame.stream, what);
}

/* 0: *to is the open stream, or NULL: one that has gone lately, or that we have reset. */
static int open_stream(struct link *l, struct link_stream **to, struct err *e)
{
	struct link_stream *s = link_find(l, l->frame.stream);

	*to = NULL;
	if (!s && link_was_asked(l, l->frame.stream))
		return 0;
	if (!s)
		return wrong(l, "which there never was", e);
	if (s->taken_back || s->reset_due)
		return 0;
	if (s->kind != LINK_STREAM || s->say == FRAME_OPENED)
		return wrong(l, "which is not open yet", e);
	*to = s;
	return 0;
}

int link_take_data(struct link *l, struct err *e)
{
	struct link_stream *s;

	if (open_stream(l, &s, e) != 0)
		return -1;
	l->into = s;
	if (!s || s->closing)
		return 0;
	if (s->got_eof)
		return wrong(l, "after its EOF", e);
	if (l->frame.length > s->may_recv)
		return wrong(l, "more than its window", e);
	s->may_recv -= l->frame.length;
	return 0;
}

static int take_window(struct link_stream *s, const uint8_t *p, struct err *e)
{
	uint32_t n = frame_u32(p);

	if (n == 0 || n > FRAME_WINDOW_MAX || n > FRAME_WINDOW_MAX - s->may_send)
		return err_set(e, ERR_PROTO, "WINDOW of stream %u: %u to %u", s->id, n,
			       s->may_send);
	if (s->sent_eof)
		return 0;
	s->may_send += n;
	link_want_send(s);
	return 0;
}

static int take_eof(struct link *l, struct link_stream *s, struct err *e)
{
	if (s->got_eof && !s->closing)
		return wrong(l, "again", e);
	s->got_eof = true;
	s->stop_due = false;
	link_trim(s);
	if (!s->owner_gone)
		link_want_run(s);
	link_end_if_over(s);
	return 0;
}

static int take_stop(struct link *l, struct link_stream *s, struct err *e)
{
	if (s->stopped)
		return wrong(l, "again", e);
	s->stopped = s->sent_eof = true;
	link_drop_out(s);
	if (s->want_write && !s->owner_gone)
		link_want_run(s);
	link_end_if_over(s);
	return 0;
}

/* Of a question: the host takes it back. */
static void take_reset(struct link *l, struct link_stream *s)
{
	struct err why;
	uint32_t id = s->id;
	bool answered = s->say != 0;

	if (s->kind == LINK_STREAM) {
		(void)err_set(&why, ERR_RESET, "reset by the far end");
		link_break_stream(s, &why, false);
		link_release(s);
		return;
	}
	link_drop_id(s);
	link_release(s);
	if (!answered && l->o.role == LINK_GUEST && l->handler->taken_back)
		l->handler->taken_back(l->arg, id);
}

static int take_reset_of(struct link *l, struct err *e)
{
	struct link_stream *s = link_find(l, l->frame.stream);

	if (!s && link_was_asked(l, l->frame.stream))
		return 0;
	if (!s)
		return wrong(l, "which there never was", e);
	if (l->o.role == LINK_HOST && s->kind != LINK_STREAM && !s->taken_back)
		return wrong(l, "which is not open yet", e);
	take_reset(l, s);
	return 0;
}

int link_take_stream(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct link_stream *s;
	int r;

	(void)n;
	if (l->frame.type == FRAME_RESET)
		return take_reset_of(l, e);
	if (open_stream(l, &s, e) != 0)
		return -1;
	if (!s)
		return 0;
	if (l->frame.type == FRAME_WINDOW)
		r = take_window(s, p, e);
	else if (l->frame.type == FRAME_EOF)
		r = take_eof(l, s, e);
	else
		r = take_stop(l, s, e);
	link_release(s);
	return r;
}

/* --- of the link --- */

int link_take_ping(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	(void)n;
	(void)e;
	l->pong = frame_u64(p); /* only the last that waits is answered */
	l->pong_due = true;
	link_kick(l);
	return 0;
}

int link_take_pong(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	(void)n;
	if (!l->pinged)
		return err_set(e, ERR_PROTO, "PONG without a PING");
	if (frame_u64(p) == l->ping && l->handler->pong)
		l->handler->pong(l->arg, l->ping);
	return 0;
}

int link_take_goodbye(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	char text[FRAME_TEXT_MAX + 1];

	if (frame_text_read(text, sizeof(text), p, n, e) != 0)
		return err_wrap(e, "GOODBYE");
	l->peer_left = l->mute = true;
	if (l->handler->goodbye)
		l->handler->goodbye(l->arg, text);
	return 0;
}

void link_goodbye(struct link *l, const char *text)
{
	size_t n = strnlen(text, FRAME_TEXT_MAX);

	if (l->mute || l->goodbye_due)
		return;
	memcpy(l->goodbye, text, n);
	l->goodbye[n] = '\0';
	l->goodbye_due = true;
	link_kick(l);
}

void link_ping(struct link *l, uint64_t token)
{
	l->ping = token;
	l->ping_due = true;
	link_kick(l);
}
