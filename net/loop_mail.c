/*
 * Mail from any thread: a stack that senders push to and the loop takes whole,
 * so that neither side ever waits. The stack has the last first; the loop turns
 * it round. The bell (uv_async) is rung by whoever finds the box empty: until the
 * loop has emptied it, one ring does for all.
 */
#include "net/loop_impl.h"

void loop_send(struct loop *to, struct loop_mail *m, loop_fn *fn, void *arg)
{
	struct loop_mail *top = atomic_load_explicit(&to->mail, memory_order_relaxed);

	m->fn = fn;
	m->arg = arg;
	do
		m->next = top;
	while (!atomic_compare_exchange_weak_explicit(&to->mail, &top, m, memory_order_release,
						      memory_order_relaxed));
	if (!top)
		(void)uv_async_send(&to->bell);
}

size_t mail_run(struct loop *l)
{
	struct loop_mail *m = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);
	struct loop_mail *first = NULL, *next;
	size_t n = 0;

	for (; m; m = next) {
		next = m->next;
		m->next = first;
		first = m;
	}
	for (m = first; m; m = next) {
		next = m->next; /* fn may free it */
		m->fn(m->arg);
		n++;
	}
	return n;
}

static void rung(uv_async_t *bell)
{
	(void)mail_run(bell->data);
}

int mail_open(struct loop *l, struct err *e)
{
	int r = uv_async_init(&l->uv, &l->bell, rung);

	if (r != 0)
		return err_sys(e, -r, "event loop");
	l->bell.data = l;
	uv_unref((uv_handle_t *)&l->bell);
	return 0;
}

void mail_close(struct loop *l)
{
	uv_close((uv_handle_t *)&l->bell, NULL);
}
