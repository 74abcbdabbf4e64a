/*
 * The SSM backend: its making, its public contract, and what the pool reports.
 *
 *     dial -> queue (dials.c: while idle, initialising, or in a short pause)
 *          -> pool (while active or transitioning) -> stream
 *     state.c: which state follows which; steps.c: what is done in each
 *
 * The machine runs from the loop alone (posts, timers, replies); the public
 * calls only queue and post, so that no callback comes from inside them.
 */
#include "backend/ssm/ssm_impl.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "backend/ssm/pool.h"
#include "backend/ssm/ssh_pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

enum {
	INIT_MS = 60000,
	SESSIONS = 4,
	SESSIONS_TOTAL = 16,
	SESSION_IDLE_MS = 300000,
	DIAL_MS = 30000,
	DIALS_MAX = 1024,
	CLOSE_MS = 2800
};

static struct ssm *of(struct backend *b)
{
	return CONTAINER_OF(b, struct ssm, base);
}

static const struct ssm *of_const(const struct backend *b)
{
	return CONTAINER_OF(b, const struct ssm, base);
}

/* --- the pool's reports --- */

static void on_session_up(void *arg)
{
	struct ssm *s = arg;

	ssm_tell_transport(s);
	s->life.progress[0] = '\0';
	if (s->fsm.state == FSM_SESSION)
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

static void on_session_failed(void *arg, const struct err *why, const char *aws_code)
{
	struct ssm *s = arg;
	struct err e, named = *why;

	ssm_name_other_way(s, aws_code, &named);
	if (ssm_switch_to_ssh(s, why, aws_code)) {
		if (s->fsm.state == FSM_SESSION && ssh_pool_open(s->ssh, &e) != 0)
			fsm_failed(&s->fsm, s->step, &e);
	} else if (s->by_ssh) {
		return; /* one that was asked for before */
	} else if (s->fsm.state == FSM_SESSION && ssm_is_of_one_host(why->code)) {
		fsm_done(&s->fsm, s->step, FSM_ACTIVE); /* AWS and the agent have answered */
	} else if (s->fsm.state == FSM_SESSION) {
		fsm_failed(&s->fsm, s->step, &named);
	} else if (ssm_takes_dials(s) && !pool_alive(s->pool) && !ssm_is_of_one_host(why->code)) {
		ssm_stop_step(s);
		fsm_failed(&s->fsm, s->step, &named);
	}
}

void ssm_pool_changed(struct ssm *s)
{
	if (s->fsm.state == FSM_ACTIVE && ssm_lost(s))
		fsm_done(&s->fsm, s->step, FSM_TRANSITIONING);
	else if (s->fsm.state == FSM_TRANSITIONING && !s->call && !ssm_lost(s))
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

static void on_pool_changed(void *arg)
{
	struct ssm *s = arg;

	if (!s->by_ssh)
		ssm_pool_changed(s);
}

static const struct pool_handler pool_handler = {
	.session_up = on_session_up,
	.session_failed = on_session_failed,
	.changed = on_pool_changed,
};

/* --- the contract --- */

static enum backend_state ssm_state(const struct backend *b)
{
	return fsm_outer(of_const(b)->fsm.state);
}

static bool ssm_first_init(const struct backend *b)
{
	const struct ssm *s = of_const(b);

	if (s->fsm.was_active || fsm_outer(s->fsm.state) != BACKEND_INITIALIZING)
		return false;
	return loop_now_ms(s->loop) < s->init_ms + s->init_limit_ms;
}

static void ssm_wake(struct backend *b)
{
	ssm_want_wake(of(b));
}

static void on_start(void *arg)
{
	struct ssm *s = arg;

	if (ssm_takes_dials(s))
		ssm_tell_started(s, NULL);
	else
		fsm_wake(&s->fsm);
}

static void ssm_start(struct backend *b, void (*started)(void *arg, const struct err *), void *arg)
{
	struct ssm *s = of(b);

	s->started = started;
	s->started_arg = arg;
	loop_unpost(&s->wake);
	loop_post(s->loop, &s->wake, on_start, s);
}

/* The provider behind the AWS client serves them already. What is left: a
 * failure for want of credentials need not wait, and the new ones are tried. */
static void ssm_set_creds(struct backend *b, struct creds *creds)
{
	struct ssm *s = of(b);

	if (creds)
		ssm_use_bucket(s, creds);
	if (s->fsm.state == FSM_BACKOFF && s->fsm.why.code == ERR_CREDS) {
		fsm_cut_pause(&s->fsm);
		if (!list_empty(&s->queue))
			ssm_want_wake(s);
	} else if (s->fsm.state == FSM_ACTIVE) {
		fsm_done(&s->fsm, s->step, FSM_TRANSITIONING);
	}
}

static void ssm_describe(struct backend *b, struct cJSON *into)
{
	struct ssm *s = of(b);
	uint64_t now = loop_now_ms(s->loop);
	bool failed = s->fsm.state == FSM_BACKOFF;
	struct err why = { 0 };
	cJSON *sessions;

	if (failed)
		why = s->fsm.why;
	else if (s->fsm.state == FSM_SESSION || ssm_takes_dials(s))
		(void)session_held(&s->env, &why);

	cJSON_AddStringToObject(into, "step", fsm_name(s->fsm.state));
	cJSON_AddStringToObject(into, "reason", why.msg);
	cJSON_AddNumberToObject(into, "next_try_ms",
				failed && s->next_try_ms > now ? (double)(s->next_try_ms - now)
							       : 0);
	if (s->life.progress[0])
		cJSON_AddStringToObject(into, "progress", s->life.progress);
	cJSON_AddStringToObject(into, "instance", s->target);
	cJSON_AddBoolToObject(into, "to_be_stopped", s->life.ours && s->life.auto_stop);
	cJSON_AddStringToObject(into, "region", s->region);
	cJSON_AddStringToObject(into, "transport", ssm_transport_name(s));
	cJSON_AddNumberToObject(into, "dials", s->dials);
	sessions = cJSON_AddArrayToObject(into, "sessions");
	if (sessions && s->pool)
		pool_describe(s->pool, sessions);
	if (sessions && s->ssh)
		ssh_pool_describe(s->ssh, sessions);
}

static void free_all(struct ssm *s)
{
	mem_free(s->region);
	mem_free(s->ssm_endpoint);
	mem_free(s->ssmmessages);
	mem_free(s->ec2_endpoint);
	mem_free(s->ca_file);
	ssm_target_free(s);
	ssm_ssh_free(s);
	lifecycle_free(s);
	mem_free(s);
}

static void on_over(void *arg)
{
	struct ssm *s = arg;
	void (*closed)(void *) = s->closed;
	void *closed_arg = s->closed_arg;

	timer_disarm(s->loop, &s->limit);
	timer_disarm(s->loop, &s->lone_limit);
	timer_disarm(s->loop, &s->init_limit);
	timer_disarm(s->loop, &s->life.idle);
	free_all(s);
	closed(closed_arg);
}

void ssm_free_if_over(struct ssm *s)
{
	if (!s->closed || s->pool || s->ssh || s->dials || !s->life.over || !list_empty(&s->lones))
		return;
	loop_unpost(&s->wake);
	loop_post(s->loop, &s->wake, on_over, s);
}

static void on_pool_closed(void *arg)
{
	struct ssm *s = arg;

	s->pool = NULL;
	ssm_free_if_over(s);
}

static void on_lone_limit(void *arg)
{
	lones_drop(arg);
}

static void on_ssh_closed(void *arg)
{
	struct ssm *s = arg;

	s->ssh = NULL;
	ssm_free_if_over(s);
}

static void ssm_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	struct ssm *s = of(b);
	struct err e;

	s->closed = closed;
	s->closed_arg = arg;
	s->started = NULL;
	ssm_stop_step(s);
	fsm_close(&s->fsm);
	(void)err_set(&e, ERR_CLOSED, "%s is closing", s->base.name);
	ssm_fail_queue(s, &e);
	pool_close(s->pool, on_pool_closed, s);
	if (s->ssh)
		ssh_pool_close(s->ssh, on_ssh_closed, s);
	lones_end(s);
	timer_arm(s->loop, &s->lone_limit, CLOSE_MS, on_lone_limit, s);
	lifecycle_close(s);
}

static const struct backend_ops ops = {
	.dial = ssm_dial,
	.cancel = ssm_cancel,
	.state = ssm_state,
	.first_init = ssm_first_init,
	.wake = ssm_wake,
	.start = ssm_start,
	.set_creds = ssm_set_creds,
	.describe = ssm_describe,
	.close = ssm_close,
};

/* --- making one --- */

static int check(const struct ssm_opts *o, struct err *e)
{
	if (!o->loop || !o->ws || !o->aws || !o->region || !o->ssm_endpoint)
		return err_set(e, ERR_INTERNAL, "ssm: an option is missing");
	if (o->payload_size && (o->payload_size < 1024 || o->payload_size > 65536))
		return err_set(e, ERR_CONFIG, "payload size %zu is not within 1024..65536",
			       o->payload_size);
	return 0;
}

static int copy(char **to, const char *text, struct err *e)
{
	*to = mem_strdup(text);
	return *to || !text ? 0 : err_set(e, ERR_NOMEM, "ssm backend");
}

static void fill_env(struct ssm *s, const struct ssm_opts *o)
{
	s->env = (struct session_env){
		.loop = o->loop,
		.ws = o->ws,
		.api = { o->aws, s->ssm_endpoint, s->region, o->endpoint_overridden,
			 s->ssmmessages },
		.target = s->target,
		.client_id = s->client_id,
		.ca_file = s->ca_file,
		.no_sign = o->no_sign,
		.starts = &s->own_starts,
		.held = &s->held,
		.not_connected = ssm_relook,
		.not_connected_arg = s,
		.payload_size = o->payload_size,
		.stream_idle_ms = o->stream_idle_ms,
		.gap_limit_ms = o->gap_limit_ms,
		.keep_alive_ms = o->keep_alive_ms,
	};
	random_uuid(s->client_id);
	s->shared_starts = o->starts;
	s->choose = o->choose;
	s->choose_arg = o->choose_arg;
	s->init_limit_ms = o->init_ms ? o->init_ms : INIT_MS;
	s->dial_ms = o->dial_ms ? o->dial_ms : DIAL_MS;
	s->dials_max = o->dials_max ? o->dials_max : DIALS_MAX;
}

static int take_ssmmessages(struct ssm *s, const char *text, struct err *e)
{
	char url[API_URL_MAX];

	if (!text)
		return 0;
	return api_read_ssmmessages(text, url, e) == 0 ? copy(&s->ssmmessages, url, e) : -1;
}

static int take_warm(struct ssm *s, const struct ssm_opts *o, struct err *e)
{
	for (size_t i = 0; i < o->warm_count; i++)
		if (pool_warm(s->pool, o->warm[i], e) != 0)
			return -1;
	return 0;
}

static int fill(struct ssm *s, const struct ssm_opts *o, struct err *e)
{
	struct pool_opts p = {
		.env = &s->env,
		.sessions = o->sessions ? o->sessions : SESSIONS,
		.sessions_total = o->sessions_total ? o->sessions_total : SESSIONS_TOTAL,
		.session_idle_ms = o->session_idle_ms ? o->session_idle_ms : SESSION_IDLE_MS,
	};

	if (copy(&s->region, o->region, e) != 0 ||
	    copy(&s->ssm_endpoint, o->ssm_endpoint, e) != 0 ||
	    copy(&s->ec2_endpoint, o->ec2_endpoint, e) != 0 || ssm_target_new(s, o, e) != 0 ||
	    lifecycle_init(s, o, e) != 0 || copy(&s->ca_file, o->ca_file, e) != 0 ||
	    take_ssmmessages(s, o->ssmmessages_endpoint, e) != 0)
		return -1;
	fill_env(s, o);
	if (ssm_ssh_new(s, o, e) != 0)
		return -1;
	s->pool = pool_new(&p, &pool_handler, s, e);
	if (s->pool && take_warm(s, o, e) == 0)
		return 0;
	if (s->pool)
		pool_discard(s->pool);
	s->pool = NULL;
	ssh_pool_discard(s->ssh);
	return -1;
}

struct backend *ssm_backend_new(const struct ssm_opts *o, struct err *e)
{
	struct ssm *s;

	if (check(o, e) != 0)
		return NULL;
	s = mem_alloc(sizeof(*s));
	if (!s) {
		(void)err_set(e, ERR_NOMEM, "ssm backend");
		return NULL;
	}
	s->base.ops = &ops;
	s->loop = o->loop;
	list_init(&s->queue);
	list_init(&s->lones);
	fsm_init(&s->fsm, &ssm_steps, s);
	str_fmt(s->base.name, sizeof(s->base.name), "ssm:%s", o->profile ? o->profile : "default");
	if (fill(s, o, e) == 0)
		return &s->base;
	free_all(s);
	return NULL;
}
