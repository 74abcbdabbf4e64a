/*
 * A channel's life, and which message goes where: numbered ones to channel_in.c, acknowledgements
 * to channel_out.c.
 */
#include "backend/ssm/channel_impl.h"

#include "base/log.h"
#include "base/mem.h"

enum { BAD_MAX = 100, BEHIND_HELD = 256 /* the agent repairs 10 a second */ };

struct channel *channel_new(const struct channel_opts *o, const struct channel_handler *handler,
			    void *arg, struct err *e)
{
	struct channel *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "data channel");
		return NULL;
	}
	c->o = *o;
	c->handler = handler;
	c->arg = arg;
	channel_out_init(c);
	channel_in_init(c);
	channel_health_init(c);
	c->codec = message_codec_new(e);
	if (c->codec)
		return c;
	channel_free(c);
	return NULL;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	mem_free(c->making);
	unacked_free(&c->unacked);
	ahead_free(&c->ahead);
	buf_free(&c->acks);
	message_codec_free(c->codec);
	mem_free(c);
}

int channel_flush(struct channel *c, struct err *e)
{
	c->more = false; /* without a websocket there is nothing that could be done at once */
	if (c->phase == OVER)
		return 0;
	if (channel_drain(c, e) != 0)
		return -1;
	if (c->down || c->phase == OVER)
		return 0;
	return channel_flush_out(c, e);
}

static int on_closed(struct channel *c, const struct message *m)
{
	char output[512];
	struct err e;

	c->hold = false; /* what is complete is delivered: it comes before the end */
	if (channel_drain(c, &e) != 0)
		log_debug("ssm", "%s: %s", c->o.name, e.msg);
	if (message_closed_parse(m->payload, m->payload_len, output, sizeof(output), &e) != 0)
		log_warn("ssm", "%s: %s", c->o.name, e.msg);
	c->phase = OVER;
	c->handler->closed(c->arg, output);
	return 0;
}

/* A damaged message is not acknowledged, so it comes again; many of them mean
 * that we do not speak the same protocol. */
static int on_bad(struct channel *c, struct err *e)
{
	if (++c->bad >= BAD_MAX)
		return err_wrap(e, "%u unreadable messages, the last", c->bad);
	if (c->bad <= 3)
		log_warn("ssm", "%s: message dropped: %s", c->o.name, e->msg);
	return 0;
}

int channel_input(struct channel *c, const uint8_t *p, size_t n, struct err *e)
{
	struct message m;
	struct err bad;

	if (c->phase == OVER)
		return 0;
	if (message_decode(c->codec, p, n, &m, e) != 0)
		return on_bad(c, e);
	channel_heard(c);
	switch (m.type) {
	case MESSAGE_OUTPUT: return channel_on_output(c, &m, e);
	case MESSAGE_ACK:
		if (channel_on_ack(c, &m, &bad) != 0)
			log_debug("ssm", "%s: %s", c->o.name, bad.msg);
		return 0;
	case MESSAGE_CLOSED: return on_closed(c, &m);
	case MESSAGE_PAUSE: channel_on_pause(c); return 0;
	case MESSAGE_START: channel_on_start(c); return 0;
	default: return 0;
	}
}

/* --- the owner's words --- */

void channel_hold(struct channel *c, bool on)
{
	c->hold = on;
	channel_mind_gap(c);
}

void channel_down(struct channel *c)
{
	c->down = true;
	c->flooded = false;
	buf_clear(&c->acks);
	channel_mind_gap(c);
}

void channel_up(struct channel *c)
{
	c->down = false;
	c->up_ms = channel_now_ms(c);
	channel_mind_gap(c);
	c->blocked = false;
	channel_on_start(c);
	c->backoff = 0;
	c->look_ms = 0;
	for (int64_t seq = c->unacked.oldest; seq < c->sent_until; seq++) {
		struct sent *s = unacked_at(&c->unacked, seq);

		if (s)
			s->last_ms = 0;
	}
}

void channel_terminate(struct channel *c)
{
	c->terminate = true;
}

bool channel_is_complete(const struct channel *c)
{
	return c->complete_ms != 0;
}

bool channel_is_drained(const struct channel *c)
{
	return !c->terminate && c->unacked.oldest == c->unacked.next;
}

bool channel_is_behind(const struct channel *c)
{
	const struct sent *oldest = unacked_at(&c->unacked, c->unacked.oldest);
	uint64_t now = channel_now_ms(c);

	if (c->gap_ms && c->ahead.count >= BEHIND_HELD && now >= c->gap_ms + CHANNEL_BEHIND_MS)
		return true;
	return oldest && oldest->tries && now >= oldest->first_ms + CHANNEL_BEHIND_MS;
}

bool channel_has_more(const struct channel *c)
{
	return c->more;
}

bool channel_is_flooded(const struct channel *c)
{
	return c->flooded;
}

int64_t channel_acked_until(const struct channel *c)
{
	return c->unacked.oldest;
}

bool channel_wants_nop(const struct channel *c)
{
	return c->handshake.wants_nop;
}

bool channel_hears_end(const struct channel *c)
{
	return c->handshake.hears_end;
}

const char *channel_agent_version(const struct channel *c)
{
	return c->handshake.agent_version;
}

const struct err *channel_refused(const struct channel *c)
{
	return c->handshake.refused.code == ERR_NONE ? NULL : &c->handshake.refused;
}

size_t channel_window(const struct channel *c)
{
	return c->window;
}

unsigned channel_srtt_ms(const struct channel *c)
{
	return (unsigned)c->srtt;
}

uint64_t channel_resent(const struct channel *c)
{
	return c->resent;
}
