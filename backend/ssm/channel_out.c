/*
 * What leaves a channel: acknowledgements first, then what is overdue, then new data as far as the
 * window allows; and what the agent's acknowledgements teach about round trips.
 */
#include "backend/ssm/channel_impl.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/*
 * After HandshakeComplete the agent's reader may, for a moment, still swallow
 * what arrives, and acknowledge it all the same. So the first message is a NOP;
 * data follows when its acknowledgement took long enough to have outlasted that
 * moment (SETTLE_RTT), or SETTLE_MS after the handshake, whichever is first.
 */
enum {
	PAYLOAD_DEFAULT = 1024,
	WINDOW_MAX = 2 << 20,
	WINDOW_MIN = 64 << 10,
	OFFICIAL_RATE = 1024, /* bytes per ms: what AWS's own client sends, whatever happens */
	ACKS_MAX = 65536,
	ACKS_HIGH = 16384, /* waiting: the owner is asked to stop reading */
	RTT_FIRST = 100,   /* ms; this and the next: the protocol's own constants */
	RTO_FIRST = 200,
	RTO_MAX = 1000,
	GRANULARITY = 10,
	BACKED_OFF_MAX = 5000,
	BACKOFF_MAX = 6,          /* doublings */
	SCAN_MS = 50,             /* between looks at what is overdue */
	RESEND_BURST = 256 << 10, /* bytes repeated at one look */
	PAUSE_MS = 5000,          /* without another pause the sender tries again */
	SETTLE_MS = 100,
	SETTLE_RTT = 20,
	PROBE_MAX = 8,
	/* Acknowledgements that come closer than this leave together, one of them as late as
	 * this. The agent's measure of the round trip grows by half of it, its timeout is never
	 * less than 10 ms above that. */
	ACK_GATHER_MS = 10
};

void channel_out_init(struct channel *c)
{
	c->o.payload_size = c->o.payload_size ? c->o.payload_size : PAYLOAD_DEFAULT;
	c->o.window_max = c->o.window_max ? c->o.window_max : WINDOW_MAX;
	c->window = c->o.window_max < WINDOW_MIN ? c->o.window_max : WINDOW_MIN;
	c->srtt = RTT_FIRST;
	c->look_ms = UINT64_MAX;
	buf_init(&c->acks, ACKS_MAX * sizeof(struct ack));
}

/* --- acknowledgements --- */

static bool send_wire(struct channel *c, const uint8_t *wire, size_t n)
{
	c->blocked = !c->handler->send(c->arg, wire, n);
	return !c->blocked;
}

/* The first after a pause goes at once: so does the only one that a keystroke's echo needs. */
static bool send_ack_wire(struct channel *c, const uint8_t *wire, size_t n)
{
	uint64_t now = channel_now_ms(c), last = c->acked_ms;

	c->acked_ms = now;
	if (!c->handler->send_soon || now >= last + ACK_GATHER_MS)
		return send_wire(c, wire, n);
	c->blocked = !c->handler->send_soon(c->arg, wire, n, ACK_GATHER_MS);
	return !c->blocked;
}

static bool send_ack(struct channel *c, const struct ack *ack)
{
	uint8_t wire[MESSAGE_HEADER + MESSAGE_ACK_MAX];
	struct message of = { .seq = ack->seq };
	struct message m = { .type = MESSAGE_ACK, .flags = 3 };

	memcpy(of.id, ack->id, MESSAGE_ID);
	m.payload = wire + MESSAGE_HEADER;
	m.payload_len = message_ack_json(&of, (char *)wire + MESSAGE_HEADER);
	m.created_ms = (uint64_t)clock_wall_ms(c->o.clock);
	message_random_id(c->codec, m.id);
	if (message_encode(c->codec, &m, wire, NULL) != 0)
		return true; /* not acknowledged: it will be repeated */
	return send_ack_wire(c, wire, MESSAGE_HEADER + m.payload_len);
}

/* Withholding acknowledgements stops the agent's repair of everything later,
 * so they go out at once, before any data. */
void channel_acknowledge(struct channel *c, const struct message *m)
{
	struct ack ack = { .seq = m->seq };

	memcpy(ack.id, m->id, MESSAGE_ID);
	if (c->down)
		return; /* the agent repeats it after the reconnect */
	if (buf_len(&c->acks) == 0 && send_ack(c, &ack))
		return;
	if (buf_len(&c->acks) >= ACKS_HIGH * sizeof(ack))
		c->flooded = true;
	if (buf_add(&c->acks, &ack, sizeof(ack), NULL) != 0)
		log_warn("ssm", "%s: no room for an acknowledgement: the agent will repeat itself",
			 c->o.name);
}

static bool flush_acks(struct channel *c)
{
	struct ack ack;

	while (buf_len(&c->acks)) {
		memcpy(&ack, buf_ptr(&c->acks), sizeof(ack));
		if (!send_ack(c, &ack))
			return false;
		buf_drop(&c->acks, sizeof(ack));
	}
	c->flooded = false;
	return true;
}

/* --- sending --- */

static double rto_of(const struct channel *c)
{
	double margin = 4 * c->rttvar > GRANULARITY ? 4 * c->rttvar : GRANULARITY;
	double rto = c->ack_ms ? c->srtt + margin : RTO_FIRST;

	if (rto > RTO_MAX)
		rto = RTO_MAX;
	for (unsigned i = 0; i < c->backoff; i++)
		rto *= 2;
	if (c->paused_until)
		rto *= 4;
	return rto > BACKED_OFF_MAX ? BACKED_OFF_MAX : rto;
}

static bool hand_over(struct channel *c, struct sent *s)
{
	if (!send_wire(c, s->wire, s->wire_len))
		return false;
	s->last_ms = channel_now_ms(c);
	if (s->tries++ == 0)
		s->first_ms = s->last_ms;
	if (c->look_ms > s->last_ms + (uint64_t)rto_of(c))
		c->look_ms = s->last_ms + (uint64_t)rto_of(c);
	return true;
}

static bool flush_unsent(struct channel *c)
{
	for (; c->sent_until < c->unacked.next; c->sent_until++) {
		struct sent *s = unacked_at(&c->unacked, c->sent_until);

		if (s && !hand_over(c, s))
			return false;
	}
	return true;
}

/* Where the payload of the next message goes, payload_size bytes; NULL: out of memory. */
uint8_t *channel_begin_message(struct channel *c, struct err *e)
{
	if (!c->making)
		c->making = unacked_new(&c->unacked, MESSAGE_HEADER + c->o.payload_size, e);
	return c->making ? c->making->wire + MESSAGE_HEADER : NULL;
}

/* A short message is not kept in memory for a long one: the many that may be unacknowledged would
 * take more than the window says. */
static struct sent *made_to_fit(struct channel *c, size_t n, struct err *e)
{
	struct sent *s = c->making, *fit;

	if (n >= s->room / 4) {
		c->making = NULL;
		return s;
	}
	fit = unacked_new(&c->unacked, n, e);
	if (fit)
		memcpy(fit->wire, s->wire, n);
	return fit;
}

/* n bytes are where channel_begin_message() said. Inserted before it is sent, so that
 * no acknowledgement can come for what is not there. */
int channel_add_message(struct channel *c, uint32_t payload_type, size_t n, struct err *e)
{
	uint8_t *wire = c->making->wire;
	struct message m = { .type = MESSAGE_INPUT,
			     .seq = c->unacked.next,
			     .payload_type = payload_type,
			     .payload = wire + MESSAGE_HEADER,
			     .payload_len = n };
	struct sent *s;

	m.created_ms = (uint64_t)clock_wall_ms(c->o.clock);
	message_random_id(c->codec, m.id);
	if (message_encode(c->codec, &m, wire, e) != 0)
		return -1;
	s = made_to_fit(c, MESSAGE_HEADER + n, e);
	if (!s)
		return -1;
	unacked_add(&c->unacked, s, MESSAGE_HEADER + n, n);
	return 0;
}

/* What AWS's client has under way at this round trip: the service is known to bear it. */
static size_t window_least(const struct channel *c)
{
	size_t least = (size_t)(c->srtt * OFFICIAL_RATE);

	if (least < WINDOW_MIN)
		least = WINDOW_MIN;
	return least < c->o.window_max ? least : c->o.window_max;
}

/* Once for each cause: a round trip must pass before another halving can have had an effect. */
static void halve(struct channel *c)
{
	uint64_t now = channel_now_ms(c);

	if (c->shrunk_ms && now < c->shrunk_ms + (uint64_t)c->srtt)
		return;
	c->shrunk_ms = now;
	c->window /= 2;
	if (c->window < window_least(c))
		c->window = window_least(c);
}

/* The first that is overdue tells: has a whole timeout passed, and not one acknowledgement come?
 * A loss among messages that are acknowledged is none of that, and only repaired. */
static void mind_timeout(struct channel *c, const struct sent *overdue, uint64_t limit)
{
	uint64_t now = channel_now_ms(c);

	if (!overdue->last_ms || c->ack_ms >= overdue->last_ms || now < c->timeout_ms + limit)
		return;
	c->timeout_ms = now;
	if (c->backoff < BACKOFF_MAX)
		c->backoff++;
	halve(c);
}

/* All that is overdue, oldest first. */
static bool flush_overdue(struct channel *c)
{
	uint64_t now = channel_now_ms(c), first = UINT64_MAX, limit = (uint64_t)rto_of(c);
	size_t burst = 0;
	bool room = true;

	if (now < c->look_ms)
		return true;
	for (int64_t seq = c->unacked.oldest; seq < c->sent_until; seq++) {
		struct sent *s = unacked_at(&c->unacked, seq);
		uint64_t due;

		if (!s)
			continue;
		due = s->last_ms ? s->last_ms + limit : 0;
		if (due <= now && room && burst < RESEND_BURST) {
			if (burst == 0)
				mind_timeout(c, s, limit);
			room = hand_over(c, s);
			burst += s->wire_len;
			c->resent += room;
			due = room ? now + limit : now;
		}
		if (due < first)
			first = due;
	}
	c->look_ms = first == UINT64_MAX || first > now + SCAN_MS ? first : now + SCAN_MS;
	return room;
}

static size_t pull_max(struct channel *c)
{
	uint64_t now = channel_now_ms(c);

	if (c->paused_until && now >= c->paused_until)
		c->paused_until = 0;
	if (c->phase == SETTLING && now >= c->complete_ms + SETTLE_MS)
		c->phase = OPEN;
	if (c->paused_until || !unacked_room(&c->unacked))
		return 0;
	if (c->phase == SETTLING)
		return c->probed || c->o.use == HANDSHAKE_RAW ? 0 : PROBE_MAX;
	if (c->phase != OPEN || c->unacked.bytes >= c->window)
		return 0;
	return c->o.payload_size;
}

static int flush_new(struct channel *c, struct err *e)
{
	size_t max, n, all = 0;

	while ((max = pull_max(c)) > 0) {
		uint8_t *to;

		c->more = c->o.turn_max && all >= c->o.turn_max;
		if (c->more)
			return 0;
		to = channel_begin_message(c, e);
		if (!to)
			return -1;
		n = c->handler->pull(c->arg, to, max, c->unacked.next);
		if (n == 0)
			break;
		c->probed = true;
		all += n;
		if (channel_add_message(c, PAYLOAD_OUTPUT, n, e) != 0)
			return -1; /* bytes were taken off a stream: this channel is lost */
		if (!flush_unsent(c))
			return 0;
	}
	return 0;
}

static int flush_terminate(struct channel *c, struct err *e)
{
	static const uint8_t flag[4] = { 0, 0, 0, FLAG_TERMINATE };
	uint8_t *to;

	if (!c->terminate || c->phase < SETTLING || !unacked_room(&c->unacked))
		return 0;
	to = channel_begin_message(c, e);
	if (!to)
		return -1;
	c->terminate = false;
	memcpy(to, flag, sizeof(flag));
	if (channel_add_message(c, PAYLOAD_FLAG, sizeof(flag), e) != 0)
		return -1;
	(void)flush_unsent(c);
	return 0;
}

int channel_flush_out(struct channel *c, struct err *e)
{
	if (!flush_acks(c) || !flush_unsent(c) || !flush_overdue(c))
		return 0;
	if (flush_new(c, e) != 0)
		return -1;
	return c->more ? 0 : flush_terminate(c, e);
}

uint64_t channel_next(const struct channel *c)
{
	uint64_t next = UINT64_MAX;

	if (c->down || c->phase == OVER)
		return next;
	if (c->unacked.oldest < c->sent_until && !c->blocked)
		next = c->look_ms;
	if (c->phase == SETTLING && c->complete_ms + SETTLE_MS < next)
		next = c->complete_ms + SETTLE_MS;
	if (c->paused_until && c->paused_until < next)
		next = c->paused_until;
	if (channel_health_next(c) < next)
		next = channel_health_next(c);
	return next;
}

/* --- acknowledgements received --- */

/* The window follows the round trips: a growing queue somewhere shows as a
 * round trip well above the shortest one seen. */
static void adapt(struct channel *c, double sample, size_t acked)
{
	if (c->rtt_min == 0 || sample < c->rtt_min)
		c->rtt_min = sample > 1 ? sample : 1;
	if (sample <= 2 * c->rtt_min + 50) {
		c->window += acked;
		if (c->window > c->o.window_max)
			c->window = c->o.window_max;
	} else if (sample > 3 * c->rtt_min + 200) {
		halve(c);
	}
	if (c->window < window_least(c))
		c->window = window_least(c);
}

/* Also from a message that was repeated, as the agent does it: without that a round trip much
 * longer than the timeout would never be learnt, and everything be repeated for ever. Not more than
 * the longest timeout, and not over a change of the websocket. */
static void measure(struct channel *c, const struct sent *s)
{
	double sample = (double)(channel_now_ms(c) - s->first_ms), off;

	if (s->tries > 1 && s->first_ms < c->up_ms)
		return;
	if (s->tries > 2 && sample > RTO_MAX)
		sample = RTO_MAX;
	off = sample > c->srtt ? sample - c->srtt : c->srtt - sample;
	c->rttvar = 0.75 * c->rttvar + 0.25 * off;
	c->srtt = 0.875 * c->srtt + 0.125 * sample;
	if (s->tries == 1) /* a repaired one says nothing of queues */
		adapt(c, sample, s->len);
	if (c->phase == SETTLING && c->probed && sample >= SETTLE_RTT)
		c->phase = OPEN;
}

int channel_on_ack(struct channel *c, const struct message *m, struct err *e)
{
	struct sent *s;
	int64_t seq;

	channel_on_start(c);
	if (message_ack_parse(m->payload, m->payload_len, &seq, e) != 0)
		return -1;
	s = unacked_at(&c->unacked, seq);
	if (!s || s->tries == 0)
		return 0; /* known already, or never sent */
	c->ack_ms = channel_now_ms(c);
	c->backoff = 0;
	measure(c, s);
	if (unacked_done(&c->unacked, seq))
		c->handler->acked(c->arg);
	return 0;
}

void channel_on_pause(struct channel *c)
{
	uint64_t now = channel_now_ms(c);

	if (!c->paused_until)
		halve(c);
	if (!c->away_ms || now > c->pause_ms + 3 * PAUSE_MS)
		c->away_ms = now; /* another time: who was there meanwhile had nothing to say */
	c->pause_ms = now;
	c->paused_until = now + PAUSE_MS;
	c->gap_ms = 0; /* nobody is there to fill it */
}

void channel_on_start(struct channel *c)
{
	c->paused_until = 0;
	c->away_ms = 0;
}
