/*
 * Which instance is meant, found by what the user knows of it: at the start, and again when AWS
 * says that the one in use is not connected, since an Auto Scaling group, or a person, may
 * have replaced it. An id is taken as it is, unless the instance may have to be started.
 */
#include <string.h>

#include "backend/ssm/lifecycle.h"
#include "backend/ssm/ssm_impl.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "ec2/instance.h"

enum {
	ID_MAX = 400, /* SSM API Reference: Target */
	CANDIDATE_TEXT = 320,
	LIST_TEXT = 190,
	RELOOK_MS = 800 /* sessions ask again after 0.5 s to 8 s */
};

/* --- what the user said --- */

static int copy(char **to, const char *text, struct err *e)
{
	*to = mem_strdup(text);
	return *to || !text ? 0 : err_set(e, ERR_NOMEM, "ssm backend");
}

static int check(const struct ssm_opts *o, struct err *e)
{
	const struct ec2_query *q = &o->target;

	if (!q->id && !q->name && !q->group && !q->address && !q->filter_count)
		return err_set(e, ERR_CONFIG,
			       "which instance? give --instance-id or --name (or put one into the "
			       "profile's section of the configuration)");
	if (q->id && strlen(q->id) > ID_MAX)
		return err_set(e, ERR_CONFIG, "'%.80s' is not an instance id", q->id);
	if (ec2_query_check(q, e) != 0)
		return -1;
	if ((!q->id || o->auto_start) && !o->ec2_endpoint)
		return err_set(e, ERR_INTERNAL, "ssm: no EC2 endpoint to look a name up");
	if (o->auto_start && q->id && ec2_is_foreign(q->id))
		return err_set(e, ERR_CONFIG,
			       "--auto-start: %.80s is no EC2 instance, it cannot be started",
			       q->id);
	return 0;
}

int ssm_target_new(struct ssm *s, const struct ssm_opts *o, struct err *e)
{
	const struct ec2_query *q = &o->target;
	struct ssm_query *own = &s->query;

	if (check(o, e) != 0 || copy(&own->id, q->id, e) != 0)
		return -1;
	if (!q->id && (copy(&own->name, q->name, e) != 0 || copy(&own->group, q->group, e) != 0 ||
		       copy(&own->address, q->address, e) != 0))
		return -1;
	own->filter = mem_alloc((q->filter_count + 1) * sizeof(*own->filter));
	if (!own->filter)
		return err_set(e, ERR_NOMEM, "ssm backend");
	for (size_t i = 0; !q->id && i < q->filter_count; i++) {
		if (copy(&own->filter[i], q->filter[i], e) != 0)
			return -1;
		own->filter_count++;
	}
	own->as_asked = (struct ec2_query){ .id = own->id,
					    .name = own->name,
					    .group = own->group,
					    .address = own->address,
					    .filter = (const char *const *)own->filter,
					    .filter_count = own->filter_count };
	ec2_query_text(&own->as_asked, own->text);
	return 0;
}

void ssm_target_free(struct ssm *s)
{
	struct ssm_query *own = &s->query;

	mem_free(s->choices);
	mem_free(own->id);
	mem_free(own->name);
	mem_free(own->group);
	mem_free(own->address);
	for (size_t i = 0; i < own->filter_count; i++)
		mem_free(own->filter[i]);
	mem_free(own->filter);
}

/* --- one is found --- */

static void fail(struct ssm *s, const struct err *why)
{
	fsm_failed(&s->fsm, s->step, why);
}

static void known(struct ssm *s, const char *id)
{
	str_fmt(s->target, sizeof(s->target), "%s", id);
	fsm_done(&s->fsm, s->step, list_empty(&s->queue) ? FSM_ONLINE : FSM_SESSION);
}

static void take(struct ssm *s, const struct ec2_instance *i)
{
	struct err e;

	str_fmt(s->ssh_env.zone, sizeof(s->ssh_env.zone), "%s", i->zone);
	if (strcmp(i->state, "running") == 0)
		lifecycle_adopt(s, i);
	if (lifecycle_must_wait(s, i)) {
		str_fmt(s->target, sizeof(s->target), "%s", i->id);
		fsm_done(&s->fsm, s->step, FSM_STARTING);
	} else if (strcmp(i->state, "running") != 0) {
		(void)err_set(&e, ERR_TARGET,
			      "instance %s (%s) is %s: start it first, or give --auto-start", i->id,
			      s->query.text, i->state);
		fail(s, &e);
	} else {
		log_info("ssm", "%s: %s: it is %s", s->base.name, s->query.text, i->id);
		known(s, i->id);
	}
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
		take(s, &chosen);
		return;
	}
	(void)err_set(&e, ERR_TARGET, "no instance %s was chosen", s->query.text);
	fail(s, &e);
}

static void describe(const struct ec2_instance *i, char out[static CANDIDATE_TEXT])
{
	const char *const field[] = { i->id, i->name, i->state, i->private_ip, i->zone };
	size_t used = 0;

	out[0] = '\0';
	for (size_t k = 0; k < sizeof(field) / sizeof(*field); k++) {
		if (!*field[k])
			continue;
		(void)str_fmt(out + used, CANDIDATE_TEXT - used, "%s%.64s", used ? " " : "",
			      field[k]);
		used = strlen(out);
	}
}

/* All of them in the log, in the error as many as it holds. */
static void list_candidates(const struct ssm *s, const struct ec2_instance *list, size_t n,
			    char text[static LIST_TEXT])
{
	char one[CANDIDATE_TEXT];
	size_t used = 0, fit = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		describe(&list[i], one);
		log_warn("ssm", "%s: candidate: %s", s->base.name, one);
		if (fit < i ||
		    !str_fmt(text + used, LIST_TEXT - used - 4, "%s%s", i ? ", " : "", one))
			continue;
		fit++;
		used = strlen(text);
	}
	if (fit < n)
		(void)str_fmt(text + used, LIST_TEXT - used, " ...");
}

static void several(struct ssm *s, const struct ec2_instance *list, size_t n)
{
	char text[LIST_TEXT];
	struct err e;

	if (s->choose && (s->choices = mem_alloc(n * sizeof(*list))) != NULL) {
		memcpy(s->choices, list, n * sizeof(*list));
		s->choice_count = n;
		s->choose(s->choose_arg, s->choices, n, on_chosen, s);
		return;
	}
	list_candidates(s, list, n, text);
	(void)err_set(&e, ERR_TARGET, "%zu instances are %.60s: %s; use --instance-id", n,
		      s->query.text, text);
	fail(s, &e);
}

static void on_instances(void *arg, const struct ec2_instance *list, size_t n,
			 const struct err *why)
{
	struct ssm *s = arg;
	struct err e;

	s->looking = NULL;
	if (why) {
		fail(s, why);
	} else if (!list || n == 0) {
		(void)err_set(&e, ERR_TARGET,
			      "no instance in %s is %s: is the region right, and the account?",
			      s->region, s->query.text);
		fail(s, &e);
	} else if (n == 1) {
		take(s, &list[0]);
	} else {
		several(s, list, n);
	}
}

void ssm_look(struct ssm *s, unsigned attempt)
{
	struct err e;

	s->step = attempt;
	if (s->query.id && !lifecycle_needs_state(s)) {
		known(s, s->query.id);
		return;
	}
	s->looking = ec2_find(s->env.api.aws, s->ec2_endpoint, &s->query.as_asked, on_instances, s,
			      &e);
	if (!s->looking)
		fail(s, &e);
}

/* --- looked for again, while sessions wait --- */

static bool waits(const struct ssm *s)
{
	return !s->closed && (s->fsm.state == FSM_SESSION || s->fsm.state == FSM_CONNECTING ||
			      ssm_takes_dials(s));
}

static void moved(struct ssm *s, const struct ec2_instance *i)
{
	log_info("ssm", "%s: %s: it is %s now, and not %s", s->base.name, s->query.text, i->id,
		 s->target);
	str_fmt(s->ssh_env.zone, sizeof(s->ssh_env.zone), "%s", i->zone);
	str_fmt(s->target, sizeof(s->target), "%s", i->id); /* sessions are asked for by this */
	lifecycle_tell(s, i->id, "running, and meant now");
}

static void take_again(struct ssm *s, const struct ec2_instance *i)
{
	bool runs = strcmp(i->state, "running") == 0, same = strcmp(s->target, i->id) == 0;

	if (runs && !same) {
		moved(s, i);
	} else if (!runs && s->life.auto_start && lifecycle_must_wait(s, i)) {
		str_fmt(s->target, sizeof(s->target), "%s", i->id);
		ssm_stop_step(s);
		fsm_done(&s->fsm, s->step, FSM_STARTING);
	} else {
		lifecycle_tell(s, i->id,
			       !runs ? i->state
			       : s->fsm.state == FSM_CONNECTING
				       ? "not connected to SSM yet"
				       : "running, but sessions are still refused");
	}
}

static void on_instances_again(void *arg, const struct ec2_instance *list, size_t n,
			       const struct err *why)
{
	struct ssm *s = arg;

	s->relooking = NULL;
	if (why)
		log_warn("ssm", "%s: %s", s->base.name, why->msg);
	if (why || !waits(s))
		return;
	for (size_t i = 0; i < n; i++) /* of several, one may have been chosen */
		if (n == 1 || strcmp(s->target, list[i].id) == 0) {
			take_again(s, &list[i]);
			return;
		}
	lifecycle_tell(s, s->target,
		       n ? "not connected, and several others match"
			 : "not connected, and no other matches");
}

void ssm_relook(void *arg)
{
	struct ssm *s = arg;
	uint64_t now = loop_now_ms(s->loop);
	struct err e;

	if (s->relooking || now < s->relook_ms || !waits(s) ||
	    (s->query.id && !lifecycle_needs_state(s)))
		return;
	s->relook_ms = now + RELOOK_MS;
	s->relooking = ec2_find(s->env.api.aws, s->ec2_endpoint, &s->query.as_asked,
				on_instances_again, s, &e);
	if (!s->relooking)
		log_warn("ssm", "%s: %s", s->base.name, e.msg);
}

void ssm_stop_relook(struct ssm *s)
{
	if (s->relooking)
		ec2_cancel(s->relooking);
	s->relooking = NULL;
}
