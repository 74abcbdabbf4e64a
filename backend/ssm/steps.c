/*
 * The steps of the SSM backend's state machine: what is begun when a state is
 * entered, and what its end leads to. Initialising is: credentials, then the
 * instance, then either the first session, for the destination of the first dial
 * that waits, or, if nobody waits (backend_wake(), backend_start()),
 * GetConnectionStatus. A caller who may not ask for that status is believed to be
 * connected: his first dial will tell.
 */
#include "backend/ssm/ssm_impl.h"

#include <string.h>

#include "backend/ssm/pool.h"
#include "backend/ssm/ssh_pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/provider.h"

void ssm_stop_step(struct ssm *s)
{
	if (s->asking)
		provider_cancel(s->asking);
	if (s->looking)
		ec2_cancel(s->looking);
	ssm_stop_relook(s);
	api_cancel(s->call);
	lifecycle_stop_step(s);
	s->asking = NULL;
	s->looking = NULL;
	s->call = NULL;
	mem_free(s->choices);
	s->choices = NULL;
}

void ssm_use_bucket(struct ssm *s, const struct creds *creds)
{
	struct start_bucket *shared = NULL;

	if (s->shared_starts)
		shared = start_buckets_of(s->shared_starts, creds, s->region);
	if (shared)
		s->env.starts = shared;
}

static void on_creds(void *arg, struct creds *creds, const struct err *why)
{
	struct ssm *s = arg;

	s->asking = NULL;
	if (creds) {
		ssm_use_bucket(s, creds);
		fsm_done(&s->fsm, s->step, FSM_INSTANCE);
	} else {
		fsm_failed(&s->fsm, s->step, why);
	}
}

/* What has a limit of its own is left to it: an instance that is being started, a session, a person
 * who is asked which instance. */
static void on_init_limit(void *arg)
{
	struct ssm *s = arg;
	enum fsm_state at = s->fsm.state;
	struct err e;

	if (at != FSM_CREDS && at != FSM_ONLINE && (at != FSM_INSTANCE || s->choices))
		return;
	(void)err_set(&e, ERR_TIMEOUT,
		      "the first initialisation is not done within %u s (--init-timeout), it is "
		      "at its step '%s'",
		      s->init_limit_ms / 1000, fsm_name(at));
	fsm_failed(&s->fsm, s->step, &e);
}

static void enter_creds(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	if (!s->init_ms) {
		s->init_ms = loop_now_ms(s->loop);
		timer_arm(s->loop, &s->init_limit, s->init_limit_ms, on_init_limit, s);
	}
	s->asking = provider_get(aws_provider(s->env.api.aws), on_creds, s, &e);
	if (!s->asking)
		fsm_failed(&s->fsm, attempt, &e);
}

static void enter_instance(void *arg, unsigned attempt)
{
	ssm_look(arg, attempt);
}

bool ssm_may_not_ask(const char *aws_code)
{
	return str_starts(aws_code, "AccessDenied") ||
	       strcmp(aws_code, "UnauthorizedOperation") == 0 ||
	       strcmp(aws_code, "UnknownOperationException") == 0;
}

static void on_status(void *arg, bool connected, const char *aws_code, const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->call = NULL;
	if (why && ssm_may_not_ask(aws_code)) {
		log_debug("ssm", "%s: GetConnectionStatus: %s", s->base.name, why->msg);
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
	} else if (why) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (connected) {
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
	} else if (!lifecycle_waits_for_agent(s)) {
		(void)err_set(
			&e, ERR_TARGET,
			"instance %s is not connected to SSM: is it running, has it the agent, a "
			"role and a way to AWS?",
			s->target);
		fsm_failed(&s->fsm, s->step, &e);
	}
}

static void enter_online(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	s->call = api_status(&s->env.api, s->target, 0, on_status, s, &e);
	if (!s->call)
		fsm_failed(&s->fsm, attempt, &e);
}

static void enter_session(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct ssm_dial *first;
	struct err e;

	s->step = attempt;
	/* its dial has gone meanwhile; or a session came up while this one failed */
	if (list_empty(&s->queue) || ssm_alive(s)) {
		fsm_done(&s->fsm, attempt, FSM_ACTIVE);
		return;
	}
	if (s->transport == SSM_SESSION) { /* each dial has its own */
		fsm_done(&s->fsm, attempt, FSM_ACTIVE);
		return;
	}
	first = CONTAINER_OF(s->queue.next, struct ssm_dial, node);
	if ((s->by_ssh ? ssh_pool_open(s->ssh, &e)
		       : pool_open(s->pool, first->host, first->port, &e)) != 0)
		fsm_failed(&s->fsm, attempt, &e);
}

void ssm_tell_started(struct ssm *s, const struct err *why)
{
	void (*started)(void *, const struct err *) = s->started;

	s->started = NULL;
	if (started)
		started(s->started_arg, why);
}

static void enter_active(void *arg, unsigned attempt)
{
	struct ssm *s = arg;

	s->step = attempt;
	s->life.progress[0] = '\0';
	ssm_hand_over(s);
	lifecycle_active(s);
	if (s->pool)
		pool_warm_up(s->pool);
	ssm_tell_started(s, NULL);
}

static void on_renewed(void *arg, bool connected, const char *aws_code, const struct err *why)
{
	struct ssm *s = arg;

	(void)aws_code;
	s->call = NULL;
	if (why)
		log_warn("ssm", "%s: with the new credentials: %s", s->base.name, why->msg);
	else if (!connected)
		log_warn("ssm", "%s: instance %s is not connected to SSM", s->base.name, s->target);
	if (!ssm_lost(s)) /* what is open lives on in any case */
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

static void enter_transitioning(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	if (ssm_lost(s))
		return; /* on_pool_changed() ends it */
	s->call = api_status(&s->env.api, s->target, 0, on_renewed, s, &e);
	if (!s->call)
		fsm_done(&s->fsm, attempt, FSM_ACTIVE);
}

static void enter_backoff(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err why = s->fsm.why;

	s->step = attempt;
	ssm_stop_step(s);
	(void)err_wrap(&why, "%s", s->base.name);
	ssm_fail_queue(s, &why);
	ssm_tell_started(s, &why);
}

static void on_limit(void *arg)
{
	struct ssm *s = arg;

	fsm_limit(&s->fsm);
	if (s->fsm.state == FSM_BACKOFF && !list_empty(&s->queue))
		fsm_wake(&s->fsm); /* someone has waited for the pause to end */
}

static void on_timer(void *arg, unsigned ms)
{
	struct ssm *s = arg;

	if (ms)
		timer_arm(s->loop, &s->limit, ms, on_limit, s);
	else
		timer_disarm(s->loop, &s->limit);
}

static void on_trace(void *arg, enum fsm_state from, enum fsm_state to, const struct err *why,
		     unsigned pause_ms)
{
	struct ssm *s = arg;

	s->next_try_ms = loop_now_ms(s->loop) + pause_ms;
	if (why)
		log_warn("ssm", "%s: %s -> %s: %s; next try in %u.%u s", s->base.name,
			 fsm_name(from), fsm_name(to), why->msg, pause_ms / 1000,
			 pause_ms % 1000 / 100);
	else
		log_info("ssm", "%s: %s -> %s", s->base.name, fsm_name(from), fsm_name(to));
}

const struct fsm_owner ssm_steps = {
	.enter = { [FSM_CREDS] = enter_creds,
		   [FSM_INSTANCE] = enter_instance,
		   [FSM_STARTING] = lifecycle_enter_starting,
		   [FSM_CONNECTING] = lifecycle_enter_connecting,
		   [FSM_ONLINE] = enter_online,
		   [FSM_SESSION] = enter_session,
		   [FSM_ACTIVE] = enter_active,
		   [FSM_TRANSITIONING] = enter_transitioning,
		   [FSM_BACKOFF] = enter_backoff },
	.timer = on_timer,
	.trace = on_trace,
};
