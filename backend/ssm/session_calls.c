/*
 * A session's calls to AWS: StartSession in its turn, ResumeSession after a
 * pause that grows, for as long as the session may still be there, and
 * TerminateSession.
 */
#include "backend/ssm/session_impl.h"

#include <string.h>

#include "backend/ssm/channel.h"
#include "backend/ssm/start_bucket.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "credentials/aws_error.h"

enum {
	RESUME_LIMIT_MS = 3600000, /* AWS ends what was idle for that long at the latest */
	REFUSED_LIMIT_MS = 120000, /* when AWS says no: perhaps somebody is mending a policy */
	NEVER_UP_LIMIT_MS = 30000, /* no stream is on it yet, and dials wait for it */
	RESUME_FIRST_MS = 50,
	RESUME_MAX_MS = 10000,
	SETTLED_MS = 10000,     /* a refused token shows sooner */
	NOT_YET_FIRST_MS = 1000 /* doubles three times; half of it is random */
};

static uint64_t now_ms(const struct session *s)
{
	return loop_now_ms(s->env->loop);
}

static int keep(struct session *s, const struct api_session *reply, struct err *e)
{
	if (reply->url[0])
		str_fmt(s->url, sizeof(s->url), "%s", reply->url);
	return secret_set(&s->token, reply->token, e);
}

bool session_held(const struct session_env *env, struct err *why)
{
	if (!env->held || env->held->code == ERR_NONE)
		return false;
	*why = *env->held;
	return true;
}

static void hold(const struct session *s, const struct err *why)
{
	if (s->env->held)
		*s->env->held = why ? *why : (struct err){ 0 };
}

/* AWS has had enough of StartSession for now: all sessions wait, this one within its limit. */
static bool throttled(struct session *s, const char *aws_code, const struct err *why)
{
	if (aws_error_verdict(400, aws_code) != AWS_THROTTLED || !s->env->starts || s->end_wanted)
		return false;
	log_warn("ssm", "%s: asked for too often, will be again: %s", s->label, why->msg);
	start_bucket_throttled(s->env->starts, now_ms(s));
	hold(s, why);
	return true;
}

static void on_turn(void *arg)
{
	session_enter_starting(arg);
}

/* An instance that has just started, or restarted, is not connected for its first seconds, though
 * all else says that it is there: it is asked for again, within the limit of the start. */
static bool not_connected_yet(struct session *s, const char *aws_code, const struct err *why)
{
	unsigned doublings = s->asks < 3 ? (unsigned)s->asks : 3;
	unsigned pause = (unsigned)NOT_YET_FIRST_MS << doublings;

	if (strcmp(aws_code, "TargetNotConnected") != 0 || s->end_wanted)
		return false;
	if (s->asks++ == 0)
		log_warn("ssm", "%s: not connected yet, will be asked for again: %s", s->label,
			 why->msg);
	hold(s, why);
	if (s->env->not_connected)
		s->env->not_connected(s->env->not_connected_arg);
	timer_arm(s->env->loop, &s->turn, pause / 2 + random_below(pause / 2 + 1), on_turn, s);
	return true;
}

/* The documents do not take every host: a name of two characters, for one. */
static bool host_refused(const struct session *s, const char *aws_code, const struct err *why,
			 struct err *e)
{
	if (s->document != API_REMOTE_HOST || strcmp(aws_code, "InvalidParameters") != 0)
		return false;
	(void)err_set(e, ERR_DENIED, "AWS does not forward to '%.60s': %.200s", s->host, why->msg);
	return true;
}

static void on_started(void *arg, const struct api_session *reply, const char *aws_code,
		       const struct err *why)
{
	struct session *s = arg;
	struct err e;

	s->call = NULL;
	if (!reply) {
		str_fmt(s->aws_code, sizeof(s->aws_code), "%s", aws_code);
		if (throttled(s, aws_code, why))
			session_enter_starting(s);
		else if (host_refused(s, aws_code, why, &e))
			session_fail(s, &e);
		else if (!not_connected_yet(s, aws_code, why))
			session_fail(s, why);
		return;
	}
	hold(s, NULL);
	if (s->env->starts)
		start_bucket_served(s->env->starts);
	str_fmt(s->id, sizeof(s->id), "%s", reply->id);
	str_fmt(s->label, sizeof(s->label), "%s (%s:%u)", s->id, s->host, s->port);
	if (s->end_wanted) {
		session_go(s, SESSION_TERMINATING);
	} else if (why) {
		session_fail(s, why);
	} else if (keep(s, reply, &e) != 0) {
		session_fail(s, &e);
	} else {
		session_go(s, SESSION_CONNECTING);
	}
}

void session_enter_starting(struct session *s)
{
	uint64_t now = now_ms(s), at = s->env->starts ? start_bucket_take(s->env->starts, now) : 0;
	struct err e;

	if (at) {
		log_debug("ssm", "%s: waits its turn to be started", s->label);
		timer_arm(s->env->loop, &s->turn, at > now ? at - now : 1, on_turn, s);
		return;
	}

	s->call = api_start(&s->env->api, s->env->target, s->document, s->host, s->port, 0,
			    on_started, s, &e);
	if (!s->call)
		session_fail(s, &e);
}

static bool is_gone(const char *aws_code)
{
	return strcmp(aws_code, "DoesNotExistException") == 0;
}

/* An answer that will stand: AccessDenied and the like. */
static bool is_refusal(const char *aws_code)
{
	return aws_code[0] && aws_error_verdict(400, aws_code) == AWS_FATAL;
}

static void on_resumed(void *arg, const struct api_session *reply, const char *aws_code,
		       const struct err *why)
{
	struct session *s = arg;
	struct err e;

	s->call = NULL;
	s->resume_refused = is_refusal(aws_code);
	if (why && !is_gone(aws_code)) {
		session_lost_link(s, why);
	} else if (!reply || !reply->token[0]) {
		s->closed = true; /* nothing is left to terminate */
		(void)err_set(&e, ERR_CLOSED, "the session is gone: %.160s", s->last.msg);
		session_fail(s, &e);
	} else if (keep(s, reply, &e) != 0) {
		session_fail(s, &e);
	} else {
		session_go(s, SESSION_RECONNECTING);
	}
}

void session_enter_resuming(struct session *s)
{
	struct err e;

	s->call = api_resume(&s->env->api, s->id, 0, on_resumed, s, &e);
	if (!s->call)
		session_lost_link(s, &e);
}

static void on_pause_over(void *arg)
{
	struct session *s = arg;

	session_go(s, SESSION_RESUMING);
}

void session_enter_lost(struct session *s)
{
	uint64_t base = RESUME_FIRST_MS;
	unsigned pause;

	for (unsigned i = 0; i < s->tries && base < RESUME_MAX_MS; i++)
		base *= 2;
	if (base > RESUME_MAX_MS)
		base = RESUME_MAX_MS;
	s->tries++;
	pause = (unsigned)(base / 2) + random_below((uint32_t)base / 2 + 1);
	timer_arm(s->env->loop, &s->limit, pause, on_pause_over, s);
}

static unsigned resume_limit(const struct session *s)
{
	if (!s->was_active)
		return NEVER_UP_LIMIT_MS;
	return s->resume_refused ? REFUSED_LIMIT_MS : RESUME_LIMIT_MS;
}

/* The websocket is gone, the session perhaps not. */
void session_lost_link(struct session *s, const struct err *why)
{
	struct err e;

	if (s->state >= SESSION_ENDING)
		return;
	if (s->state == SESSION_ACTIVE && now_ms(s) >= s->active_ms + SETTLED_MS) {
		s->lost_ms = 0; /* the last resume went well, though nobody has spoken since */
		s->tries = 0;
	}
	session_close_link(s);
	session_stop_waiting(s);
	channel_down(s->channel);
	if (!s->lost_ms) {
		s->lost_ms = now_ms(s) ? now_ms(s) : 1;
		log_info("ssm", "%s: data channel lost: %s", s->label, why->msg);
	}
	s->last = *why;
	if (now_ms(s) - s->lost_ms >= resume_limit(s)) {
		e = *why;
		(void)err_wrap(&e, "the data channel was lost and could not be resumed");
		e.code = ERR_CLOSED;
		session_fail(s, &e);
		return;
	}
	session_go(s, SESSION_LOST);
	s->handler->changed(s->arg);
}

static void on_terminated(void *arg, const struct err *why)
{
	struct session *s = arg;

	s->call = NULL;
	if (why)
		log_debug("ssm", "%s: TerminateSession: %s", s->label, why->msg);
	session_go(s, SESSION_DEAD);
}

void session_enter_terminating(struct session *s)
{
	struct err e;

	session_close_link(s);
	if (!s->id[0] || s->closed) {
		session_go(s, SESSION_DEAD);
		return;
	}
	s->call = api_terminate(&s->env->api, s->id, 2000, on_terminated, s, &e);
	if (!s->call)
		session_go(s, SESSION_DEAD);
}
