#include "backend/ssm/ssh_carrier.h"

#include <string.h>

#include "backend/ssm/ssh_master.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	STAY_MS = 5000, /* without riders: longer than it takes to see that an ssh has died */
	RIDERS_MAX = 8
};

struct ssh_carrier {
	struct list node, riders;
	struct ssh_env *env;
	struct session *session; /* NULL: over */
	unsigned sessions;       /* not freed yet */
	enum api_document document;
	bool up;
	struct loop_timer stay;
	struct loop_post post;
	struct err why;
};

static void open_session(struct ssh_carrier *c);

static struct loop *loop_of(const struct ssh_carrier *c)
{
	return c->env->session->loop;
}

/* --- its end --- */

static void on_post(void *arg)
{
	struct ssh_carrier *c = arg;
	struct ssh_carriers *all = &c->env->carriers;

	if (c->session || c->sessions || !list_empty(&c->riders))
		return;
	timer_disarm(loop_of(c), &c->stay);
	list_del(&c->node);
	mem_free(c);
	if (list_empty(&all->all))
		all->none(all->arg);
}

static void kick(struct ssh_carrier *c)
{
	loop_post(loop_of(c), &c->post, on_post, c);
}

static void on_stay(void *arg)
{
	struct ssh_carrier *c = arg;

	if (c->session)
		session_end(c->session);
}

static void mind_riders(struct ssh_carrier *c)
{
	if (!list_empty(&c->riders) || !c->session)
		timer_disarm(loop_of(c), &c->stay);
	else if (c->document == API_PORT && c->up && !c->env->carriers.closing)
		timer_arm(loop_of(c), &c->stay, STAY_MS, on_stay, c);
	else
		session_end(c->session);
	kick(c);
}

static void tell_ended(struct ssh_carrier *c, const char *aws_code)
{
	LIST_EACH (it, &c->riders) {
		struct ssh_rider *r = CONTAINER_OF(it, struct ssh_rider, node);

		loop_unpost(&r->post);
		r->handler->ended(r->arg, &c->why, aws_code, c->document == API_SSH);
	}
	kick(c);
}

/* --- the session's reports --- */

static void on_active(void *arg)
{
	struct ssh_carrier *c = arg;

	c->up = true;
	LIST_EACH (it, &c->riders) {
		struct ssh_rider *r = CONTAINER_OF(it, struct ssh_rider, node);

		r->handler->active(r->arg);
	}
}

static void on_decided(void *arg, struct stream *s, enum smux_fate fate)
{
	struct ssh_carrier *c = arg;

	if (fate != SMUX_REFUSED)
		return;
	LIST_EACH (it, &c->riders) {
		struct ssh_rider *r = CONTAINER_OF(it, struct ssh_rider, node);

		if (r->stream == s) {
			r->handler->refused(r->arg);
			return;
		}
	}
}

static void on_acked(void *arg)
{
	(void)arg;
}

static void on_changed(void *arg)
{
	struct ssh_carrier *c = arg;

	LIST_EACH (it, &c->riders) {
		struct ssh_rider *r = CONTAINER_OF(it, struct ssh_rider, node);

		r->handler->changed(r->arg);
	}
}

static void on_ended(void *arg, const struct err *why)
{
	struct ssh_carrier *c = arg;
	const char *code = session_aws_code(c->session);
	bool refused = session_document_refused(c->session);

	if (why)
		c->why = *why;
	else
		(void)err_set(&c->why, ERR_CLOSED, "the session has ended");
	c->session = NULL; /* freed by itself */
	if (refused && c->document == API_SSH && !list_empty(&c->riders) &&
	    c->env->document == SSM_DOCUMENT_AUTO) {
		log_info("ssm", "%s: AWS-StartSSHSession is refused (%s): by port forwarding then",
			 c->env->session->target, c->why.msg);
		c->env->document = SSM_DOCUMENT_PORT;
		open_session(c);
		if (c->session)
			return;
		code = "";
	}
	tell_ended(c, code);
}

static void on_freed(void *arg)
{
	struct ssh_carrier *c = arg;

	c->sessions--;
	kick(c);
}

static const struct session_handler session_handler = {
	.active = on_active,
	.decided = on_decided,
	.acked = on_acked,
	.changed = on_changed,
	.ended = on_ended,
	.freed = on_freed,
};

/* c->session NULL: c->why tells. */
static void open_session(struct ssh_carrier *c)
{
	struct session_goal goal = { API_SSH, "localhost", c->env->port };

	if (c->env->document == SSM_DOCUMENT_PORT)
		goal.document = API_PORT;
	c->document = goal.document;
	c->session = session_new(c->env->session, &goal, &session_handler, c, &c->why);
	c->sessions += c->session != NULL;
}

/* --- riders --- */

static size_t riders(const struct ssh_carrier *c)
{
	size_t n = 0;

	for (const struct list *it = c->riders.next; it != &c->riders; it = it->next)
		n++;
	return n;
}

static struct ssh_carrier *one_with_room(const struct ssh_carriers *all)
{
	for (struct list *it = all->all.next; it != &all->all; it = it->next) {
		struct ssh_carrier *c = CONTAINER_OF(it, struct ssh_carrier, node);

		if (c->session && c->up && c->document == API_PORT && session_usable(c->session) &&
		    !session_slow(c->session) && riders(c) < RIDERS_MAX)
			return c;
	}
	return NULL;
}

static struct ssh_carrier *carrier_new(struct ssh_env *env, struct err *e)
{
	struct ssh_carrier *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "ssh session");
		return NULL;
	}
	c->env = env;
	list_init(&c->riders);
	open_session(c);
	if (!c->session) {
		*e = c->why;
		mem_free(c);
		return NULL;
	}
	list_add_tail(&env->carriers.all, &c->node);
	return c;
}

static void on_joined(void *arg)
{
	struct ssh_rider *r = arg;

	r->handler->active(r->arg);
}

int ssh_rider_join(struct ssh_env *env, struct ssh_rider *r,
		   const struct ssh_rider_handler *handler, void *arg, bool share, struct err *e)
{
	struct ssh_carrier *c = share ? one_with_room(&env->carriers) : NULL;

	if (c) {
		log_info("ssm", "%s: another SSH connection on session %s", env->session->target,
			 session_id(c->session));
		loop_post(loop_of(c), &r->post, on_joined, r);
	} else {
		c = carrier_new(env, e);
		if (!c)
			return -1;
	}
	r->carrier = c;
	r->handler = handler;
	r->arg = arg;
	list_add_tail(&c->riders, &r->node);
	mind_riders(c);
	return 0;
}

void ssh_rider_leave(struct ssh_rider *r)
{
	struct ssh_carrier *c = r->carrier;

	if (!c)
		return;
	r->carrier = NULL;
	loop_unpost(&r->post);
	list_del(&r->node);
	mind_riders(c);
}

struct stream *ssh_rider_stream(struct ssh_rider *r, struct err *e)
{
	if (r->carrier && r->carrier->session) {
		r->stream = session_stream(r->carrier->session, e);
		return r->stream;
	}
	(void)err_set(e, ERR_CLOSED, "the session has ended");
	return NULL;
}

struct session *ssh_rider_session(const struct ssh_rider *r)
{
	return r->carrier ? r->carrier->session : NULL;
}

/* --- all of them --- */

void ssh_carriers_init(struct ssh_carriers *all, void (*none)(void *arg), void *arg)
{
	list_init(&all->all);
	all->closing = false;
	all->none = none;
	all->arg = arg;
}

void ssh_carriers_close(struct ssh_carriers *all)
{
	all->closing = true;
	LIST_EACH (it, &all->all)
		mind_riders(CONTAINER_OF(it, struct ssh_carrier, node));
}

void ssh_carriers_drop(struct ssh_carriers *all)
{
	LIST_EACH (it, &all->all) {
		struct ssh_carrier *c = CONTAINER_OF(it, struct ssh_carrier, node);

		if (c->session)
			session_drop(c->session);
	}
}
