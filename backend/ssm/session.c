#include "backend/ssm/session_impl.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/ssm/channel.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "stream/stream.h"

/*
 * Everything below reports by flags and session_kick(); work(), a post, does what is to
 * be done and is the only place that frees the session. A connection is a
 * `struct link` of its own, so that the late closed() of an abandoned websocket
 * finds nobody home.
 */
enum { NOP_MS = 10000, MOVING_MS = 1000 };

#define TO(s) (1u << SESSION_##s)
static const struct {
	const char *name;
	unsigned next, limit_ms;
	const char *late; /* what is said when the limit passes */
} states[SESSION_STATE_COUNT] = {
	[SESSION_STARTING] = { "starting", TO(CONNECTING) | TO(TERMINATING) | TO(DEAD), 60000,
			       "StartSession took too long" },
	[SESSION_CONNECTING] = { "connecting", TO(HANDSHAKE) | TO(TERMINATING) | TO(DEAD), 35000,
				 "the data channel could not be opened in time" },
	[SESSION_HANDSHAKE] = { "handshake", TO(ACTIVE) | TO(LOST) | TO(TERMINATING) | TO(DEAD),
				30000, "the agent did not finish the handshake in time" },
	[SESSION_ACTIVE] = { "active", TO(LOST) | TO(ENDING) | TO(TERMINATING) | TO(DEAD), 0,
			     NULL },
	[SESSION_LOST] = { "lost", TO(RESUMING) | TO(LOST) | TO(TERMINATING) | TO(DEAD), 0, NULL },
	[SESSION_RESUMING] = { "resuming", TO(RECONNECTING) | TO(LOST) | TO(TERMINATING) | TO(DEAD),
			       30000, "ResumeSession took too long" },
	[SESSION_RECONNECTING] = { "reconnecting",
				   TO(HANDSHAKE) | TO(ACTIVE) | TO(LOST) | TO(TERMINATING) |
					   TO(DEAD),
				   35000, "the data channel could not be reopened in time" },
	[SESSION_ENDING] = { "ending", TO(TERMINATING) | TO(DEAD), 1500, NULL },
	[SESSION_TERMINATING] = { "terminating", TO(DEAD), 2000, NULL },
	[SESSION_DEAD] = { "dead", 0, 0, NULL },
};

/* --- small words --- */

static uint64_t now_ms(const struct session *s)
{
	return loop_now_ms(s->env->loop);
}

void session_output_error(const char *output, struct err *e)
{
	if (!output[0])
		(void)err_set(e, ERR_CLOSED, "the session was ended by the service");
	else if (strstr(output, "no such host") || strstr(output, "lookup "))
		(void)err_set(e, ERR_RESOLVE, "the agent cannot resolve the name: %.200s", output);
	else if (strstr(output, "is forbidden"))
		(void)err_set(e, ERR_DENIED, "the agent refuses: %.200s", output);
	else if (strstr(output, "is not supported by this version"))
		(void)err_set(e, ERR_UNSUPPORTED, "the agent is too old: %.200s", output);
	else
		(void)err_set(e, ERR_CLOSED, "the session ended: %.200s", output);
}

static void tell_ended(struct session *s, const struct err *why)
{
	if (s->told_ended)
		return;
	s->told_ended = true;
	s->handler->ended(s->arg, why);
}

/* --- steps --- */

static void enter_ending(struct session *s)
{
	channel_terminate(s->channel);
	session_kick(s);
}

static void enter_active(struct session *s)
{
	s->active_ms = now_ms(s);
	if (!s->was_active && channel_wants_nop(s->channel) && s->document != API_SSH)
		log_info("ssm", "%s: agent %s is old: sending keep-alives", s->label,
			 channel_agent_version(s->channel));
	session_kick(s);
}

static void enter_dead(struct session *s)
{
	session_close_link(s);
	session_stop_waiting(s);
	timer_disarm(s->env->loop, &s->nop);
	if (s->raw)
		stream_close(s->raw);
	s->raw = NULL;
	secret_free(&s->token);
	session_kick(s);
}

static void on_limit(void *arg)
{
	struct session *s = arg;
	uint64_t patient_ms = s->env->patient_until_ms;
	struct err e;

	if (s->state == SESSION_STARTING && now_ms(s) < patient_ms && session_held(s->env, &e)) {
		timer_arm(s->env->loop, &s->limit, patient_ms - now_ms(s), on_limit, s);
		return;
	}
	(void)err_set(&e, ERR_TIMEOUT, "%s", states[s->state].late ? states[s->state].late : "");
	if (s->state == SESSION_STARTING)
		(void)session_held(s->env, &e); /* then that is the cause */
	if (s->state == SESSION_ENDING)
		session_go(s, SESSION_TERMINATING);
	else if (s->state == SESSION_TERMINATING)
		session_go(s, SESSION_DEAD);
	else if (s->state == SESSION_RESUMING || s->state == SESSION_RECONNECTING)
		session_lost_link(s, &e);
	else
		session_fail(s, &e);
}

/* The only writer of s->state. */
void session_go(struct session *s, enum session_state to)
{
	static void (*const enter[SESSION_STATE_COUNT])(struct session *) = {
		[SESSION_STARTING] = session_enter_starting,
		[SESSION_CONNECTING] = session_connect,
		[SESSION_ACTIVE] = enter_active,
		[SESSION_LOST] = session_enter_lost,
		[SESSION_RESUMING] = session_enter_resuming,
		[SESSION_RECONNECTING] = session_connect,
		[SESSION_ENDING] = enter_ending,
		[SESSION_TERMINATING] = session_enter_terminating,
		[SESSION_DEAD] = enter_dead,
	};

	assert(states[s->state].next & (1u << to));
	log_debug("ssm", "%s: %s -> %s", s->label, states[s->state].name, states[to].name);
	s->state = to;
	timer_disarm(s->env->loop, &s->limit);
	session_stop_waiting(s);
	if (states[to].limit_ms)
		timer_arm(s->env->loop, &s->limit, states[to].limit_ms, on_limit, s);
	if (enter[to])
		enter[to](s);
}

/* It can carry nothing any more: everyone is told, AWS too where it does not know. */
void session_fail(struct session *s, const struct err *why)
{
	const struct err *refused = channel_refused(s->channel);
	struct err e = refused && !s->was_active ? *refused : *why;

	if (s->state >= SESSION_TERMINATING)
		return;
	if (!s->told_ended)
		log_info("ssm", "%s: ended while %s: %s", s->label, states[s->state].name, e.msg);
	smux_break(s->mux, &e);
	session_go(s, SESSION_TERMINATING);
	tell_ended(s, &e);
	session_kick(s);
}

/* --- work --- */

static void on_tick(void *arg)
{
	struct session *s = arg;

	smux_tick(s->mux);
	session_kick(s);
}

static void on_nop(void *arg);

/* To an old agent always; otherwise so that AWS does not take a session for idle (20 min, and an
 * account may say 1) whose streams are only quiet: they are open because somebody uses them. */
static void arm_nop(struct session *s)
{
	unsigned ms = channel_wants_nop(s->channel) ? NOP_MS : s->env->keep_alive_ms;

	if (ms && s->document != API_SSH)
		timer_arm(s->env->loop, &s->nop, ms, on_nop, s);
}

static void on_nop(void *arg)
{
	struct session *s = arg;

	if (channel_wants_nop(s->channel) || smux_streams(s->mux))
		smux_nop(s->mux);
	arm_nop(s);
}

static void arm_tick(struct session *s)
{
	uint64_t at = smux_next(s->mux), now = now_ms(s);

	if (s->state < SESSION_TERMINATING && channel_next(s->channel) < at)
		at = channel_next(s->channel);
	if (session_health_next(s) < at)
		at = session_health_next(s);
	timer_disarm(s->env->loop, &s->tick);
	if (at != UINT64_MAX)
		timer_arm(s->env->loop, &s->tick, at > now ? at - now : 1, on_tick, s);
}

static void became_active(struct session *s)
{
	session_go(s, SESSION_ACTIVE);
	s->was_active = true;
	arm_nop(s);
	s->handler->active(s->arg);
}

static void run_channel(struct session *s)
{
	struct err e;

	if (s->state >= SESSION_TERMINATING)
		return;
	if (channel_flush(s->channel, &e) != 0) {
		session_fail(s, &e);
		return;
	}
	if (s->state == SESSION_HANDSHAKE && channel_is_complete(s->channel))
		became_active(s);
	session_mind_health(s);
	if (s->closed && s->state == SESSION_ENDING) {
		session_go(s, SESSION_DEAD);
	} else if (s->closed && s->state < SESSION_TERMINATING) {
		session_output_error(s->output, &e);
		if (!s->output[0] && !channel_has_gap(s->channel))
			smux_raw_end(s->mux); /* that is how it tells of sshd's close */
		session_fail(s, &e);
	} else if (s->state == SESSION_ENDING && channel_is_drained(s->channel)) {
		s->closed = channel_hears_end(s->channel); /* or else AWS has to tell it */
		session_go(s, s->closed ? SESSION_DEAD : SESSION_TERMINATING);
	}
}

static void release(struct session *s)
{
	const struct session_handler *handler = s->handler;
	void *arg = s->arg;

	timer_disarm(s->env->loop, &s->limit);
	timer_disarm(s->env->loop, &s->tick);
	timer_disarm(s->env->loop, &s->nop);
	loop_unpost(&s->post);
	session_stop_waiting(s);
	session_close_link(s);
	channel_free(s->channel);
	smux_free(s->mux);
	secret_free(&s->token);
	mem_free(s);
	if (handler)
		handler->freed(arg);
}

static void work(void *arg)
{
	struct session *s = arg;
	size_t before = smux_streams(s->mux);

	run_channel(s);
	smux_run(s->mux);
	session_mind_flood(s);
	if (s->state == SESSION_DEAD) {
		tell_ended(s, NULL);
		if (smux_streams(s->mux) == 0) {
			release(s);
			return;
		}
	}
	if (smux_streams(s->mux) != before || smux_streams(s->mux) == 0 ||
	    session_usable(s) != s->told_usable || session_away(s) != s->told_away) {
		s->told_usable = session_usable(s);
		s->told_away = session_away(s);
		s->handler->changed(s->arg);
	}
	arm_tick(s);
	if (s->state < SESSION_TERMINATING && channel_has_more(s->channel))
		loop_post_more(s->env->loop, &s->post, work, s); /* others have their turn first */
}

void session_kick(struct session *s)
{
	loop_post(s->env->loop, &s->post, work, s);
}

static void begin(void *arg)
{
	struct session *s = arg;

	if (s->state == SESSION_STARTING && !s->end_wanted)
		session_enter_starting(s);
	else
		work(s); /* ended before it began */
}

/* --- the pool's words --- */

struct session *session_new(const struct session_env *env, const struct session_goal *goal,
			    const struct session_handler *handler, void *arg, struct err *e)
{
	struct session *s = mem_alloc(sizeof(*s));

	if (!s) {
		(void)err_set(e, ERR_NOMEM, "session");
		return NULL;
	}
	s->env = env;
	s->port = goal->port;
	s->document = goal->document;
	str_fmt(s->host, sizeof(s->host), "%s", goal->host);
	str_fmt(s->label, sizeof(s->label), "session to %s:%u", goal->host, goal->port);
	if (session_make_parts(s, e) != 0) {
		release(s); /* no handler yet: silent */
		return NULL;
	}
	s->handler = handler;
	s->arg = arg;
	timer_arm(env->loop, &s->limit, states[SESSION_STARTING].limit_ms, on_limit, s);
	loop_unpost(&s->post); /* making the parts has asked for work() */
	loop_post(env->loop, &s->post, begin, s);
	return s;
}

void session_end(struct session *s)
{
	struct err e;

	if (s->end_wanted || s->state >= SESSION_TERMINATING)
		return;
	s->end_wanted = true;
	(void)err_set(&e, ERR_CLOSED, "the session is being ended");
	smux_break(s->mux, &e);
	if (s->state == SESSION_STARTING && s->call)
		return; /* its id is about to come, and then AWS is told */
	if (s->state == SESSION_ACTIVE)
		session_go(s, SESSION_ENDING);
	else
		session_go(s, SESSION_TERMINATING);
}

void session_drop(struct session *s)
{
	struct err e;

	s->end_wanted = true;
	(void)err_set(&e, ERR_CLOSED, "the session is being ended");
	smux_break(s->mux, &e);
	smux_abandon(s->mux, &e);
	if (s->state != SESSION_DEAD)
		session_go(s, SESSION_DEAD);
}

struct stream *session_stream(struct session *s, struct err *e)
{
	if (s->state >= SESSION_ENDING || s->end_wanted || !s->was_active) {
		(void)err_set(e, ERR_CLOSED, "the session takes no streams");
		return NULL;
	}
	if (s->raw) {
		struct stream *raw = s->raw;

		s->raw = NULL;
		return raw;
	}
	return smux_open(s->mux, e);
}

bool session_syn_acked(const struct session *s, const struct stream *stream)
{
	int64_t seq = smux_syn_seq(stream);

	return seq >= 0 && channel_acked_until(s->channel) > seq;
}

bool session_active(const struct session *s)
{
	return s->was_active && s->state < SESSION_ENDING && !s->end_wanted;
}

bool session_usable(const struct session *s)
{
	return session_active(s) && s->state == SESSION_ACTIVE && !smux_holding(s->mux);
}

bool session_slow(const struct session *s)
{
	return channel_is_behind(s->channel) || session_suspect(s);
}

bool session_lost(const struct session *s)
{
	return s->state == SESSION_LOST || s->state == SESSION_RESUMING ||
	       s->state == SESSION_RECONNECTING;
}

size_t session_streams(const struct session *s)
{
	return smux_streams(s->mux);
}

size_t session_moving(const struct session *s)
{
	return smux_moving(s->mux, MOVING_MS);
}

uint64_t session_moved(const struct session *s)
{
	uint64_t up, down;

	smux_counts(s->mux, &up, &down);
	return up + down;
}

unsigned session_srtt_ms(const struct session *s)
{
	return channel_srtt_ms(s->channel);
}

const char *session_aws_code(const struct session *s)
{
	return s->aws_code;
}

bool session_document_refused(const struct session *s)
{
	return str_starts(s->aws_code, "AccessDenied") ||
	       strcmp(s->aws_code, "InvalidDocument") == 0;
}

const char *session_id(const struct session *s)
{
	return s->id;
}

void session_describe(const struct session *s, struct cJSON *into)
{
	uint64_t up, down;

	smux_counts(s->mux, &up, &down);
	cJSON_AddStringToObject(into, "id", s->id);
	cJSON_AddStringToObject(into, "host", s->host);
	cJSON_AddNumberToObject(into, "port", s->port);
	cJSON_AddStringToObject(into, "state", states[s->state].name);
	cJSON_AddStringToObject(into, "agent", channel_agent_version(s->channel));
	cJSON_AddNumberToObject(into, "streams", (double)smux_streams(s->mux));
	cJSON_AddNumberToObject(into, "up", (double)up);
	cJSON_AddNumberToObject(into, "down", (double)down);
	cJSON_AddNumberToObject(into, "rtt_ms", channel_srtt_ms(s->channel));
	cJSON_AddNumberToObject(into, "resent", (double)channel_resent(s->channel));
}
