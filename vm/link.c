/* The link's life: streams by id, who is to be told or to be sent, what ends when. */
#include "vm/link_impl.h"

#include <assert.h>

#include "base/mem.h"

enum {
	STREAMS_MAX = 1024,
	WINDOW = 256 << 10,
	BUDGET = 32 << 20,
	SEND_MAX = 128 << 10,
	INITIAL_LEAST = 2048,
	SPARE_MOST = 128 << 10 /* bytes of a buffer that is kept */
};

static uint32_t power_of_two(size_t most)
{
	uint32_t n = INITIAL_LEAST;

	while (n <= most / 2 && n < FRAME_WINDOW_MAX)
		n *= 2;
	return n;
}

struct link *link_new(const struct link_opts *o, const struct link_handler *handler, void *arg,
		      struct err *e)
{
	struct link *l = mem_alloc(sizeof(*l));
	size_t share;

	if (!l) {
		(void)err_set(e, ERR_NOMEM, "link");
		return NULL;
	}
	l->o = *o;
	l->o.streams_max = o->streams_max ? o->streams_max : STREAMS_MAX;
	l->o.window = o->window ? o->window : WINDOW;
	l->o.budget = o->budget ? o->budget : BUDGET;
	l->o.send_max = o->send_max ? o->send_max : SEND_MAX;
	share = l->o.budget / 2 / l->o.streams_max;
	if (share < INITIAL_LEAST || l->o.window < INITIAL_LEAST ||
	    l->o.window > FRAME_WINDOW_MAX || l->o.send_max > l->o.budget) {
		(void)err_set(e, ERR_USAGE,
			      "link: %zu bytes for %u streams of %u: each needs %u, twice",
			      l->o.budget, l->o.streams_max, l->o.window, INITIAL_LEAST);
		mem_free(l);
		return NULL;
	}
	l->initial = power_of_two(share < l->o.window ? share : l->o.window);
	l->handler = handler;
	l->arg = arg;
	list_init(&l->streams);
	list_init(&l->control);
	list_init(&l->fresh);
	list_init(&l->ready);
	list_init(&l->todo);
	list_init(&l->orphans);
	buf_init(&l->log, LINK_LOG_MAX);
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	link_break(l, NULL); /* questions */
	assert(l->count == 0);
	while (l->spares)
		buf_free(&l->spare[--l->spares]);
	buf_free(&l->log);
	mem_wipe(l->hello.nonce, sizeof(l->hello.nonce));
	mem_free(l);
}

void link_kick(struct link *l)
{
	l->handler->kick(l->arg);
}

size_t link_streams(const struct link *l)
{
	return l->count;
}

size_t link_held(const struct link *l)
{
	return l->held;
}

/* --- by id --- */

static struct link_stream **slot(struct link *l, uint32_t id)
{
	struct link_stream **at = &l->bucket[id % LINK_BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

struct link_stream *link_find(const struct link *l, uint32_t id)
{
	struct link_stream *s = l->bucket[id % LINK_BUCKETS];

	while (s && s->id != id)
		s = s->next;
	return s;
}

struct link_stream *link_add(struct link *l, uint32_t id, enum link_kind kind)
{
	struct link_stream *s = mem_alloc(sizeof(*s));

	if (!s)
		return NULL;
	s->stream.ops = &link_stream_ops;
	s->link = l;
	s->id = id;
	s->kind = kind;
	s->has_id = s->owner_gone = true;
	buf_init(&s->out, l->o.send_max);
	buf_init(&s->in, l->o.window);
	buf_init(&s->said, FRAME_CONTROL_MAX);
	*slot(l, id) = s;
	list_add_tail(&l->streams, &s->node);
	l->count++;
	l->ids++;
	return s;
}

void link_drop_id(struct link_stream *s)
{
	struct link *l = s->link;

	if (!s->has_id)
		return;
	s->has_id = false;
	*slot(l, s->id) = s->next;
	l->ids--;
	list_del(&s->control);
	list_del(&s->ready);
	if (list_linked(&s->orphan)) {
		list_del(&s->orphan);
		l->orphan_count--;
	}
	s->say = 0;
	s->window_due = s->stop_due = s->reset_due = false;
	buf_free(&s->said);
	link_drop_out(s);
}

void link_release(struct link_stream *s)
{
	struct link *l = s->link;

	if (s->has_id || !s->owner_gone)
		return;
	link_drop_in(s);
	list_del(&s->node);
	list_del(&s->todo);
	if (l->into == s)
		l->into = NULL;
	l->count--;
	mem_free(s);
}

/* --- what it holds --- */

void link_count_out(struct link_stream *s, size_t before)
{
	struct link *l = s->link;
	size_t now = buf_len(&s->out);

	l->out_extra -= before > l->initial ? before - l->initial : 0;
	l->out_extra += now > l->initial ? now - l->initial : 0;
}

void link_drop_out(struct link_stream *s)
{
	size_t before = buf_len(&s->out);

	buf_clear(&s->out);
	link_count_out(s, before);
	buf_free(&s->out);
}

void link_drop_in(struct link_stream *s)
{
	struct link *l = s->link;

	l->held -= buf_len(&s->in);
	buf_free(&s->in);
	if (s->limit > l->initial)
		l->extra -= s->limit - l->initial;
	s->limit = 0;
}

void link_trim(struct link_stream *s)
{
	struct link *l = s->link;
	uint32_t need = (uint32_t)buf_len(&s->in);

	if (need < l->initial)
		need = l->initial;
	if (s->limit <= need)
		return;
	l->extra -= s->limit - need;
	s->limit = need;
}

void link_spare(struct link_stream *s)
{
	struct link *l = s->link;

	buf_clear(&s->out);
	if (s->out.size > SPARE_MOST || !s->out.mem || l->spares == LINK_SPARES) {
		buf_free(&s->out);
		return;
	}
	l->spare[l->spares++] = s->out;
	buf_init(&s->out, l->o.send_max);
}

/* --- who has something to do --- */

void link_want_run(struct link_stream *s)
{
	if (list_linked(&s->todo))
		return;
	list_add_tail(&s->link->todo, &s->todo);
	link_kick(s->link);
}

void link_want_control(struct link_stream *s)
{
	if (s->link->dead || !s->has_id || list_linked(&s->control))
		return;
	list_add_tail(&s->link->control, &s->control);
	link_kick(s->link);
}

bool link_sendable(const struct link_stream *s)
{
	if (s->sent_eof || s->reset_due)
		return false;
	return buf_len(&s->out) ? s->may_send > 0 : s->shut;
}

void link_want_send(struct link_stream *s)
{
	if (s->link->dead || !s->has_id || list_linked(&s->ready) || !link_sendable(s))
		return;
	list_add_tail(&s->link->fresh, &s->ready);
	link_kick(s->link);
}

/* --- ends --- */

void link_end_if_over(struct link_stream *s)
{
	if (s->stopped && s->got_eof && !s->closing) {
		s->finished = true;
		link_want_run(s);
	}
	if (s->sent_eof && s->got_eof && !s->stop_due && !s->reset_due)
		link_drop_id(s);
}

void link_break_stream(struct link_stream *s, const struct err *why, bool tell)
{
	if (!s->broken && !s->closing) {
		s->broken = true;
		s->why = why ? *why : (struct err){ 0 };
	}
	link_drop_out(s);
	if (tell && s->has_id) {
		s->reset_due = true;
		link_want_control(s);
	} else {
		link_drop_id(s);
	}
	if (!s->owner_gone)
		link_want_run(s);
}

static void end_with_link(struct link_stream *s, const struct err *why)
{
	bool alive = s->has_id;

	link_drop_id(s);
	if (s->owner_gone) {
		link_release(s);
		return;
	}
	if (!alive || s->closing || s->broken)
		return; /* it was over, or is told already */
	s->why = why ? *why : (struct err){ 0 };
	s->sent_eof = true;
	if (s->got_eof)
		s->finished = true;
	else
		s->broken = true;
	link_want_run(s);
}

void link_break(struct link *l, const struct err *why)
{
	if (l->dead)
		return;
	l->dead = true;
	LIST_EACH (it, &l->streams)
		end_with_link(CONTAINER_OF(it, struct link_stream, node), why);
}
