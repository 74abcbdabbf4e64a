#ifndef SSM_CHANNEL_H
#define SSM_CHANNEL_H
/*
 * One SSM data channel: an ordered, repaired byte pipe made of numbered
 * messages, and the handshake in front of it.
 *
 *     smux.c --pull()--> window.c (unacked) --message.c--> send()          (out)
 *     smux.c <--data()-- in order <-- window.c (ahead) <-- channel_input() (in)
 *
 * Out: a message is put into the unacked window before it is sent, and sent
 * again when overdue; the window in bytes grows while round trips stay short
 * and shrinks when they grow. A full window stops the pulling: back-pressure.
 * In: every accepted message is acknowledged by its own number, a repeated one
 * again; one that comes early is kept if there is room, otherwise neither kept
 * nor acknowledged, so that the agent repeats it.
 *
 * No socket, no timer: the owner says when time has passed and when there is
 * room. Handlers are called from channel_input(), channel_flush() and nothing
 * else; they must not free the channel.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/ssm/handshake.h"
#include "base/err.h"

struct channel;
struct clock;

struct channel_opts {
	const struct clock *clock;
	const char *name;    /* for log lines; must outlive the channel */
	size_t payload_size; /* 1024..65536; 0: 1024 */
	size_t window_max;   /* unacknowledged payload bytes; 0: 2 MiB */
	enum handshake_use use;
	size_t ahead_max;      /* bytes kept ahead of their turn; 0: 32 MiB */
	unsigned gap_limit_ms; /* a gap that takes longer to repair is the end; 0: 60 s */
	size_t turn_max; /* bytes of new data sent by one channel_flush(), about; 0: no limit */
};

struct channel_handler {
	/* One binary websocket message, copied; false: no room, channel_flush() comes later. */
	bool (*send)(void *arg, const void *p, size_t n);
	/* The next bytes of the stream, at most max, to travel in message seq. The
	 * first call after complete() has max 8: an smux NOP, whose loss is harmless; a raw
	 * session has nothing like it, and nothing is asked for until 100 ms have passed. */
	size_t (*pull)(void *arg, uint8_t *to, size_t max, int64_t seq);
	int (*data)(void *arg, const uint8_t *p, size_t n, struct err *);
	void (*flag)(void *arg, unsigned flag);        /* enum payload_flag; in order with data */
	void (*complete)(void *arg);                   /* the handshake is over */
	void (*acked)(void *arg);                      /* channel_acked_until() has grown */
	void (*closed)(void *arg, const char *output); /* channel_closed; the channel is over */
	/* As send(), for one that may wait that long for others; NULL: send() is called. */
	bool (*send_soon)(void *arg, const void *p, size_t n, unsigned within_ms);
};

struct channel *channel_new(const struct channel_opts *, const struct channel_handler *, void *arg,
			    struct err *);
void channel_free(struct channel *); /* NULL allowed */

/* One binary websocket message. -1: the session must be given up, *e tells. */
MUST_CHECK int channel_input(struct channel *, const uint8_t *p, size_t n, struct err *);
/* Sends all that can be sent now: acknowledgements, what is overdue, new data.
 * Also delivers what was held back. -1 as above. */
MUST_CHECK int channel_flush(struct channel *, struct err *);
bool channel_has_more(const struct channel *); /* the last one has stopped at turn_max */
/* When channel_flush() is due for reasons of time (monotonic ms); UINT64_MAX: never. */
uint64_t channel_next(const struct channel *);

enum channel_health {
	CHANNEL_WELL = 0,
	CHANNEL_SILENT, /* another websocket should be tried */
	CHANNEL_LOST /* what is missing will not come, or too late: the session is to be given up */
};
/* To be asked after channel_flush(); *why tells when it is not well. */
enum channel_health channel_health(struct channel *, struct err *why);

void channel_hold(struct channel *, bool on); /* on: arriving data is kept, not delivered */
void channel_down(struct channel *);          /* the websocket is gone ... */
void channel_up(struct channel *); /* ... and there is another: numbers go on, unacked goes again */
void channel_terminate(struct channel *); /* asks the agent to end the session */

/* Acknowledgements leave more slowly than messages come: stop reading until it is false
 * again. There is room for three times as many more. */
bool channel_is_flooded(const struct channel *);
/* For 3 s the agent has taken nothing, or it is busy repairing a loss, 10 messages a second. */
bool channel_is_behind(const struct channel *);
bool channel_has_gap(const struct channel *);     /* later messages wait for an earlier one */
bool channel_is_complete(const struct channel *); /* the handshake was, once */
bool channel_is_drained(const struct channel *);  /* nothing is unacknowledged */
/* Of the agent: the flag TerminateSession ends the session. Others only acknowledge it. */
bool channel_hears_end(const struct channel *);
int64_t channel_acked_until(const struct channel *); /* all numbers below it are acknowledged */
bool channel_wants_nop(const struct channel *);      /* an old agent: a NOP every 10 s */
const char *channel_agent_version(const struct channel *); /* "" before the handshake */
/* What the agent asked for and we could not serve; NULL: nothing. It ends the session then. */
const struct err *channel_refused(const struct channel *);
size_t channel_window(const struct channel *); /* bytes that may be unacknowledged now */
unsigned channel_srtt_ms(const struct channel *);
uint64_t channel_resent(const struct channel *); /* messages */
#endif
