/*
 * What comes into a channel: numbered messages put into their order, the handshake, data and
 * flags among them.
 */
#include "backend/ssm/channel_impl.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { AHEAD_BYTES = 32 << 20 };

void channel_in_init(struct channel *c)
{
	ahead_init(&c->ahead, c->o.ahead_max ? c->o.ahead_max : AHEAD_BYTES);
}

static int on_request(struct channel *c, const uint8_t *p, size_t n, struct err *e)
{
	struct buf answer;
	uint8_t *to;
	size_t len;
	int r;

	if (c->phase != WAIT_REQUEST)
		return 0; /* a second response would block the agent's reader for good */
	buf_init(&answer, c->o.payload_size);
	r = handshake_answer(p, n, &c->handshake, &answer, e);
	if (r == 0)
		r = handshake_gate(c->handshake.agent_version, c->o.use, e);
	len = buf_len(&answer);
	to = r == 0 ? channel_begin_message(c, e) : NULL;
	if (to) {
		memcpy(to, buf_ptr(&answer), len);
		r = channel_add_message(c, PAYLOAD_HANDSHAKE_RESPONSE, len, e);
	}
	buf_free(&answer);
	if (!to || r != 0)
		return -1;
	if (c->handshake.refused.code == ERR_NONE)
		log_debug("ssm", "%s: handshake with agent %s", c->o.name,
			  c->handshake.agent_version);
	else
		log_warn("ssm", "%s: %s", c->o.name, c->handshake.refused.msg);
	c->phase = WAIT_COMPLETE;
	return 0;
}

static void on_complete(struct channel *c, const uint8_t *p, size_t n)
{
	char text[512];

	if (c->phase != WAIT_COMPLETE)
		return;
	c->phase = SETTLING;
	c->complete_ms = channel_now_ms(c);
	handshake_complete(p, n, text, sizeof(text));
	if (text[0])
		log_info("ssm", "%s: message from the account: %s", c->o.name, text);
	c->handler->complete(c->arg);
}

static int on_bytes(struct channel *c, const uint8_t *p, size_t n, struct err *e)
{
	if (c->phase < SETTLING)
		return err_set(
			e, ERR_UNSUPPORTED,
			"the agent sends data without a handshake: it is too old, update it");
	return n ? c->handler->data(c->arg, p, n, e) : 0;
}

static void on_flag(struct channel *c, const uint8_t *p, size_t n)
{
	if (n == 4 && p[0] == 0 && p[1] == 0 && p[2] == 0)
		c->handler->flag(c->arg, p[3]);
	else
		log_debug("ssm", "%s: flag of %zu bytes ignored", c->o.name, n);
}

static int process(struct channel *c, uint32_t type, const uint8_t *p, size_t n, struct err *e)
{
	switch (type) {
	case PAYLOAD_OUTPUT: return on_bytes(c, p, n, e);
	case PAYLOAD_HANDSHAKE_REQUEST: return on_request(c, p, n, e);
	case PAYLOAD_HANDSHAKE_COMPLETE: on_complete(c, p, n); return 0;
	case PAYLOAD_FLAG: on_flag(c, p, n); return 0;
	default: /* counted and acknowledged, or everything later would wait for it */
		log_debug("ssm", "%s: payload type %u skipped", c->o.name, type);
		return 0;
	}
}

int channel_drain(struct channel *c, struct err *e)
{
	struct held *h;
	int r = 0;

	while (r == 0 && !c->hold && c->phase != OVER &&
	       (h = ahead_take(&c->ahead, c->expected)) != NULL) {
		c->expected++;
		r = process(c, h->payload_type, h->payload, h->len, e);
		mem_free(h);
	}
	channel_mind_gap(c);
	return r;
}

int channel_on_output(struct channel *c, const struct message *m, struct err *e)
{
	channel_on_start(c);
	if (channel_drain(c, e) != 0) /* what was held back comes first */
		return -1;
	if (m->seq < c->expected) {
		channel_acknowledge(c, m); /* its first acknowledgement was lost */
		return 0;
	}
	if (m->seq >= c->highest)
		c->highest = m->seq + 1;
	if (m->seq > c->expected || c->hold) {
		if (ahead_put(&c->ahead, c->expected, m->seq, m->payload_type, m->payload,
			      m->payload_len) != AHEAD_FULL)
			channel_acknowledge(c, m);
		channel_mind_gap(c);
		return 0;
	}
	channel_acknowledge(c, m);
	c->expected++;
	if (process(c, m->payload_type, m->payload, m->payload_len, e) != 0)
		return -1;
	return channel_drain(c, e);
}
