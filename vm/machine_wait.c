/*
 * Those that wait for the machine. Each is told once and from a turn of its own, whatever it then
 * does to the machine or to the others.
 */
#include "base/mem.h"
#include "vm/machine_impl.h"

enum { UNKNOWN_BOOT_MS = 1000 };

struct machine_wait {
	struct list node;
	struct machine *m;
	struct loop_timer limit;
	unsigned limit_ms;
	void (*waited)(void *arg, const struct err *why);
	void *arg;
	bool failed;
	struct err why;
};

static void wait_free(struct machine_wait *w)
{
	timer_disarm(w->m->loop, &w->limit);
	list_del(&w->node);
	mem_free(w);
}

static void deliver(void *arg)
{
	struct machine *m = arg;
	void (*waited)(void *, const struct err *);
	struct machine_wait *w;
	struct err why;
	bool failed;
	void *to;

	if (list_empty(&m->told))
		return;
	w = CONTAINER_OF(m->told.next, struct machine_wait, node);
	if (m->told.next->next != &m->told)
		loop_post(m->loop, &m->deliver, deliver, m);
	waited = w->waited;
	to = w->arg;
	why = w->why;
	failed = w->failed;
	wait_free(w);
	waited(to, failed ? &why : NULL);
}

static void tell(struct machine_wait *w, const struct err *why)
{
	struct machine *m = w->m;

	timer_disarm(m->loop, &w->limit);
	w->failed = why != NULL;
	if (why)
		w->why = *why;
	list_del(&w->node);
	list_add_tail(&m->told, &w->node);
	loop_post(m->loop, &m->deliver, deliver, m);
}

void machine_tell_waits(struct machine *m, const struct err *why)
{
	LIST_EACH (node, &m->waits)
		tell(CONTAINER_OF(node, struct machine_wait, node), why);
}

static void limit_over(void *arg)
{
	struct machine_wait *w = arg;
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "the VM did not run within %u ms (%s%s%s)", w->limit_ms,
		      machine_state_name(w->m->state), w->m->why.code ? "; the last failure: " : "",
		      w->m->why.code ? w->m->why.msg : "");
	tell(w, &why);
}

/* What a boot takes, as far as is known. */
static uint64_t boot_takes(const struct machine *m)
{
	return m->ever_ran ? m->boot_took_ms : UNKNOWN_BOOT_MS;
}

/* Is there no use in waiting? */
static bool is_hopeless(const struct machine *m, unsigned limit_ms, struct err *why)
{
	if (m->closed) {
		(void)err_set(why, ERR_CLOSED, "the VM is being closed");
		return true;
	}
	if (m->halted && !m->start_again) {
		(void)err_set(why, ERR_CLOSED,
			      "the VM was stopped by command: awsocks vm start starts it");
		return true;
	}
	/* A limit like the longest pause would be waited for in vain, and the reason be lost. */
	if (m->state != MACHINE_FAILED ||
	    m->pause_until_ms + boot_takes(m) <= loop_now_ms(m->loop) + limit_ms)
		return false;
	*why = m->why;
	return true;
}

struct machine_wait *machine_wait(struct machine *m, unsigned limit_ms,
				  void (*waited)(void *arg, const struct err *why), void *arg,
				  struct err *e)
{
	struct machine_wait *w = mem_alloc(sizeof(*w));
	struct err why;

	if (!w) {
		(void)err_set(e, ERR_NOMEM, "VM");
		return NULL;
	}
	w->m = m;
	w->limit_ms = limit_ms;
	w->waited = waited;
	w->arg = arg;
	list_add_tail(&m->waits, &w->node);
	if (m->state == MACHINE_RUNNING) {
		tell(w, NULL);
	} else if (is_hopeless(m, limit_ms, &why)) {
		tell(w, &why);
	} else {
		timer_arm(m->loop, &w->limit, limit_ms, limit_over, w);
		machine_start(m, false);
	}
	return w;
}

void machine_wait_cancel(struct machine_wait *w)
{
	wait_free(w);
}
