#include "cmd/localaws/channel.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/localaws/world.h"

/* The agent's constants (ssm-protocol 5.2). */
#define RTT_FIRST_MS   100.0
#define RTO_FIRST_MS   200.0
#define RTO_MAX_MS     1000.0
#define GRANULARITY_MS 10.0

static void tick(void *arg);
static void read_inbox(struct channel *ch);

static void send_ack(void *arg, const uint8_t *p, size_t n)
{
	struct channel *ch = arg;

	ch->w->stats.acks_out++;
	ch->ops->output(ch->arg, p, n);
}

void channel_init(struct channel *ch, struct world *w, const struct channel_ops *ops, void *arg)
{
	*ch = (struct channel){ .w = w, .ops = ops, .arg = arg, .ack_duplicates = true };
	ch->rtt_ms = RTT_FIRST_MS;
	ch->rto_ms = RTO_FIRST_MS;
	list_init(&ch->kept_order);
	list_init(&ch->inbox);
	line_init(&ch->acks, w, send_ack, ch);
	ch->acks.lose = FAULT_NO_ACK;
	ch->acks.delay = FAULT_DELAY_ACK;
}

void channel_free(struct channel *ch)
{
	timer_disarm(ch->w->loop, &ch->tick);
	loop_unpost(&ch->again);
	line_free(&ch->acks);
	seqmap_free(&ch->kept);
	seqmap_free(&ch->ahead);
	while (!list_empty(&ch->inbox))
		mem_free(CONTAINER_OF(list_pop(&ch->inbox), struct seq_entry, node));
}

/* --- out --- */

static size_t encode(struct channel *ch, struct wire_msg *m, uint8_t *out)
{
	m->schema = 1;
	m->created_ms = (uint64_t)world_wall_ms(ch->w);
	dice_uuid(&ch->w->dice, m->id);
	wire_encode(m, WIRE_SPACES, ch->w->hash, out);
	return wire_size(WIRE_SPACES, m->payload_len);
}

/* Beyond CHANNEL_KEPT the agent sends without keeping; so do we. */
static void keep(struct channel *ch, int64_t seq, const uint8_t *bytes, size_t n)
{
	struct seq_entry *e = ch->kept.count < CHANNEL_KEPT ? seq_entry_new(seq, bytes, n) : NULL;

	if (!e)
		return;
	e->at_ms = world_now_ms(ch->w);
	if (seqmap_put(&ch->kept, e) != 0) {
		mem_free(e);
		return;
	}
	list_add_tail(&ch->kept_order, &e->node);
	if (!timer_armed(&ch->tick))
		timer_arm(ch->w->loop, &ch->tick, CHANNEL_TICK_MS, tick, ch);
}

void channel_send(struct channel *ch, enum wire_payload type, const void *p, size_t n)
{
	uint8_t small[WIRE_PAYLOAD_AT + CHANNEL_PAYLOAD], *out = small;
	struct wire_msg m = { .type = "output_stream_data",
			      .seq = ch->next_out,
			      .flags = ch->next_out == 0 ? 1 : 0,
			      .payload_type = type,
			      .payload = p,
			      .payload_len = n };
	size_t len = wire_size(WIRE_SPACES, n);

	if (len > sizeof(small))
		out = mem_alloc(len);
	if (!out) {
		log_error("agent", "out of memory: a message is lost");
		return;
	}
	ch->next_out++;
	len = encode(ch, &m, out);
	if (!ch->paused)
		ch->ops->output(ch->arg, out, len);
	keep(ch, m.seq, out, len);
	if (out != small)
		mem_free(out);
}

bool channel_all_acked(const struct channel *ch)
{
	return ch->kept.count == 0;
}

/* Only the head, and not while paused: ten messages a second at most (5.4). */
static void tick(void *arg)
{
	struct channel *ch = arg;
	uint64_t now = world_now_ms(ch->w);
	struct seq_entry *e;

	if (list_empty(&ch->kept_order))
		return;
	timer_arm(ch->w->loop, &ch->tick, CHANNEL_TICK_MS, tick, ch);
	e = CONTAINER_OF(ch->kept_order.next, struct seq_entry, node);
	if (ch->paused || (double)(now - e->at_ms) <= ch->rto_ms)
		return;
	e->at_ms = now;
	ch->w->stats.retransmits++;
	ch->ops->output(ch->arg, e->bytes, e->len);
}

static void acked(struct channel *ch, int64_t seq)
{
	struct seq_entry *e = seqmap_take(&ch->kept, seq);
	double sample, off;

	if (!e)
		return;
	sample = (double)(world_now_ms(ch->w) - e->at_ms);
	off = ch->rtt_ms > sample ? ch->rtt_ms - sample : sample - ch->rtt_ms;
	ch->rttvar_ms = 0.75 * ch->rttvar_ms + 0.25 * off;
	ch->rtt_ms = 0.875 * ch->rtt_ms + 0.125 * sample;
	ch->rto_ms = ch->rtt_ms +
		     (4 * ch->rttvar_ms > GRANULARITY_MS ? 4 * ch->rttvar_ms : GRANULARITY_MS);
	if (ch->rto_ms > RTO_MAX_MS)
		ch->rto_ms = RTO_MAX_MS;
	list_del(&e->node);
	mem_free(e);
}

/* --- in --- */

static void acknowledge(struct channel *ch, const struct wire_msg *of)
{
	char text[WIRE_ACK_MAX];
	uint8_t out[WIRE_PAYLOAD_AT + WIRE_ACK_MAX];
	struct wire_msg m = { .type = "acknowledge", .flags = 3, .payload = (const uint8_t *)text };

	m.payload_len = wire_ack_text(of, text);
	line_send(&ch->acks, out, encode(ch, &m, out));
}

static void un_pause(struct channel *ch)
{
	if (!ch->paused)
		return;
	ch->paused = false;
	ch->ops->resumed(ch->arg);
}

static void store(struct channel *ch, const struct wire_msg *m, const uint8_t *p, size_t n)
{
	struct seq_entry *e;

	if (seqmap_get(&ch->ahead, m->seq)) {
		ch->w->stats.duplicates_in++;
		acknowledge(ch, m);
		return;
	}
	if (ch->ahead.count >= CHANNEL_KEPT || ch->ahead.bytes + n > CHANNEL_AHEAD_BYTES)
		return; /* silently, as the agent does when its buffer is full */
	acknowledge(ch, m);
	e = seq_entry_new(m->seq, p, n);
	if (e && seqmap_put(&ch->ahead, e) != 0)
		mem_free(e);
}

/* false: the message was not taken, now or for now. */
static bool process(struct channel *ch, const struct wire_msg *m, bool stored)
{
	enum channel_take take = ch->ops->input(ch->arg, m->payload_type, m->payload,
						m->payload_len);

	if (take == CHANNEL_BUSY) {
		ch->busy = true;
		ch->busy_stored = stored;
		ch->current = *m;
		ch->current.payload = NULL;
	}
	if (take != CHANNEL_TAKEN)
		return false;
	if (!stored)
		acknowledge(ch, m);
	ch->expected++;
	return true;
}

/* What came too early and is in its turn now; it is acknowledged already. */
static void drain_ahead(struct channel *ch)
{
	struct seq_entry *e;

	while (!ch->busy && (e = seqmap_get(&ch->ahead, ch->expected))) {
		struct wire_msg m;

		if (wire_decode(e->bytes, e->len, &m, NULL) == 0 && !process(ch, &m, true))
			return;
		mem_free(seqmap_take(&ch->ahead, e->seq));
	}
}

static void stream_data(struct channel *ch, const struct wire_msg *m, const uint8_t *p, size_t n)
{
	un_pause(ch);
	if (m->seq > ch->expected) {
		store(ch, m, p, n);
	} else if (m->seq < ch->expected) {
		ch->w->stats.duplicates_in++;
		if (ch->ack_duplicates)
			acknowledge(ch, m);
	} else if (process(ch, m, false)) {
		drain_ahead(ch);
	}
}

/* What the agent asks of a header; of the publications nothing. */
static int check(const struct wire_msg *m, struct err *e)
{
	if (strcmp(m->type, "start_publication") == 0 || strcmp(m->type, "pause_publication") == 0)
		return 0;
	if (!m->type[0])
		return err_set(e, ERR_PROTO, "message without a type");
	return m->created_ms ? 0 : err_set(e, ERR_PROTO, "message without a date");
}

static void one_message(struct channel *ch, const uint8_t *p, size_t n)
{
	struct wire_msg m;
	struct err e = { 0 };
	int64_t seq;

	if (wire_decode(p, n, &m, &e) != 0 || check(&m, &e) != 0) {
		log_warn("agent", "%s", e.msg);
		ch->w->stats.messages_bad++;
		return;
	}
	if (strcmp(m.type, "input_stream_data") == 0) {
		stream_data(ch, &m, p, n);
	} else if (strcmp(m.type, "acknowledge") == 0) {
		un_pause(ch);
		if (wire_ack_seq(m.payload, m.payload_len, &seq, &e) == 0)
			acked(ch, seq);
		else
			log_warn("agent", "%s", e.msg);
	} else if (strcmp(m.type, "pause_publication") == 0) {
		ch->paused = true;
	} else if (strcmp(m.type, "start_publication") == 0) {
		un_pause(ch);
	} else {
		log_debug("agent", "message type '%s' is ignored", m.type);
	}
}

static bool can_read(const struct channel *ch)
{
	return !ch->busy && ch->ops->reads(ch->arg);
}

static void read_inbox(struct channel *ch)
{
	bool was_full = channel_full(ch);

	if (ch->reading)
		return;
	ch->reading = true;
	drain_ahead(ch);
	while (!list_empty(&ch->inbox) && can_read(ch)) {
		struct seq_entry *e = CONTAINER_OF(list_pop(&ch->inbox), struct seq_entry, node);

		ch->inbox_bytes -= e->len;
		one_message(ch, e->bytes, e->len);
		mem_free(e);
	}
	ch->reading = false;
	if (was_full && !channel_full(ch))
		ch->ops->emptied(ch->arg);
}

void channel_receive(struct channel *ch, const uint8_t *p, size_t n)
{
	struct seq_entry *e;

	if (list_empty(&ch->inbox) && !ch->reading && can_read(ch)) {
		ch->reading = true;
		one_message(ch, p, n);
		ch->reading = false;
		return;
	}
	e = seq_entry_new(0, p, n);
	if (!e) {
		log_error("agent", "out of memory: a message is lost");
		return;
	}
	list_add_tail(&ch->inbox, &e->node);
	ch->inbox_bytes += n;
}

bool channel_full(const struct channel *ch)
{
	return ch->inbox_bytes > CHANNEL_INBOX_BYTES;
}

static void on_again(void *arg)
{
	read_inbox(arg);
}

void channel_taken(struct channel *ch)
{
	if (!ch->busy)
		return;
	ch->busy = false;
	if (ch->busy_stored)
		mem_free(seqmap_take(&ch->ahead, ch->current.seq));
	else
		acknowledge(ch, &ch->current);
	ch->expected++;
	channel_kick(ch);
}

void channel_kick(struct channel *ch)
{
	loop_post(ch->w->loop, &ch->again, on_again, ch);
}
