/*
 * What a session watches itself for:
 *
 *  - acknowledgements that cannot leave: reading pauses, and after FLOOD_MS
 *    without success the websocket is renewed;
 *  - a websocket that does not come back: session_away();
 *  - silence and gaps, as its channel sees them (channel_health.c);
 *  - life without a pulse. The agent's multiplexer can die and leave the
 *    session behind: everything is acknowledged, nothing is carried. A stream
 *    may be quiet for good reasons, so a question is asked: a stream that is
 *    opened and closed at once. A living multiplexer connects, closes, and
 *    answers with the end of that stream, or says that it could not connect.
 *    It costs the destination an empty connection, so it is only asked when a
 *    stream has waited for QUIET_MS and no frame has come at all; a session
 *    that was found alive is asked again ever more rarely, unless a new stream
 *    is waiting too. While the answer is due, new streams go elsewhere.
 *
 * No answer counts only when the agent has certainly read the question: when
 * all is acknowledged, or UP_CERTAIN bytes more are. Its multiplexer stops
 * reading at 4 MiB which destinations do not take, so after uploads of that
 * size it gets more time.
 */
#include "backend/ssm/session_impl.h"

#include "backend/ssm/channel.h"
#include "base/log.h"
#include "net/ws.h"

enum {
	FLOOD_MS = 30000, /* acknowledgements that cannot leave: a new websocket is tried */
	QUIET_MS = 10000,
	ANSWER_MS = 30000, /* a new stream would have been given up too, by connect-timeout */
	ANSWER_FULL_MS = 120000,
	SUSPECT_MS = 3000,
	AWAY_MS = 2000, /* a resume takes a fraction of that */
	AGAIN_MS = 30000,
	AGAIN_MAX_MS = 900000,
	LOOK_MS = 1000,
	UP_FULL = 3 << 20,
	UP_CERTAIN = 8 << 20
};

static uint64_t now_ms(const struct session *s)
{
	return loop_now_ms(s->env->loop);
}

static uint64_t sent_up(const struct session *s)
{
	uint64_t up, down;

	smux_counts(s->mux, &up, &down);
	return up;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* When the question is to be asked, if nothing comes before. */
static uint64_t ask_at(const struct session *s)
{
	uint64_t at = later(smux_asked_ms(s->mux), s->active_ms) + QUIET_MS;

	if (smux_opened(s->mux) != s->pulse.opened)
		return at;
	return later(at, s->pulse.again_ms);
}

static void ask(struct session *s)
{
	struct err e;

	if (smux_probe(s->mux, &e) != 0) {
		log_debug("ssm", "%s: %s", s->label, e.msg);
		s->pulse.again_ms = now_ms(s) + AGAIN_MS;
		return;
	}
	log_info("ssm", "%s: quiet for %u s, asking whether it lives", s->label,
		 (unsigned)((now_ms(s) - smux_asked_ms(s->mux)) / 1000));
	s->pulse.asked_ms = s->pulse.settled_ms = now_ms(s);
	s->pulse.up = sent_up(s);
	s->pulse.full = s->pulse.up - s->pulse.heard_up >= UP_FULL;
	session_kick(s);
}

static void heard(struct session *s)
{
	s->pulse.heard_up = sent_up(s);
	if (!s->pulse.asked_ms)
		return;
	s->pulse.asked_ms = 0;
	s->pulse.pause_ms = s->pulse.pause_ms ? 2 * s->pulse.pause_ms : AGAIN_MS;
	if (s->pulse.pause_ms > AGAIN_MAX_MS)
		s->pulse.pause_ms = AGAIN_MAX_MS;
	s->pulse.again_ms = now_ms(s) + s->pulse.pause_ms;
	s->pulse.opened = smux_opened(s->mux);
}

/* Has the agent had the question for so long, and nothing before it to do? */
static bool unanswered(struct session *s)
{
	uint64_t now = now_ms(s);
	int64_t seq = smux_probe_seq(s->mux);
	bool read = seq >= 0 && channel_acked_until(s->channel) > seq;

	if (read && sent_up(s) - s->pulse.up >= UP_CERTAIN)
		return now >= s->pulse.asked_ms + ANSWER_MS;
	if (!read || !channel_is_drained(s->channel) || channel_has_gap(s->channel))
		s->pulse.settled_ms = now;
	return now >= s->pulse.settled_ms + (s->pulse.full ? ANSWER_FULL_MS : ANSWER_MS);
}

static void mind_pulse(struct session *s)
{
	uint64_t asked = smux_asked_ms(s->mux);
	struct err e;

	if (s->document == API_SSH)
		return;
	if (!asked || (s->pulse.asked_ms && asked > s->pulse.asked_ms)) {
		heard(s);
	} else if (smux_holding(s->mux) || channel_is_flooded(s->channel)) {
		s->pulse.settled_ms = now_ms(s); /* answers are not read */
	} else if (!s->pulse.asked_ms && now_ms(s) >= ask_at(s)) {
		ask(s);
	} else if (s->pulse.asked_ms && unanswered(s)) {
		(void)err_set(&e, ERR_CLOSED,
			      "the session acknowledges but carries nothing: the agent's part "
			      "of it has died");
		session_fail(s, &e);
	}
}

void session_mind_health(struct session *s)
{
	struct err e;

	if (s->state != SESSION_ACTIVE || s->closed) {
		s->pulse.settled_ms = now_ms(s);
		return;
	}
	switch (channel_health(s->channel, &e)) {
	case CHANNEL_WELL: mind_pulse(s); return;
	case CHANNEL_SILENT: session_lost_link(s, &e); return;
	case CHANNEL_LOST: session_fail(s, &e); return;
	}
}

bool session_suspect(const struct session *s)
{
	return s->pulse.asked_ms && now_ms(s) >= s->pulse.asked_ms + SUSPECT_MS;
}

bool session_away(const struct session *s)
{
	return session_lost(s) && (s->tries > 1 || now_ms(s) >= s->lost_ms + AWAY_MS);
}

uint64_t session_health_next(const struct session *s)
{
	uint64_t at = UINT64_MAX;

	if (session_lost(s) && !session_away(s))
		return s->lost_ms + AWAY_MS;
	if (s->flooded_ms)
		at = s->flooded_ms + FLOOD_MS;
	if (s->state != SESSION_ACTIVE || s->document == API_SSH || !smux_asked_ms(s->mux))
		return at;
	if (s->pulse.asked_ms || smux_holding(s->mux))
		return now_ms(s) + LOOK_MS < at ? now_ms(s) + LOOK_MS : at;
	return ask_at(s) < at ? ask_at(s) : at;
}

/* Reading pauses for a slow reader, and when acknowledgements pile up. */
void session_mind_reading(struct session *s)
{
	if (s->link && s->link->open)
		ws_pause(s->link->ws, smux_holding(s->mux) || channel_is_flooded(s->channel));
}

/* While reading pauses, no pong can tell whether the peer is alive. */
void session_mind_flood(struct session *s)
{
	struct err e;

	session_mind_reading(s);
	if (!channel_is_flooded(s->channel) || s->state != SESSION_ACTIVE) {
		s->flooded_ms = 0;
	} else if (!s->flooded_ms) {
		s->flooded_ms = now_ms(s);
		log_info("ssm", "%s: reading pauses until acknowledgements have left", s->label);
	} else if (now_ms(s) >= s->flooded_ms + FLOOD_MS) {
		(void)err_set(&e, ERR_TIMEOUT, "the service takes no data");
		s->flooded_ms = 0;
		session_lost_link(s, &e);
	}
}
