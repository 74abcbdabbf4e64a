/*
 * What waits for a master, and is told. A dial that fails by itself is put on a list with its
 * reason, and deliver(), a post, tells; so no callback of a dial's owner runs in the middle of a
 * walk over our lists. One that succeeds is told at once, from the master's own callback.
 */
#include "backend/ssm/ssh_pool_impl.h"

#include "base/mem.h"
#include "base/str.h"

static void deliver(void *arg)
{
	struct ssh_pool *p = arg;

	while (!list_empty(&p->finished)) {
		struct ssh_pool_dial *d = CONTAINER_OF(list_pop(&p->finished), struct ssh_pool_dial,
						       node);

		d->done(d->arg, NULL, "", &d->why);
		mem_free(d);
	}
	ssh_pool_maybe_closed(p);
}

void ssh_pool_deliver_later(struct ssh_pool *p)
{
	loop_post(p->loop, &p->deliver, deliver, p);
}

void ssh_pool_fail_dial(struct ssh_pool_dial *d, const struct err *why)
{
	struct ssh_pool *p = d->pool;

	timer_disarm(p->loop, &d->limit);
	if (d->dial)
		ssh_mux_cancel(d->dial);
	d->dial = NULL;
	d->member = NULL;
	d->why = *why;
	list_del(&d->node);
	list_add_tail(&p->finished, &d->node);
	ssh_pool_deliver_later(p);
}

/* Its master has gone while it waited: it is as if it had not been asked. */
static bool retry(struct ssh_pool_dial *d, const struct err *why)
{
	if (why->code != ERR_CLOSED || d->retried || d->pool->closing)
		return false;
	d->retried = true;
	d->dial = NULL;
	d->member = NULL;
	list_del(&d->node);
	list_add_tail(&d->pool->waiting, &d->node);
	ssh_pool_want_assign(d->pool);
	return true;
}

static void on_dialed(void *arg, struct stream *s, const struct err *why)
{
	struct ssh_pool_dial *d = arg;
	char id[API_ID_MAX];

	if (!s && retry(d, why))
		return;
	str_fmt(id, sizeof(id), "%s", ssh_master_session(d->member->master));
	timer_disarm(d->pool->loop, &d->limit);
	list_del(&d->node);
	d->done(d->arg, s, id, why);
	mem_free(d);
}

void ssh_pool_start_dial(struct ssh_pool_dial *d, struct member *m)
{
	struct ssh_pool *p = d->pool;
	struct err e;

	d->dial = ssh_master_dial(m->master, d->host, d->port, on_dialed, d, &e);
	if (!d->dial) {
		ssh_pool_fail_dial(d, &e);
		return;
	}
	d->member = m;
	list_del(&d->node);
	list_add_tail(&m->dials, &d->node);
	timer_disarm(p->loop, &m->idle);
	ssh_pool_watch_rate(m);
}

static void on_dial_limit(void *arg)
{
	struct ssh_pool_dial *d = arg;
	struct err e;

	if (d->member)
		(void)err_set(&e, ERR_TIMEOUT, "sshd did not connect to %s:%u in time", d->host,
			      d->port);
	else if (!session_held(d->pool->o.env->session, &e))
		(void)err_set(&e, ERR_TIMEOUT, "no SSH connection to %s in time",
			      d->pool->o.env->session->target);
	ssh_pool_fail_dial(d, &e);
}

struct ssh_pool_dial *ssh_pool_dial(struct ssh_pool *p, const char *host, uint16_t port,
				    unsigned limit_ms, ssh_pool_done_fn *done, void *arg,
				    struct err *e)
{
	struct ssh_pool_dial *d;

	if (p->closing) {
		(void)err_set(e, ERR_CLOSED, "the backend is closing");
		return NULL;
	}
	d = mem_alloc(sizeof(*d));
	if (!d || !str_fmt(d->host, sizeof(d->host), "%s", host)) {
		(void)(d ? err_set(e, ERR_PROTO, "host name of more than 255 bytes")
			 : err_set(e, ERR_NOMEM, "dial"));
		mem_free(d);
		return NULL;
	}
	d->pool = p;
	d->port = port;
	d->done = done;
	d->arg = arg;
	list_add_tail(&p->waiting, &d->node);
	timer_arm(p->loop, &d->limit, limit_ms, on_dial_limit, d);
	ssh_pool_want_assign(p);
	return d;
}

void ssh_pool_cancel(struct ssh_pool_dial *d)
{
	timer_disarm(d->pool->loop, &d->limit);
	list_del(&d->node);
	if (d->dial)
		ssh_mux_cancel(d->dial);
	mem_free(d);
}
