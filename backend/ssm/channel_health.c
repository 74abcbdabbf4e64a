/*
 * Is this channel still worth waiting for? Two things are looked at, both only
 * while the websocket is up and reading:
 *
 *  - Silence: an answer is due (something of ours is unacknowledged though it
 *    was repeated, or a gap is to be filled) and nothing at all has come since.
 *    Another websocket is tried then. Each time that is in vain the next one
 *    is tried after twice as long: a target that takes no data looks the same.
 *  - A gap: the agent repeats its oldest message ten times a second, and that
 *    one alone. So a message that has not come within GAP_STUCK_MS while others
 *    did will never come (the agent has not kept it), and N missing ones need
 *    N/10 s. What takes longer than the limit is given up: for so long the
 *    streams behind the gap get ten messages a second at best, and whoever
 *    waits for them gives up himself. Messages that are late only, or few, are
 *    never a reason.
 *  - The agent's absence: the service answers what we send by pause_publication, and by nothing
 *    else. An agent that lost its connection tries again for 6 s at most; so after AWAY_MS of
 *    that it will not come back: its instance is gone, or it was begun anew.
 */
#include "backend/ssm/channel_impl.h"

enum {
	LOOK_MS = 1000,
	SILENCE_MS = 20000,
	SILENCE_MAX_MS = 300000,
	GAP_LIMIT_MS = 60000,
	GAP_STUCK_MS = 15000,
	AWAY_MS = 60000,
	REPAIR_MS = 100 /* of one missing message */
};

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void channel_health_init(struct channel *c)
{
	c->o.gap_limit_ms = c->o.gap_limit_ms ? c->o.gap_limit_ms : GAP_LIMIT_MS;
	c->silence_ms = SILENCE_MS;
}

void channel_heard(struct channel *c)
{
	c->heard_ms = channel_now_ms(c);
	c->silence_ms = SILENCE_MS;
}

/* After every change of what is expected, and of what has come. */
void channel_mind_gap(struct channel *c)
{
	uint64_t now = channel_now_ms(c);

	if (c->highest <= c->expected || c->hold || c->down) {
		c->gap_ms = 0;
	} else if (!c->gap_ms) {
		c->gap_ms = c->gap_moved_ms = now;
	} else if (c->gap_at != c->expected) {
		c->gap_moved_ms = now;
	}
	c->gap_at = c->expected;
}

bool channel_has_gap(const struct channel *c)
{
	return c->gap_ms != 0;
}

uint64_t channel_health_next(const struct channel *c)
{
	bool waits = c->gap_ms || c->unacked.oldest < c->unacked.next;

	return waits && channel_is_complete(c) ? c->health_ms + LOOK_MS : UINT64_MAX;
}

static bool is_silent(struct channel *c, uint64_t now, struct err *why)
{
	const struct sent *oldest = unacked_at(&c->unacked, c->unacked.oldest);
	uint64_t since = later(c->heard_ms, c->up_ms);

	if (oldest && oldest->tries >= 2)
		since = later(since, oldest->first_ms);
	else if (c->gap_ms)
		since = later(since, c->gap_ms);
	else
		return false;
	if (now < since + c->silence_ms)
		return false;
	(void)err_set(why, ERR_TIMEOUT, "nothing was heard for %u s while an answer was due",
		      (unsigned)((now - since) / 1000));
	c->silence_ms = c->silence_ms * 2 < SILENCE_MAX_MS ? c->silence_ms * 2 : SILENCE_MAX_MS;
	c->silent_at = c->expected;
	return true;
}

/* Silence is no proof, unless another websocket has made no difference. */
static bool is_stuck(const struct channel *c, uint64_t now, unsigned limit)
{
	if (now < c->gap_moved_ms + limit)
		return false;
	return c->heard_ms >= c->gap_moved_ms + limit / 2 || c->silent_at == c->expected;
}

static bool is_hopeless(const struct channel *c, uint64_t now, struct err *why)
{
	uint64_t missing = (uint64_t)(c->highest - c->expected) - c->ahead.count;
	unsigned limit = c->o.gap_limit_ms < GAP_STUCK_MS ? c->o.gap_limit_ms : GAP_STUCK_MS;

	if (!c->gap_ms)
		return false;
	if (is_stuck(c, now, limit)) {
		(void)err_set(why, ERR_CLOSED,
			      "the session is lost: a message that is missing was not repeated "
			      "for %u s",
			      (unsigned)((now - c->gap_moved_ms) / 1000));
		return true;
	}
	if (now < c->gap_ms + CHANNEL_BEHIND_MS || missing * REPAIR_MS <= c->o.gap_limit_ms)
		return false;
	(void)err_set(
		why, ERR_CLOSED,
		"the session is lost: %llu messages are missing, which takes the agent %llu s "
		"to repair (gap-limit is %u s)",
		(unsigned long long)missing, (unsigned long long)missing * REPAIR_MS / 1000,
		c->o.gap_limit_ms / 1000);
	return true;
}

static bool is_away(const struct channel *c, struct err *why)
{
	if (!c->away_ms || c->pause_ms < c->away_ms + AWAY_MS)
		return false;
	(void)err_set(why, ERR_CLOSED,
		      "the session is lost: its agent has been away for %u s, as the service says",
		      (unsigned)((c->pause_ms - c->away_ms) / 1000));
	return true;
}

enum channel_health channel_health(struct channel *c, struct err *why)
{
	uint64_t now = channel_now_ms(c);

	c->health_ms = now;
	if (c->hold || c->flooded)
		c->heard_ms = now; /* nothing is read */
	if (c->down || c->phase == OVER || !channel_is_complete(c))
		return CHANNEL_WELL;
	if (is_hopeless(c, now, why) || is_away(c, why))
		return CHANNEL_LOST;
	return is_silent(c, now, why) ? CHANNEL_SILENT : CHANNEL_WELL;
}
