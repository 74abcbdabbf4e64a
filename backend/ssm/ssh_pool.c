#include "backend/ssm/ssh_pool_impl.h"

#include <cjson/cJSON.h>

#include "base/mem.h"

enum { CLOSE_MS = 2800, BUSY_RATE = 400000 };

void ssh_pool_want_assign(struct ssh_pool *p)
{
	if (!p->closing)
		loop_post(p->loop, &p->assign, ssh_pool_assign, p);
}

void ssh_pool_assign(void *arg)
{
	struct ssh_pool *p = arg;
	struct member *m = NULL;
	struct err e;

	if (p->closing)
		return;
	while (!list_empty(&p->waiting) && (m = ssh_pool_best_member(p)) != NULL) {
		ssh_pool_open_another(p, m);
		ssh_pool_start_dial(CONTAINER_OF(p->waiting.next, struct ssh_pool_dial, node), m);
	}
	if (list_empty(&p->waiting) || ssh_pool_one_is_coming(p))
		return;
	/* Those that are there have lost their sessions: they leave their places to others, once.
	 */
	if (p->count && (timer_armed(&p->reopen) || p->count >= 2 * p->o.masters))
		return;
	if (ssh_pool_add_member(p, true, &e) == 0)
		return;
	LIST_EACH (it, &p->waiting)
		ssh_pool_fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), &e);
}

/* --- the backend's words --- */

static void on_no_carriers(void *arg)
{
	ssh_pool_maybe_closed(arg);
}

struct ssh_pool *ssh_pool_new(const struct ssh_pool_opts *o, const struct ssh_pool_handler *handler,
			      void *arg, struct err *e)
{
	struct ssh_pool *p = mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "ssh pool");
		return NULL;
	}
	p->o = *o;
	p->o.busy_rate = o->busy_rate ? o->busy_rate : BUSY_RATE;
	p->loop = o->env->session->loop;
	p->handler = handler;
	p->arg = arg;
	list_init(&p->members);
	list_init(&p->waiting);
	list_init(&p->finished);
	ssh_carriers_init(&o->env->carriers, on_no_carriers, p);
	return p;
}

void ssh_pool_discard(struct ssh_pool *p)
{
	mem_free(p);
}

void ssh_pool_maybe_closed(struct ssh_pool *p)
{
	void (*closed)(void *) = p->closed;
	void *arg = p->closed_arg;

	if (!p->closing || !list_empty(&p->members) || !list_empty(&p->finished) ||
	    !list_empty(&p->o.env->carriers.all))
		return;
	timer_disarm(p->loop, &p->close_limit);
	timer_disarm(p->loop, &p->sample);
	timer_disarm(p->loop, &p->reopen);
	loop_unpost(&p->assign);
	loop_unpost(&p->deliver);
	mem_free(p);
	closed(arg);
}

int ssh_pool_open(struct ssh_pool *p, struct err *e)
{
	return p->count ? 0 : ssh_pool_add_member(p, true, e);
}

static unsigned ready_and_lost(const struct ssh_pool *p, unsigned *lost)
{
	unsigned ready = 0;

	*lost = 0;
	for (const struct list *it = p->members.next; it != &p->members; it = it->next) {
		const struct member *m = CONTAINER_OF(it, struct member, node);

		if (m->leaving || !ssh_master_ready(m->master))
			continue;
		ready++;
		*lost += ssh_master_lost(m->master);
	}
	return ready;
}

bool ssh_pool_alive(const struct ssh_pool *p)
{
	unsigned lost;

	return ready_and_lost(p, &lost) > 0;
}

bool ssh_pool_pauses(const struct ssh_pool *p)
{
	return p->count == 0 && timer_armed(&p->reopen);
}

bool ssh_pool_lost(const struct ssh_pool *p)
{
	unsigned lost, ready = ready_and_lost(p, &lost);

	return ready && lost == ready;
}

void ssh_pool_describe(const struct ssh_pool *p, cJSON *sessions)
{
	for (struct list *it = p->members.next; it != &p->members; it = it->next) {
		cJSON *one = cJSON_CreateObject();

		ssh_master_describe(CONTAINER_OF(it, struct member, node)->master, one);
		if (!cJSON_AddItemToArray(sessions, one))
			cJSON_Delete(one);
	}
}

static void on_close_limit(void *arg)
{
	struct ssh_pool *p = arg;

	ssh_carriers_drop(&p->o.env->carriers);
}

void ssh_pool_close(struct ssh_pool *p, void (*closed)(void *arg), void *arg)
{
	struct err e;

	(void)err_set(&e, ERR_CLOSED, "the backend is closing");
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	LIST_EACH (it, &p->waiting)
		ssh_pool_fail_dial(CONTAINER_OF(it, struct ssh_pool_dial, node), &e);
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		LIST_EACH (d, &m->dials)
			ssh_pool_fail_dial(CONTAINER_OF(d, struct ssh_pool_dial, node), &e);
		ssh_master_end(m->master);
	}
	ssh_carriers_close(&p->o.env->carriers);
	timer_arm(p->loop, &p->close_limit, CLOSE_MS, on_close_limit, p);
	ssh_pool_deliver_later(p); /* closed() even if nothing is there */
}
