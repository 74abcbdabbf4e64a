#include "backend/ssm/lifecycle.h"

#include <string.h>

#include "backend/ssm/pool.h"
#include "backend/ssm/ssh_pool.h"
#include "backend/ssm/ssm_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	POLL_FIRST_MS = 500,
	POLL_MAX_MS = 5000,
	CONNECT_MS = 180000,
	STOP_CALL_MS = 10000,
	STOP_AGAIN_MS = 2000,
	CLOSE_MS = 60000, /* an instance that is just starting cannot be stopped at once */
	LOOKS = 8         /* per --idle-stop */
};

static uint64_t now_ms(const struct ssm *s)
{
	return loop_now_ms(s->loop);
}

int lifecycle_init(struct ssm *s, const struct ssm_opts *o, struct err *e)
{
	s->life.auto_start = o->auto_start;
	s->life.auto_stop = o->auto_stop;
	s->life.idle_stop_ms = o->idle_stop_ms;
	s->life.notes = mem_strdup(o->notes);
	return s->life.notes || !o->notes ? 0 : err_set(e, ERR_NOMEM, "ssm backend");
}

void lifecycle_free(struct ssm *s)
{
	note_leave(&s->life.note);
	mem_free(s->life.notes);
}

bool lifecycle_needs_state(const struct ssm *s)
{
	return s->life.auto_start || (s->query.id && lifecycle_has_note(s, s->query.id));
}

bool lifecycle_must_wait(const struct ssm *s, const struct ec2_instance *i)
{
	const struct lifecycle *l = &s->life;

	if (strcmp(i->state, "pending") == 0)
		return true;
	if (!l->auto_start)
		return false;
	return strcmp(i->state, "stopped") == 0 || strcmp(i->state, "stopping") == 0 ||
	       (l->stopping && strcmp(i->state, "running") == 0);
}

/* Said once for each change. */
void lifecycle_tell(struct ssm *s, const char *id, const char *state)
{
	char text[LIFECYCLE_TEXT];

	(void)str_fmt(text, sizeof(text), "instance %.64s is %s", id, state);
	if (strcmp(text, s->life.progress) == 0)
		return;
	str_fmt(s->life.progress, sizeof(s->life.progress), "%s", text);
	log_info("ssm", "%s: %s", s->base.name, text);
}

static void again(struct ssm *s, void (*fn)(void *))
{
	struct lifecycle *l = &s->life;

	timer_arm(s->loop, &l->poll, l->poll_ms, fn, s);
	l->poll_ms += l->poll_ms / 2;
	if (l->poll_ms > POLL_MAX_MS)
		l->poll_ms = POLL_MAX_MS;
}

/* The last time when the time is up. */
static void again_until(struct ssm *s, void (*fn)(void *), uint64_t until_ms)
{
	uint64_t left = until_ms > now_ms(s) ? until_ms - now_ms(s) : 0;

	if (left < s->life.poll_ms)
		s->life.poll_ms = (unsigned)left;
	again(s, fn);
}

/* --- starting --- */

static void look(void *arg);
static void begin_stop(struct ssm *s);

static void on_start(void *arg, const char *before, const char *code, const struct err *why)
{
	struct ssm *s = arg;
	struct lifecycle *l = &s->life;

	l->power = NULL;
	if (before && strcmp(before, "stopped") == 0) {
		l->ours = true;
		log_info("ssm", "%s: instance %s has been started%s", s->base.name, l->id,
			 l->auto_stop ? "" : ", and is left running at the end");
		lifecycle_note(s);
	}
	if (s->closed) {
		begin_stop(s);
		return;
	}
	if (s->fsm.state != FSM_STARTING)
		return;
	if (before || strcmp(code, "IncorrectInstanceState") == 0) {
		again(s, look); /* the state in between passes */
		return;
	}
	ssm_stop_step(s);
	fsm_failed(&s->fsm, s->step, why);
}

static void start(struct ssm *s)
{
	struct lifecycle *l = &s->life;
	struct err e;

	if (l->power) { /* that of an attempt before */
		again(s, look);
		return;
	}
	str_fmt(l->id, sizeof(l->id), "%s", s->target);
	l->power = ec2_power(s->env.api.aws, s->ec2_endpoint, l->id, true, 0, on_start, s, &e);
	if (!l->power)
		fsm_failed(&s->fsm, s->step, &e);
}

static void runs(struct ssm *s, const struct ec2_instance *i)
{
	lifecycle_adopt(s, i);
	s->life.connect_ms = CONNECT_MS;
	s->life.connect_until_ms = now_ms(s) + CONNECT_MS;
	fsm_done(&s->fsm, s->step, FSM_CONNECTING);
}

static void on_look(void *arg, const struct ec2_instance *list, size_t n, const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->looking = NULL;
	if (why) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (n == 0) {
		/* the reply to who has just been launched may come from one who has not heard */
		again(s, look);
	} else if (strcmp(list->state, "terminated") == 0 ||
		   strcmp(list->state, "shutting-down") == 0) {
		(void)err_set(&e, ERR_TARGET, "instance %s is %s", list->id, list->state);
		fsm_failed(&s->fsm, s->step, &e);
	} else if (strcmp(list->state, "running") == 0 && !s->life.stopping) {
		runs(s, list);
	} else {
		lifecycle_tell(s, s->target, list->state);
		if (strcmp(list->state, "stopped") == 0 && s->life.auto_start)
			start(s);
		else
			again(s, look);
	}
}

static void look(void *arg)
{
	struct ssm *s = arg;
	struct err e;

	s->looking = ec2_by_id(s->env.api.aws, s->ec2_endpoint, s->target, on_look, s, &e);
	if (!s->looking)
		fsm_failed(&s->fsm, s->step, &e);
}

void lifecycle_enter_starting(void *arg, unsigned attempt)
{
	struct ssm *s = arg;

	s->step = attempt;
	s->life.poll_ms = POLL_FIRST_MS;
	s->life.begun_ms = now_ms(s);
	look(s);
}

/* --- connecting --- */

static void ask(void *arg);

/* As GetConnectionStatus says, or as we believe: StartSession has the last word. */
static void connected(struct ssm *s)
{
	s->env.patient_until_ms = s->life.connect_until_ms;
	fsm_done(&s->fsm, s->step, list_empty(&s->queue) ? FSM_ACTIVE : FSM_SESSION);
}

static void on_asked(void *arg, bool is_connected, const char *aws_code, const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->call = NULL;
	if (is_connected || (why && ssm_may_not_ask(aws_code))) {
		connected(s);
	} else if (why) {
		fsm_failed(&s->fsm, s->step, why);
	} else if (now_ms(s) >= s->life.connect_until_ms) {
		(void)err_set(
			&e, ERR_TARGET,
			"instance %.64s is not connected to SSM, and has not been for %u s: is it "
			"running, has it the agent, a role and a way to AWS?",
			s->target, s->life.connect_ms / 1000);
		fsm_failed(&s->fsm, s->step, &e);
	} else {
		lifecycle_tell(s, s->target, "not connected to SSM yet");
		ssm_relook(s);
		again_until(s, ask, s->life.connect_until_ms);
	}
}

static void ask(void *arg)
{
	struct ssm *s = arg;
	struct err e;

	s->call = api_status(&s->env.api, s->target, 0, on_asked, s, &e);
	if (!s->call)
		fsm_failed(&s->fsm, s->step, &e);
}

void lifecycle_enter_connecting(void *arg, unsigned attempt)
{
	struct ssm *s = arg;

	s->step = attempt;
	s->life.poll_ms = POLL_FIRST_MS;
	ask(s);
}

bool lifecycle_waits_for_agent(struct ssm *s)
{
	uint64_t end = s->init_ms + s->init_limit_ms;

	if (s->fsm.was_active || now_ms(s) >= end)
		return false;
	s->life.connect_ms = s->init_limit_ms;
	s->life.connect_until_ms = end;
	lifecycle_tell(s, s->target, "not connected to SSM yet");
	fsm_done(&s->fsm, s->step, FSM_CONNECTING);
	return true;
}

/* --- idle --- */

static bool in_use(const struct ssm *s)
{
	return s->dials || !list_empty(&s->lones) || (s->pool && pool_in_use(s->pool)) ||
	       (s->ssh && ssh_pool_in_use(s->ssh));
}

static void on_idle_look(void *arg)
{
	struct ssm *s = arg;
	struct lifecycle *l = &s->life;

	if (s->fsm.state == FSM_TRANSITIONING || in_use(s))
		l->used_ms = now_ms(s);
	if (!ssm_takes_dials(s) || !l->ours)
		return;
	if (now_ms(s) - l->used_ms < l->idle_stop_ms) {
		timer_arm(s->loop, &l->idle, l->idle_stop_ms / LOOKS + 1, on_idle_look, s);
		return;
	}
	log_info("ssm", "%s: unused for %u s, stopping instance %s, which was started for it",
		 s->base.name, l->idle_stop_ms / 1000, l->id);
	pool_rest(s->pool);
	if (s->ssh)
		ssh_pool_rest(s->ssh);
	fsm_done(&s->fsm, s->step, FSM_IDLE);
	begin_stop(s);
}

void lifecycle_active(struct ssm *s)
{
	struct lifecycle *l = &s->life;

	if (!l->ours || !l->auto_stop || !l->idle_stop_ms)
		return;
	if (!timer_armed(&l->idle))
		l->used_ms = now_ms(s);
	timer_arm(s->loop, &l->idle, l->idle_stop_ms / LOOKS + 1, on_idle_look, s);
}

/* --- stopping --- */

static void end_stop(struct ssm *s)
{
	s->life.stopping = false;
	if (!s->closed)
		return;
	s->life.over = true;
	ssm_free_if_over(s);
}

static void call_stop(void *arg);

static bool may_repeat(const struct ssm *s, const char *code)
{
	const struct lifecycle *l = &s->life;

	if (strcmp(code, "IncorrectInstanceState") != 0)
		return false;
	return now_ms(s) < (s->closed ? l->closed_ms : l->begun_ms) + CLOSE_MS;
}

static void left_running(struct ssm *s, const struct err *why)
{
	log_error(
		"ssm",
		"%s: instance %s was started by this awsocks and could not be stopped: %s; it goes "
		"on running: aws ec2 stop-instances --region %s --instance-ids %s",
		s->base.name, s->life.id, why->msg, s->region, s->life.id);
}

static void on_stop(void *arg, const char *before, const char *code, const struct err *why)
{
	struct ssm *s = arg;
	struct lifecycle *l = &s->life;

	l->power = NULL;
	if (!before && may_repeat(s, code)) {
		timer_arm(s->loop, &l->idle, STOP_AGAIN_MS, call_stop, s);
		return;
	}
	l->ours = false;
	if (before) {
		log_info("ssm", "%s: instance %s is being stopped", s->base.name, l->id);
		note_remove(&l->note);
	} else {
		left_running(s, why);
		note_leave(&l->note);
	}
	end_stop(s);
}

static void call_stop(void *arg)
{
	struct ssm *s = arg;
	struct lifecycle *l = &s->life;
	struct err e;

	l->power = ec2_power(s->env.api.aws, s->ec2_endpoint, l->id, false, STOP_CALL_MS, on_stop,
			     s, &e);
	if (l->power)
		return;
	left_running(s, &e);
	note_leave(&l->note);
	l->ours = false;
	end_stop(s);
}

/* Unless there is nothing to stop, or the call is under way. */
static void begin_stop(struct ssm *s)
{
	struct lifecycle *l = &s->life;

	if (!l->ours || !l->auto_stop) {
		end_stop(s);
		return;
	}
	l->stopping = true;
	l->begun_ms = now_ms(s);
	call_stop(s);
}

void lifecycle_stop_step(struct ssm *s)
{
	timer_disarm(s->loop, &s->life.poll);
	s->life.progress[0] = '\0';
}

void lifecycle_close(struct ssm *s)
{
	struct lifecycle *l = &s->life;

	l->closed_ms = now_ms(s);
	if (l->power && !l->auto_stop) {
		ec2_power_cancel(l->power);
		l->power = NULL;
	}
	if (l->power || l->stopping) /* what comes of it goes on from there */
		return;
	timer_disarm(s->loop, &l->idle);
	if (l->ours && l->auto_stop)
		log_info("ssm", "%s: stopping instance %s, which was started for this",
			 s->base.name, l->id);
	begin_stop(s);
}
