#ifndef LOCALAWS_CHANNEL_H
#define LOCALAWS_CHANNEL_H
/*
 * The agent's end of a data channel: numbers, acknowledgements,
 * retransmission, and the order of what came in. It does what amazon-ssm-agent
 * does, weak points included (ssm-protocol 5):
 *
 *  - it never waits for acknowledgements; what is not acknowledged is kept, at
 *    most CHANNEL_KEPT messages, and beyond that not kept at all;
 *  - every 100 ms the oldest kept message, and only that, is sent again if it
 *    is older than the retransmission timeout;
 *  - a message in its turn is processed first and acknowledged afterwards; one
 *    ahead of its turn is acknowledged at once and stored; one seen before is
 *    acknowledged again (agents before 3.2.1041.0: silence);
 *  - while the handler does not take a message, nothing else is read, acks
 *    included: that is the only flow control there is.
 *
 * What has come but cannot be read yet waits in `inbox`; channel_full() says
 * when the gateway should stop reading the client's socket.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cmd/localaws/line.h"
#include "cmd/localaws/seqmap.h"
#include "cmd/localaws/wire.h"
#include "net/loop.h"

struct world;

enum {
	CHANNEL_KEPT = 100000,                   /* messages, either direction */
	CHANNEL_AHEAD_BYTES = 256 * 1024 * 1024, /* of the stored ones */
	CHANNEL_PAYLOAD = 1024,
	CHANNEL_TICK_MS = 100,
	CHANNEL_INBOX_BYTES = 4 * 1024 * 1024, /* beyond it the gateway stops reading */
};

enum channel_take {
	CHANNEL_TAKEN = 0,
	CHANNEL_NOT_READY, /* no ack, no advance: the client has to send it again */
	CHANNEL_BUSY, /* all of it was copied; channel_taken() follows; nothing is read until then
		       */
};
struct channel_ops {
	enum channel_take (*input)(void *arg, uint32_t payload_type, const uint8_t *p, size_t n);
	void (*output)(void *arg, const uint8_t *p, size_t n); /* one message, to the gateway */
	bool (*room)(void *arg);    /* does the gateway carry data now? */
	bool (*reads)(void *arg);   /* may input be processed: do its acks find room? */
	void (*resumed)(void *arg); /* no longer paused */
	void (*emptied)(void *arg); /* the inbox is below its limit again */
};

struct channel {
	struct world *w;
	const struct channel_ops *ops;
	void *arg;
	int64_t next_out, expected;
	struct list kept_order; /* oldest first */
	struct seqmap kept, ahead;
	double rtt_ms, rttvar_ms, rto_ms;
	struct loop_timer tick;
	struct line acks; /* delay-ack */
	struct list inbox;
	size_t inbox_bytes;
	bool paused, busy, busy_stored, reading, ack_duplicates;
	struct wire_msg current; /* of the busy one; its payload is gone */
	struct loop_post again;
};

void channel_init(struct channel *, struct world *, const struct channel_ops *, void *arg);
void channel_free(struct channel *);
/* A stream message of the agent (n >= 1). While paused it is kept but not sent. */
void channel_send(struct channel *, enum wire_payload, const void *p, size_t n);
bool channel_all_acked(const struct channel *);
/* One message from the gateway. */
void channel_receive(struct channel *, const uint8_t *p, size_t n);
bool channel_full(const struct channel *);
void channel_taken(struct channel *); /* the busy message is processed */
/* The handler may have become ready, or the gateway has room again. From the loop. */
void channel_kick(struct channel *);
#endif
