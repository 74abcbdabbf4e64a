#include "backend/ssm/state.h"

#include <assert.h>

#include "base/random.h"

enum { PAUSE_FIRST_MS = 2000, PAUSE_MAX_MS = 60000 };

#define TO(s)    (1u << FSM_##s)
#define OR_FAILS (TO(BACKOFF) | TO(CLOSED))

static const struct {
	const char *name;
	enum backend_state outer;
	unsigned next, limit_ms;
	const char *late;
} states[FSM_STATE_COUNT] = {
	[FSM_IDLE] = { "idle", BACKEND_IDLE, TO(CREDS) | TO(CLOSED), 0, "" },
	[FSM_CREDS] = { "credentials", BACKEND_INITIALIZING, TO(INSTANCE) | OR_FAILS, 60000,
			"no credentials within 60 s" },
	/* long, because a person may be asked which one */
	[FSM_INSTANCE] = { "instance", BACKEND_INITIALIZING,
			   TO(ONLINE) | TO(SESSION) | TO(STARTING) | OR_FAILS, 300000,
			   "the instance was not found within 5 min" },
	/* stopping takes minutes too, and comes before */
	[FSM_STARTING] = { "starting", BACKEND_INITIALIZING, TO(CONNECTING) | OR_FAILS, 900000,
			   "the instance was not running within 15 min" },
	[FSM_CONNECTING] = { "connecting", BACKEND_INITIALIZING,
			     TO(ACTIVE) | TO(SESSION) | TO(STARTING) | OR_FAILS, 4000000,
			     "the instance was not connected to SSM within 65 min" },
	[FSM_ONLINE] = { "online", BACKEND_INITIALIZING, TO(ACTIVE) | TO(CONNECTING) | OR_FAILS,
			 60000, "no answer to GetConnectionStatus within 60 s" },
	[FSM_SESSION] = { "session", BACKEND_INITIALIZING, TO(ACTIVE) | TO(STARTING) | OR_FAILS,
			  190000, "no session within 190 s" },
	[FSM_ACTIVE] = { "active", BACKEND_ACTIVE,
			 TO(TRANSITIONING) | TO(STARTING) | TO(IDLE) | OR_FAILS, 0, "" },
	[FSM_TRANSITIONING] = { "transitioning", BACKEND_TRANSITIONING,
				TO(ACTIVE) | TO(STARTING) | TO(IDLE) | OR_FAILS, 130000,
				"the sessions could not be renewed within 130 s" },
	[FSM_BACKOFF] = { "failed", BACKEND_FAILED, TO(CREDS) | TO(CLOSED), 0, "" },
	[FSM_CLOSED] = { "closed", BACKEND_FAILED, 0, 0, "" },
};

void fsm_init(struct fsm *f, const struct fsm_owner *owner, void *arg)
{
	*f = (struct fsm){ .owner = owner, .arg = arg };
}

const char *fsm_name(enum fsm_state s)
{
	return states[s].name;
}

enum backend_state fsm_outer(enum fsm_state s)
{
	return states[s].outer;
}

/* 1..2 s, 2..4 s ... 30..60 s: spread, so that many clients do not come together. */
static unsigned pause_of(unsigned failures)
{
	unsigned ms = PAUSE_FIRST_MS;

	while (--failures && ms < PAUSE_MAX_MS)
		ms *= 2;
	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	return ms / 2 + random_below(ms / 2 + 1);
}

/* The only writer of the state. */
static void go(struct fsm *f, enum fsm_state to, const struct err *why)
{
	enum fsm_state from = f->state;
	unsigned limit = states[to].limit_ms, attempt;

	assert(states[from].next & (1u << to));
	if (to == FSM_BACKOFF) {
		f->failures++;
		if (why)
			f->why = *why;
		f->pause_over = false;
		limit = pause_of(f->failures);
	} else if (to == FSM_ACTIVE) {
		f->failures = 0;
		f->was_active = true;
	}
	f->state = to;
	attempt = ++f->attempt;
	f->owner->timer(f->arg, limit);
	f->owner->trace(f->arg, from, to, why, to == FSM_BACKOFF ? limit : 0);
	if (f->owner->enter[to])
		f->owner->enter[to](f->arg, attempt);
}

void fsm_wake(struct fsm *f)
{
	if (f->state == FSM_IDLE || (f->state == FSM_BACKOFF && f->pause_over))
		go(f, FSM_CREDS, NULL);
}

void fsm_done(struct fsm *f, unsigned attempt, enum fsm_state next)
{
	if (attempt == f->attempt)
		go(f, next, NULL);
}

void fsm_failed(struct fsm *f, unsigned attempt, const struct err *why)
{
	if (attempt == f->attempt)
		go(f, FSM_BACKOFF, why);
}

void fsm_limit(struct fsm *f)
{
	struct err why;

	if (f->state == FSM_BACKOFF) {
		f->pause_over = true;
		return;
	}
	if (!(states[f->state].next & TO(BACKOFF)) || !states[f->state].limit_ms)
		return;
	(void)err_set(&why, ERR_TIMEOUT, "%s", states[f->state].late);
	go(f, FSM_BACKOFF, &why);
}

void fsm_cut_pause(struct fsm *f)
{
	f->pause_over = true;
}

void fsm_close(struct fsm *f)
{
	if (f->state != FSM_CLOSED)
		go(f, FSM_CLOSED, NULL);
}
