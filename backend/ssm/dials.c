/*
 * The dials of one backend: admitted up to a ceiling, queued while it is not ready
 * (each with its own limit), handed to the pool when it is, told of their end on a
 * later turn.
 */
#include "backend/ssm/ssm_impl.h"

#include <string.h>

#include "backend/ssm/pool.h"
#include "backend/ssm/ssh_pool.h"
#include "base/mem.h"
#include "base/str.h"

enum { WAIT_IN_PAUSE_MS = 5000 /* a longer pause fails the dial at once */ };

bool ssm_takes_dials(const struct ssm *s)
{
	return s->fsm.state == FSM_ACTIVE || s->fsm.state == FSM_TRANSITIONING;
}

static void free_dial(struct ssm_dial *d)
{
	struct ssm *s = d->ssm;

	timer_disarm(s->loop, &d->limit);
	loop_unpost(&d->post);
	list_del(&d->node);
	if (d->pool)
		pool_cancel(d->pool);
	if (d->ssh)
		ssh_pool_cancel(d->ssh);
	if (d->lone)
		lone_cancel(d->lone);
	s->dials--;
	mem_free(d);
	ssm_free_if_over(s);
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
	const char *progress = d->ssm->life.progress;
	struct err e;

	if (session_held(&d->ssm->env, &e))
		(void)err_wrap(&e, "%s: after %u s", d->ssm->base.name, d->ssm->dial_ms / 1000);
	else
		(void)err_set(&e, ERR_TIMEOUT, "%s is still initialising (%s%s%s) after %u s",
			      d->ssm->base.name, fsm_name(d->ssm->fsm.state), *progress ? ": " : "",
			      progress, d->ssm->dial_ms / 1000);
	fail_dial(d, &e);
}

static void hand_over(struct ssm_dial *d);

/* Port sessions turned out to be of no use while it waited for one. */
static bool goes_by_ssh_now(const struct ssm_dial *d, const struct err *why)
{
	return d->ssm->by_ssh && !d->by_ssh && !ssm_is_of_one_host(why->code) &&
	       ssm_takes_dials(d->ssm) && loop_now_ms(d->ssm->loop) < d->end_ms;
}

static void on_stream(void *arg, struct stream *stream, const char *id, const struct err *why)
{
	struct ssm_dial *d = arg;
	struct dialed done = { .stream = stream };

	d->pool = NULL; /* its life ends with this call */
	d->ssh = NULL;
	d->lone = NULL;
	if (!stream && goes_by_ssh_now(d, why)) {
		hand_over(d);
		return;
	}
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
	d->by_ssh = ssm_dial_by_ssh(s, d->host, d->port);
	if (s->transport == SSM_SESSION)
		d->lone = lone_dial(s, d->port, left, on_stream, d, &e);
	else if (d->by_ssh)
		d->ssh = ssh_pool_dial(s->ssh, d->host, d->port, left, on_stream, d, &e);
	else
		d->pool = pool_dial(s->pool, d->host, d->port, left, on_stream, d, &e);
	if (!d->pool && !d->ssh && !d->lone)
		fail_dial(d, &e);
}

static void on_wake(void *arg)
{
	struct ssm *s = arg;

	fsm_wake(&s->fsm);
}

void ssm_want_wake(struct ssm *s)
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

struct dial *ssm_dial(struct backend *b, const struct dest *dest, dialed_fn *done, void *arg,
		      struct err *e)
{
	struct ssm *s = CONTAINER_OF(b, struct ssm, base);
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
	if (ssm_takes_dials(s)) {
		hand_over(d);
	} else {
		timer_arm(s->loop, &d->limit, s->dial_ms, on_dial_limit, d);
		ssm_want_wake(s);
	}
	return &d->base;
}

void ssm_cancel(struct dial *dial)
{
	free_dial(CONTAINER_OF(dial, struct ssm_dial, base));
}

void ssm_hand_over(struct ssm *s)
{
	while (!list_empty(&s->queue))
		hand_over(CONTAINER_OF(s->queue.next, struct ssm_dial, node));
}

void ssm_fail_queue(struct ssm *s, const struct err *why)
{
	LIST_EACH (it, &s->queue)
		fail_dial(CONTAINER_OF(it, struct ssm_dial, node), why);
}
