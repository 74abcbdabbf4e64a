/*
 * The SSM backend: the state machine's steps, and the dials that wait for it.
 *
 *     dial -> queue (while idle, initialising, or in a short pause)
 *          -> pool (while active or transitioning) -> stream
 *
 * Initialising is: credentials, then the instance, then either the first
 * session, for the destination of the first dial that waits, or, if nobody
 * waits (backend_wake(), backend_start()), GetConnectionStatus. A caller who
 * may not ask for that status is believed to be connected: his first dial will tell.
 *
 * The machine runs from the loop alone (posts, timers, replies); the public
 * calls only queue and post, so that no callback comes from inside them.
 */
#include "backend/ssm.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "backend/backend_impl.h"
#include "backend/ssm/pool.h"
#include "backend/ssm/session.h"
#include "backend/ssm/state.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/provider.h"
#include "ec2/instance.h"
#include "net/loop.h"

enum {
	FIRST_INIT_MS = 60000,
	WAIT_IN_PAUSE_MS = 5000, /* a longer pause fails the dial at once */
	SESSIONS = 4,
	SESSIONS_TOTAL = 16,
	SESSION_IDLE_MS = 300000,
	DIAL_MS = 30000,
	DIALS_MAX = 1024
};

struct ssm {
	struct backend base;
	struct loop *loop;
	struct session_env env;
	char *region, *ssm_endpoint, *ec2_endpoint, *name, *instance_id, *ca_file;
	char target[64], client_id[37];
	struct ec2_instance *choices; /* while the user is asked */
	size_t choice_count;
	ssm_choose_fn *choose;
	void *choose_arg;
	unsigned dial_ms, dials_max, dials;
	struct fsm fsm;
	struct loop_timer limit;
	struct loop_post wake;
	struct list queue; /* struct ssm_dial.node */
	struct pool *pool;
	unsigned step; /* attempt of the step that is under way */
	struct provider_call *asking;
	struct ec2_call *looking;
	struct api_call *call;
	uint64_t init_ms, next_try_ms;
	void (*started)(void *arg, const struct err *);
	void *started_arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct ssm_dial {
	struct dial base;
	struct list node; /* in the queue */
	struct ssm *ssm;
	struct pool_dial *pool; /* handed over */
	struct loop_timer limit;
	struct loop_post post; /* to tell of a failure */
	uint64_t end_ms;
	uint16_t port;
	struct err why;
	char host[256];
};

static struct ssm *of(struct backend *b)
{
	return CONTAINER_OF(b, struct ssm, base);
}

static const struct ssm *of_const(const struct backend *b)
{
	return CONTAINER_OF(b, const struct ssm, base);
}

static bool takes_dials(const struct ssm *s)
{
	return s->fsm.state == FSM_ACTIVE || s->fsm.state == FSM_TRANSITIONING;
}

/* --- dials --- */

static void free_if_over(struct ssm *s);

static void free_dial(struct ssm_dial *d)
{
	struct ssm *s = d->ssm;

	timer_disarm(s->loop, &d->limit);
	loop_unpost(&d->post);
	list_del(&d->node);
	if (d->pool)
		pool_cancel(d->pool);
	s->dials--;
	mem_free(d);
	free_if_over(s);
}

static void tell(struct ssm_dial *d, const struct dialed *done, const struct err *why)
{
	d->base.done(d->base.arg, done, why);
	free_dial(d);
}

static void on_dial_failed(void *arg)
{
	struct ssm_dial *d = arg;

	tell(d, NULL, &d->why);
}

static void fail_dial(struct ssm_dial *d, const struct err *why)
{
	d->why = *why;
	timer_disarm(d->ssm->loop, &d->limit);
	list_del(&d->node);
	loop_post(d->ssm->loop, &d->post, on_dial_failed, d);
}

static void on_dial_limit(void *arg)
{
	struct ssm_dial *d = arg;
	struct err e;

	(void)err_set(&e, ERR_TIMEOUT, "%s is still initialising (%s) after %u s",
		      d->ssm->base.name, fsm_name(d->ssm->fsm.state), d->ssm->dial_ms / 1000);
	fail_dial(d, &e);
}

static void on_stream(void *arg, struct stream *stream, const char *id, const struct err *why)
{
	struct ssm_dial *d = arg;
	struct dialed done = { .stream = stream };

	d->pool = NULL; /* its life ends with this call */
	str_fmt(done.session, sizeof(done.session), "%s", id);
	tell(d, stream ? &done : NULL, why);
}

static void hand_over(struct ssm_dial *d)
{
	struct ssm *s = d->ssm;
	uint64_t now = loop_now_ms(s->loop);
	unsigned left = d->end_ms > now ? (unsigned)(d->end_ms - now) : 1;
	struct err e;

	timer_disarm(s->loop, &d->limit);
	list_del(&d->node);
	d->pool = pool_dial(s->pool, d->host, d->port, left, on_stream, d, &e);
	if (!d->pool)
		fail_dial(d, &e);
}

static void on_wake(void *arg)
{
	struct ssm *s = arg;

	fsm_wake(&s->fsm);
}

static void want_wake(struct ssm *s)
{
	if (s->closed)
		return;
	loop_post(s->loop, &s->wake, on_wake, s);
}

/* Refused before it is queued? */
static int admit(const struct ssm *s, const struct dest *dest, struct err *e)
{
	uint64_t now = loop_now_ms(s->loop);

	if (s->closed || s->fsm.state == FSM_CLOSED)
		return err_set(e, ERR_CLOSED, "%s is closing", s->base.name);
	if (s->dials >= s->dials_max)
		return err_set(e, ERR_LIMIT, "%s: %u connections are waiting already", s->base.name,
			       s->dials);
	if (strlen(dest->host) >= 256 || !dest->host[0])
		return err_set(e, ERR_PROTO, "host name of %zu bytes", strlen(dest->host));
	if (s->fsm.state != FSM_BACKOFF || s->fsm.pause_over ||
	    s->next_try_ms <= now + WAIT_IN_PAUSE_MS)
		return 0;
	*e = s->fsm.why;
	(void)err_wrap(e, "%s has failed, next try in %u s", s->base.name,
		       (unsigned)((s->next_try_ms - now + 999) / 1000));
	return -1;
}

static struct dial *ssm_dial(struct backend *b, const struct dest *dest, dialed_fn *done, void *arg,
			     struct err *e)
{
	struct ssm *s = of(b);
	struct ssm_dial *d;

	if (admit(s, dest, e) != 0)
		return NULL;
	d = mem_alloc(sizeof(*d));
	if (!d) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	d->base = (struct dial){ b, done, arg };
	d->ssm = s;
	d->port = dest->port;
	d->end_ms = loop_now_ms(s->loop) + s->dial_ms;
	str_fmt(d->host, sizeof(d->host), "%s", dest->host);
	s->dials++;
	list_add_tail(&s->queue, &d->node);
	if (takes_dials(s)) {
		hand_over(d);
	} else {
		timer_arm(s->loop, &d->limit, s->dial_ms, on_dial_limit, d);
		want_wake(s);
	}
	return &d->base;
}

static void ssm_cancel(struct dial *dial)
{
	free_dial(CONTAINER_OF(dial, struct ssm_dial, base));
}

/* --- the steps --- */

static void stop_step(struct ssm *s)
{
	if (s->asking)
		provider_cancel(s->asking);
	if (s->looking)
		ec2_cancel(s->looking);
	api_cancel(s->call);
	s->asking = NULL;
	s->looking = NULL;
	s->call = NULL;
	mem_free(s->choices);
	s->choices = NULL;
}

static void on_creds(void *arg, struct creds *creds, const struct err *why)
{
	struct ssm *s = arg;

	s->asking = NULL;
	if (creds)
		fsm_done(&s->fsm, s->step, FSM_INSTANCE);
	else
		fsm_failed(&s->fsm, s->step, why);
}

static void enter_creds(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	if (!s->init_ms)
		s->init_ms = loop_now_ms(s->loop);
	s->asking = provider_get(aws_provider(s->env.api.aws), on_creds, s, &e);
	if (!s->asking)
		fsm_failed(&s->fsm, attempt, &e);
}

static void instance_known(struct ssm *s, const char *id)
{
	str_fmt(s->target, sizeof(s->target), "%s", id);
	fsm_done(&s->fsm, s->step, list_empty(&s->queue) ? FSM_ONLINE : FSM_SESSION);
}

static void take_instance(struct ssm *s, const struct ec2_instance *i)
{
	struct err e;

	if (strcmp(i->state, "running") == 0) {
		log_info("ssm", "%s: %s is %s", s->base.name, s->name, i->id);
		instance_known(s, i->id);
		return;
	}
	(void)err_set(&e, ERR_TARGET, "instance %s (%s) is %s: start it first", i->id, s->name,
		      i->state);
	fsm_failed(&s->fsm, s->step, &e);
}

static void on_chosen(void *to, size_t index)
{
	struct ssm *s = to;
	struct ec2_instance *list = s->choices, chosen;
	struct err e;

	if (!list)
		return; /* too late: the step is over */
	if (index < s->choice_count) {
		chosen = list[index];
		mem_free(list);
		s->choices = NULL;
		take_instance(s, &chosen);
		return;
	}
	(void)err_set(&e, ERR_TARGET, "no instance named '%.64s' was chosen", s->name);
	fsm_failed(&s->fsm, s->step, &e);
}

static void several(struct ssm *s, const struct ec2_instance *list, size_t n)
{
	char text[220] = "";
	struct err e;

	if (s->choose && (s->choices = mem_alloc(n * sizeof(*list))) != NULL) {
		memcpy(s->choices, list, n * sizeof(*list));
		s->choice_count = n;
		s->choose(s->choose_arg, s->choices, n, on_chosen, s);
		return;
	}
	for (size_t i = 0, used = 0; i < n; i++) {
		if (!str_fmt(text + used, sizeof(text) - used - 4, "%s%s %s", i ? ", " : "",
			     list[i].id, list[i].state)) {
			str_fmt(text + used, sizeof(text) - used, " ...");
			break;
		}
		used = strlen(text);
	}
	(void)err_set(&e, ERR_TARGET, "%zu instances are named '%.40s': %s; use --instance-id", n,
		      s->name, text);
	fsm_failed(&s->fsm, s->step, &e);
}

static void on_instances(void *arg, const struct ec2_instance *list, size_t n,
			 const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->looking = NULL;
	if (why) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (!list || n == 0) {
		(void)err_set(&e, ERR_TARGET,
			      "no instance in %s is named '%.64s': is the region right, "
			      "and the account?",
			      s->region, s->name);
		fsm_failed(&s->fsm, s->step, &e);
	} else if (n == 1) {
		take_instance(s, &list[0]);
	} else {
		several(s, list, n);
	}
}

static void enter_instance(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	if (s->instance_id) {
		instance_known(s, s->instance_id);
		return;
	}
	s->looking = ec2_by_name(s->env.api.aws, s->ec2_endpoint, s->name, on_instances, s, &e);
	if (!s->looking)
		fsm_failed(&s->fsm, attempt, &e);
}

static bool may_not_ask(const char *aws_code)
{
	return str_starts(aws_code, "AccessDenied") ||
	       strcmp(aws_code, "UnauthorizedOperation") == 0;
}

static void on_status(void *arg, bool connected, const char *aws_code, const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->call = NULL;
	if (why && may_not_ask(aws_code)) {
		log_debug("ssm", "%s: GetConnectionStatus: %s", s->base.name, why->msg);
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
	} else if (why) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (connected) {
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
	} else {
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
	if (list_empty(&s->queue) || pool_alive(s->pool)) {
		fsm_done(&s->fsm, attempt, FSM_ACTIVE);
		return;
	}
	first = CONTAINER_OF(s->queue.next, struct ssm_dial, node);
	if (pool_open(s->pool, first->host, first->port, &e) != 0)
		fsm_failed(&s->fsm, attempt, &e);
}

static void tell_started(struct ssm *s, const struct err *why)
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
	while (!list_empty(&s->queue))
		hand_over(CONTAINER_OF(s->queue.next, struct ssm_dial, node));
	tell_started(s, NULL);
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
	if (!pool_lost(s->pool)) /* what is open lives on in any case */
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

static void enter_transitioning(void *arg, unsigned attempt)
{
	struct ssm *s = arg;
	struct err e;

	s->step = attempt;
	if (pool_lost(s->pool))
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
	stop_step(s);
	(void)err_wrap(&why, "%s", s->base.name);
	LIST_EACH (it, &s->queue)
		fail_dial(CONTAINER_OF(it, struct ssm_dial, node), &why);
	tell_started(s, &why);
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

static const struct fsm_owner fsm_owner = {
	.enter = { [FSM_CREDS] = enter_creds,
		   [FSM_INSTANCE] = enter_instance,
		   [FSM_ONLINE] = enter_online,
		   [FSM_SESSION] = enter_session,
		   [FSM_ACTIVE] = enter_active,
		   [FSM_TRANSITIONING] = enter_transitioning,
		   [FSM_BACKOFF] = enter_backoff },
	.timer = on_timer,
	.trace = on_trace,
};

/* --- the pool's reports --- */

static void on_session_up(void *arg)
{
	struct ssm *s = arg;

	if (s->fsm.state == FSM_SESSION)
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
}

/* Is it this destination alone that failed, and not the instance or AWS? */
static bool is_of_one_host(enum err_code code)
{
	return code == ERR_RESOLVE || code == ERR_DENIED || code == ERR_DIAL || code == ERR_NOMEM;
}

static void on_session_failed(void *arg, const struct err *why)
{
	struct ssm *s = arg;

	if (s->fsm.state == FSM_SESSION && is_of_one_host(why->code)) {
		fsm_done(&s->fsm, s->step, FSM_ACTIVE); /* AWS and the agent have answered */
	} else if (s->fsm.state == FSM_SESSION) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (takes_dials(s) && !pool_alive(s->pool) && !is_of_one_host(why->code)) {
		stop_step(s);
		fsm_failed(&s->fsm, s->step, why);
	}
}

static void on_pool_changed(void *arg)
{
	struct ssm *s = arg;

	if (s->fsm.state == FSM_ACTIVE && pool_lost(s->pool))
		fsm_done(&s->fsm, s->step, FSM_TRANSITIONING);
	else if (s->fsm.state == FSM_TRANSITIONING && !s->call && !pool_lost(s->pool))
		fsm_done(&s->fsm, s->step, FSM_ACTIVE);
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
	return loop_now_ms(s->loop) < s->init_ms + FIRST_INIT_MS;
}

static void ssm_wake(struct backend *b)
{
	want_wake(of(b));
}

static void on_start(void *arg)
{
	struct ssm *s = arg;

	if (takes_dials(s))
		tell_started(s, NULL);
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

	(void)creds;
	if (s->fsm.state == FSM_BACKOFF && s->fsm.why.code == ERR_CREDS) {
		fsm_cut_pause(&s->fsm);
		if (!list_empty(&s->queue))
			want_wake(s);
	} else if (s->fsm.state == FSM_ACTIVE) {
		fsm_done(&s->fsm, s->step, FSM_TRANSITIONING);
	}
}

static void ssm_describe(struct backend *b, struct cJSON *into)
{
	struct ssm *s = of(b);
	uint64_t now = loop_now_ms(s->loop);
	bool failed = s->fsm.state == FSM_BACKOFF;
	cJSON *sessions;

	cJSON_AddStringToObject(into, "step", fsm_name(s->fsm.state));
	cJSON_AddStringToObject(into, "reason", failed ? s->fsm.why.msg : "");
	cJSON_AddNumberToObject(into, "next_try_ms",
				failed && s->next_try_ms > now ? (double)(s->next_try_ms - now)
							       : 0);
	cJSON_AddStringToObject(into, "instance", s->target);
	cJSON_AddStringToObject(into, "region", s->region);
	cJSON_AddNumberToObject(into, "dials", s->dials);
	sessions = cJSON_AddArrayToObject(into, "sessions");
	if (sessions && s->pool)
		pool_describe(s->pool, sessions);
}

static void free_all(struct ssm *s)
{
	mem_free(s->region);
	mem_free(s->ssm_endpoint);
	mem_free(s->ec2_endpoint);
	mem_free(s->name);
	mem_free(s->instance_id);
	mem_free(s->ca_file);
	mem_free(s->choices);
	mem_free(s);
}

static void on_over(void *arg)
{
	struct ssm *s = arg;
	void (*closed)(void *) = s->closed;
	void *closed_arg = s->closed_arg;

	timer_disarm(s->loop, &s->limit);
	free_all(s);
	closed(closed_arg);
}

static void free_if_over(struct ssm *s)
{
	if (!s->closed || s->pool || s->dials)
		return;
	loop_unpost(&s->wake);
	loop_post(s->loop, &s->wake, on_over, s);
}

static void on_pool_closed(void *arg)
{
	struct ssm *s = arg;

	s->pool = NULL;
	free_if_over(s);
}

static void ssm_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	struct ssm *s = of(b);
	struct err e;

	s->closed = closed;
	s->closed_arg = arg;
	s->started = NULL;
	stop_step(s);
	fsm_close(&s->fsm);
	(void)err_set(&e, ERR_CLOSED, "%s is closing", s->base.name);
	LIST_EACH (it, &s->queue)
		fail_dial(CONTAINER_OF(it, struct ssm_dial, node), &e);
	pool_close(s->pool, on_pool_closed, s);
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
	if (!o->instance_id && !o->name)
		return err_set(e, ERR_CONFIG,
			       "which instance? give --instance-id or --name (or put one into the "
			       "profile's section of the configuration)");
	if (o->instance_id && (!o->instance_id[0] || strlen(o->instance_id) >= 64))
		return err_set(e, ERR_CONFIG, "'%.80s' is not an instance id", o->instance_id);
	if (!o->instance_id && !o->ec2_endpoint)
		return err_set(e, ERR_INTERNAL, "ssm: no EC2 endpoint to look a name up");
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
		.api = { o->aws, s->ssm_endpoint, s->region, o->endpoint_overridden },
		.target = s->target,
		.client_id = s->client_id,
		.ca_file = s->ca_file,
		.no_sign = o->no_sign,
		.payload_size = o->payload_size,
		.stream_idle_ms = o->stream_idle_ms,
	};
	random_uuid(s->client_id);
	s->choose = o->choose;
	s->choose_arg = o->choose_arg;
	s->dial_ms = o->dial_ms ? o->dial_ms : DIAL_MS;
	s->dials_max = o->dials_max ? o->dials_max : DIALS_MAX;
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
	    copy(&s->ec2_endpoint, o->ec2_endpoint, e) != 0 || copy(&s->name, o->name, e) != 0 ||
	    copy(&s->instance_id, o->instance_id, e) != 0 || copy(&s->ca_file, o->ca_file, e) != 0)
		return -1;
	fill_env(s, o);
	s->pool = pool_new(&p, &pool_handler, s, e);
	return s->pool ? 0 : -1;
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
	fsm_init(&s->fsm, &fsm_owner, s);
	str_fmt(s->base.name, sizeof(s->base.name), "ssm:%s", o->profile ? o->profile : "default");
	if (fill(s, o, e) == 0)
		return &s->base;
	free_all(s);
	return NULL;
}
