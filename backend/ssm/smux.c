#include "backend/ssm/smux_impl.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"

/*
 * A stream's memory lives until three things are over: its owner has heard
 * closed() (owner_gone), the far end has been told (fin_sent, or the session is
 * dead), and it is not a candidate for a flag any more (not in `undecided`).
 * Owners hear everything from smux_run() or smux_input(), never from inside a
 * stream_ call: those only set flags, put the stream on `todo` and kick.
 */
enum {
	HOLD_MAX = 4 << 20,
	HOLD_SLACK = 1 << 20, /* what may still arrive after hold(true) */
	SEND_MAX = 128 << 10,
	FRAME_MAX = 4096,
	STALL_MS = 10000,
	IDLE_MS = 300000,
	GHOSTS_MAX = 1024,
	FIRST_ID = 3
};

uint64_t smux_now_ms(const struct smux *m)
{
	return clock_mono_ms(m->o.clock);
}

struct smux_stream **smux_slot(struct smux *m, uint32_t id)
{
	struct smux_stream **at = &m->bucket[(id >> 1) % SMUX_BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

struct smux *smux_new(const struct smux_opts *o, const struct smux_handler *handler, void *arg,
		      struct err *e)
{
	struct smux *m = mem_alloc(sizeof(*m));

	if (!m) {
		(void)err_set(e, ERR_NOMEM, "smux session");
		return NULL;
	}
	m->o = *o;
	m->o.hold_max = o->hold_max ? o->hold_max : HOLD_MAX;
	m->o.send_max = o->send_max ? o->send_max : SEND_MAX;
	m->o.frame_max = o->frame_max ? o->frame_max : FRAME_MAX;
	m->o.stall_ms = o->stall_ms ? o->stall_ms : STALL_MS;
	m->o.idle_ms = o->idle_ms ? o->idle_ms : IDLE_MS;
	m->handler = handler;
	m->arg = arg;
	m->next_id = FIRST_ID;
	m->due_ms = UINT64_MAX;
	m->probe_seq = -1;
	list_init(&m->streams);
	list_init(&m->ready);
	list_init(&m->todo);
	list_init(&m->undecided);
	return m;
}

void smux_free(struct smux *m)
{
	assert(!m || m->count == 0);
	mem_free(m);
}

struct stream *smux_open(struct smux *m, struct err *e)
{
	struct smux_stream *s;

	if (m->dead || m->next_id > UINT32_MAX - 2 || (m->o.raw && m->next_id != FIRST_ID)) {
		(void)err_set(e, ERR_CLOSED, "the session takes no more streams");
		return NULL;
	}
	s = mem_alloc(sizeof(*s));
	if (!s) {
		(void)err_set(e, ERR_NOMEM, "smux stream");
		return NULL;
	}
	s->stream.ops = &smux_stream_ops;
	s->mux = m;
	s->id = m->next_id;
	s->syn_seq = -1;
	s->syn_due = !m->o.raw;
	s->moved_ms = smux_now_ms(m);
	buf_init(&s->in, m->o.hold_max + HOLD_SLACK);
	buf_init(&s->out, m->o.send_max);
	m->next_id += 2;
	*smux_slot(m, s->id) = s;
	list_add_tail(&m->streams, &s->node);
	if (s->syn_due)
		list_add_tail(&m->ready, &s->ready);
	m->count++;
	m->handler->kick(m->arg);
	return &s->stream;
}

int smux_probe(struct smux *m, struct err *e)
{
	struct stream *stream = smux_open(m, e);
	struct smux_stream *s;

	if (!stream)
		return -1;
	s = CONTAINER_OF(stream, struct smux_stream, stream);
	s->closing = s->owner_gone = s->fin_due = true;
	m->probe_seq = -1;
	return 0;
}

/* --- the end of a stream --- */

void smux_set_full(struct smux_stream *s, bool full)
{
	struct smux *m = s->mux;

	if (s->full == full)
		return;
	s->full = full;
	s->full_ms = smux_now_ms(m);
	smux_mind_due(s);
	m->full += full ? 1 : (size_t)-1;
	if (m->holding == (m->full > 0))
		return;
	m->holding = m->full > 0;
	m->handler->hold(m->arg, m->holding);
}

void smux_release(struct smux_stream *s)
{
	struct smux *m = s->mux;
	struct smux_stream **at;

	if (!s->owner_gone || !s->fin_sent || list_linked(&s->undecided))
		return;
	smux_set_full(s, false);
	at = smux_slot(m, s->id);
	*at = s->next;
	list_del(&s->node);
	list_del(&s->ready);
	list_del(&s->todo);
	buf_free(&s->in);
	buf_free(&s->out);
	m->count--;
	mem_free(s);
	m->handler->gone(m->arg);
}

void smux_want_run(struct smux_stream *s)
{
	if (!list_linked(&s->todo))
		list_add_tail(&s->mux->todo, &s->todo);
	s->mux->handler->kick(s->mux->arg);
}

void smux_want_send(struct smux_stream *s)
{
	if (s->mux->dead)
		return;
	if (!list_linked(&s->ready))
		list_add_tail(&s->mux->ready, &s->ready);
	s->mux->handler->kick(s->mux->arg);
}

void smux_finish_sending(struct smux_stream *s)
{
	if (s->fin_sent)
		return;
	if (s->mux->dead || (s->syn_due && buf_len(&s->out) == 0)) {
		s->fin_sent = true;
		list_del(&s->ready);
		return;
	}
	s->fin_due = true;
	smux_want_send(s);
}

void smux_break_stream(struct smux_stream *s, const struct err *why)
{
	if (s->broken || s->closing)
		return;
	s->broken = true;
	s->why = why ? *why : (struct err){ 0 };
	buf_free(&s->out);
	smux_finish_sending(s);
	smux_want_run(s);
}

static void forget_ghost(struct smux *m)
{
	LIST_EACH (it, &m->undecided) {
		struct smux_stream *s = CONTAINER_OF(it, struct smux_stream, undecided);

		if (!s->owner_gone || !s->fin_sent)
			continue;
		list_del(&s->undecided);
		m->ghosts--;
		smux_release(s);
		return;
	}
}

/* The owner has heard its last call. */
void smux_owner_left(struct smux_stream *s)
{
	struct smux *m = s->mux;

	s->owner_gone = true;
	s->stream.handler = NULL;
	smux_set_full(s, false);
	buf_free(&s->in);
	if (list_linked(&s->undecided) && ++m->ghosts > GHOSTS_MAX)
		forget_ghost(m);
	smux_release(s);
}

/* --- time --- */

static uint64_t due_of(const struct smux_stream *s)
{
	uint64_t due = UINT64_MAX;

	if (s->closing && buf_len(&s->out))
		return s->moved_ms + s->mux->o.idle_ms;
	if (s->closing || s->broken || s->owner_gone)
		return due;
	if (s->full)
		due = s->full_ms + s->mux->o.stall_ms;
	if ((s->shut || s->eof_told) && s->moved_ms + s->mux->o.idle_ms < due)
		due = s->moved_ms + s->mux->o.idle_ms;
	return due;
}

/* due_ms is never later than any stream's own, and may be earlier: then smux_tick() finds nothing
 * to do. So thousands of streams cost nothing in each turn. */
void smux_mind_due(struct smux_stream *s)
{
	uint64_t due = due_of(s);

	if (due < s->mux->due_ms)
		s->mux->due_ms = due;
}

uint64_t smux_next(const struct smux *m)
{
	return m->due_ms;
}

static void reset_stalled(struct smux_stream *s)
{
	struct err why;

	(void)err_set(&why, ERR_LIMIT, "reader stalled for %u s with %zu KiB waiting",
		      s->mux->o.stall_ms / 1000, buf_len(&s->in) / 1024);
	buf_free(&s->in);
	smux_set_full(s, false);
	smux_break_stream(s, &why);
}

/* Closed long ago, and the far end has not taken what it had to say. */
static void drop_unsent(struct smux_stream *s)
{
	buf_free(&s->out);
	if (!s->syn_due)
		return; /* FIN still goes */
	s->fin_sent = true;
	list_del(&s->ready);
	smux_release(s);
}

void smux_tick(struct smux *m)
{
	uint64_t now = smux_now_ms(m);

	if (now < m->due_ms)
		return;
	m->due_ms = UINT64_MAX;
	LIST_EACH (it, &m->streams) {
		struct smux_stream *s = CONTAINER_OF(it, struct smux_stream, node);

		if (due_of(s) > now)
			smux_mind_due(s);
		else if (s->closing)
			drop_unsent(s);
		else if (s->full && now >= s->full_ms + m->o.stall_ms) {
			reset_stalled(s);
		} else if (s->remote_fin) {
			smux_break_stream(s, NULL); /* both ends are done with it */
		} else {
			s->remote_fin = true;
			s->moved_ms = now;
			smux_want_run(s);
			smux_mind_due(s);
		}
	}
}

/* --- the end of all --- */

void smux_break(struct smux *m, const struct err *why)
{
	if (m->dead)
		return;
	m->dead = true;
	m->failures = 0;
	LIST_EACH (it, &m->streams) {
		struct smux_stream *s = CONTAINER_OF(it, struct smux_stream, node);

		if (list_linked(&s->undecided) && s->owner_gone)
			m->ghosts--;
		list_del(&s->undecided);
		list_del(&s->ready);
		s->fin_sent = true;
		if (!s->remote_fin)
			smux_break_stream(s, why);
		smux_release(s);
	}
}

void smux_abandon(struct smux *m, const struct err *why)
{
	for (struct list *it = m->streams.next; it != &m->streams; it = it->next)
		smux_break_stream(CONTAINER_OF(it, struct smux_stream, node), why);
}

/* --- how it is --- */

int64_t smux_probe_seq(const struct smux *m)
{
	return m->probe_seq;
}

uint64_t smux_asked_ms(const struct smux *m)
{
	return m->asked_ms;
}

uint32_t smux_opened(const struct smux *m)
{
	return m->next_id;
}

size_t smux_streams(const struct smux *m)
{
	return m->count;
}

size_t smux_moving(const struct smux *m, uint64_t ms)
{
	uint64_t now = smux_now_ms(m);
	size_t n = 0;

	for (const struct list *it = m->streams.next; it != &m->streams; it = it->next) {
		const struct smux_stream *s = CONTAINER_OF(it, const struct smux_stream, node);

		n += !s->owner_gone && !s->closing && now < s->moved_ms + ms;
	}
	return n;
}

bool smux_holding(const struct smux *m)
{
	return m->holding;
}

void smux_counts(const struct smux *m, uint64_t *up, uint64_t *down)
{
	*up = m->up;
	*down = m->down;
}
