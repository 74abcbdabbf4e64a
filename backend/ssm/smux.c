#include "backend/ssm/smux_impl.h"

#include <assert.h>
#include <string.h>

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
	HOLD_LOW = 256 << 10, /* reading goes on when this much has gone */
	SEND_MAX = 128 << 10,
	FRAME_MAX = 4096,
	FRAME_WORTH = 64, /* a smaller piece is not worth a header */
	DELIVER_MAX = 64 << 10,
	STALL_MS = 10000,
	IDLE_MS = 300000,
	GHOSTS_MAX = 1024,
	BUFFERS_KEPT = 16, /* with more streams than that, an empty buffer is freed at once */
	FIRST_ID = 3
};

uint64_t smux_now_ms(const struct smux *m)
{
	return clock_mono_ms(m->o.clock);
}

static struct smux_stream **slot_of(struct smux *m, uint32_t id)
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
	*slot_of(m, s->id) = s;
	list_add_tail(&m->streams, &s->node);
	if (s->syn_due)
		list_add_tail(&m->ready, &s->ready);
	m->count++;
	m->handler->kick(m->arg);
	return &s->stream;
}

/* --- the end of a stream --- */

void smux_set_full(struct smux_stream *s, bool full)
{
	struct smux *m = s->mux;

	if (s->full == full)
		return;
	s->full = full;
	s->full_ms = smux_now_ms(m);
	m->full += full ? 1 : (size_t)-1;
	if (m->holding == (m->full > 0))
		return;
	m->holding = m->full > 0;
	m->handler->hold(m->arg, m->holding);
}

static void release(struct smux_stream *s)
{
	struct smux *m = s->mux;
	struct smux_stream **at;

	if (!s->owner_gone || !s->fin_sent || list_linked(&s->undecided))
		return;
	smux_set_full(s, false);
	at = slot_of(m, s->id);
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
		release(s);
		return;
	}
}

/* The owner has heard its last call. */
static void owner_left(struct smux_stream *s)
{
	struct smux *m = s->mux;

	s->owner_gone = true;
	s->stream.handler = NULL;
	smux_set_full(s, false);
	buf_free(&s->in);
	if (list_linked(&s->undecided) && ++m->ghosts > GHOSTS_MAX)
		forget_ghost(m);
	release(s);
}

/* --- who was refused --- */

static void decide(struct smux_stream *s, enum smux_fate fate)
{
	struct smux *m = s->mux;

	list_del(&s->undecided);
	if (s->owner_gone) {
		m->ghosts--;
		release(s);
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
	size_t done = 0;
	struct err e;

	m->down += n;
	s->got_data = true;
	s->moved_ms = smux_now_ms(m);
	if (list_linked(&s->undecided))
		prove_until(m, s->id); /* one without an owner goes with that */
	if (unwanted || s->closing)
		return;
	if (buf_len(&s->in) == 0 && deliverable(s) && !s->fed) {
		done = deliver(s, p, n);
		s->fed = true;
		smux_want_run(s);
	}
	if (done == n || s->closing)
		return;
	if (buf_add(&s->in, p + done, n - done, &e) != 0) {
		(void)err_wrap(&e, "slow reader");
		smux_break_stream(s, &e);
	} else if (buf_len(&s->in) >= m->o.hold_max) {
		smux_set_full(s, true);
	}
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
		struct smux_stream *s = *slot_of(m, f.id);

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
	s->fed = false;
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
		s->stream.handler->eof(s->stream.arg);
	}
	if (s->owner_gone || !(s->closing || (s->broken && s->stream.handler)))
		return;
	if (s->stream.handler)
		s->stream.handler->closed(s->stream.arg, s->broken && s->why.code ? &s->why : NULL);
	smux_finish_sending(s);
	owner_left(s);
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

/* --- sending --- */

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
			release(s);
	}
	return used;
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

bool smux_pending(const struct smux *m)
{
	return !m->dead && (m->nop_due || !list_empty(&m->ready));
}

void smux_nop(struct smux *m)
{
	m->nop_due = !m->o.raw;
	m->handler->kick(m->arg);
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

uint64_t smux_next(const struct smux *m)
{
	uint64_t first = UINT64_MAX;

	for (const struct list *it = m->streams.next; it != &m->streams; it = it->next) {
		uint64_t due = due_of(CONTAINER_OF(it, struct smux_stream, node));

		if (due < first)
			first = due;
	}
	return first;
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
	release(s);
}

void smux_tick(struct smux *m)
{
	uint64_t now = smux_now_ms(m);

	LIST_EACH (it, &m->streams) {
		struct smux_stream *s = CONTAINER_OF(it, struct smux_stream, node);

		if (due_of(s) > now)
			continue;
		if (s->closing)
			drop_unsent(s);
		else if (s->full && now >= s->full_ms + m->o.stall_ms) {
			reset_stalled(s);
		} else if (s->remote_fin) {
			smux_break_stream(s, NULL); /* both ends are done with it */
		} else {
			s->remote_fin = true;
			s->moved_ms = now;
			smux_want_run(s);
		}
	}
}

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
		release(s);
	}
}

void smux_abandon(struct smux *m, const struct err *why)
{
	for (struct list *it = m->streams.next; it != &m->streams; it = it->next)
		smux_break_stream(CONTAINER_OF(it, struct smux_stream, node), why);
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
