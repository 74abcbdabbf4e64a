#ifndef SSM_CHANNEL_IMPL_H
#define SSM_CHANNEL_IMPL_H
/* What channel.c, channel_out.c and channel_in.c share. Everyone else includes channel.h. */
#include "backend/ssm/channel.h"
#include "backend/ssm/message.h"
#include "backend/ssm/window.h"
#include "base/buf.h"
#include "base/clock.h"

enum { CHANNEL_BEHIND_MS = 3000 };

enum phase { WAIT_REQUEST = 0, WAIT_COMPLETE, SETTLING, OPEN, OVER };

struct ack {
	int64_t seq;
	uint8_t id[MESSAGE_ID];
};

struct channel {
	struct channel_opts o;
	const struct channel_handler *handler;
	void *arg;
	struct message_codec *codec;
	enum phase phase;
	struct handshake handshake;
	/* in */
	int64_t expected;
	struct ahead ahead;
	struct buf acks; /* struct ack ..., not sent yet */
	bool hold;
	int64_t highest; /* one more than the greatest number that has come */
	uint64_t gap_ms; /* since then a later message is there than the expected one; 0: none is */
	uint64_t gap_moved_ms; /* when the expected number has last changed in the gap */
	int64_t gap_at;
	bool flooded; /* more acknowledgements wait than is good */
	unsigned bad;
	/* health */
	uint64_t heard_ms, up_ms, health_ms;
	unsigned silence_ms;
	int64_t silent_at; /* what was expected when another websocket was asked for; 0: never */
	/* out */
	struct unacked unacked;
	int64_t sent_until;  /* numbers below have been handed over at least once */
	struct sent *making; /* the next message; NULL until it is begun */
	size_t window;
	bool down, terminate;
	bool blocked; /* send() had no room; the owner comes again when there is some */
	bool more;    /* turn_max is reached, and there is room for more */
	uint64_t away_ms,
		pause_ms; /* the first and the last pause while nothing else came; 0: none */
	uint64_t paused_until, complete_ms, look_ms, ack_ms, timeout_ms, shrunk_ms;
	uint64_t acked_ms; /* our last acknowledgement */
	double srtt, rttvar, rtt_min;
	unsigned backoff;
	uint64_t resent;
	bool probed;
};

static inline uint64_t channel_now_ms(const struct channel *c)
{
	return clock_mono_ms(c->o.clock);
}

/* channel_out.c: acknowledgements, new messages, and what is repeated. */
void channel_out_init(struct channel *);
void channel_acknowledge(struct channel *, const struct message *);
/* Where the payload of the next message goes, payload_size bytes; NULL: out of memory. */
uint8_t *channel_begin_message(struct channel *, struct err *);
/* n bytes are where channel_begin_message() said. */
MUST_CHECK int channel_add_message(struct channel *, uint32_t payload_type, size_t n, struct err *);
MUST_CHECK int channel_flush_out(struct channel *, struct err *); /* all that can be sent now */
MUST_CHECK int channel_on_ack(struct channel *, const struct message *, struct err *);
void channel_on_pause(struct channel *); /* pause_publication came */
void channel_on_start(
	struct channel *); /* start_publication, or what shows that the agent is there */

/* channel_health.c: silence and gaps. */
void channel_health_init(struct channel *);
void channel_heard(struct channel *);    /* a message came, whichever */
void channel_mind_gap(struct channel *); /* expected, highest, hold or down have changed */
uint64_t channel_health_next(const struct channel *); /* when it is to be looked at again */

/* channel_in.c: numbered messages in their order, the handshake's among them. */
void channel_in_init(struct channel *);
MUST_CHECK int channel_on_output(struct channel *, const struct message *, struct err *);
MUST_CHECK int channel_drain(struct channel *, struct err *); /* what was held back */
#endif
