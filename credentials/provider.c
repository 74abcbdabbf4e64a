/* Dispatch to a source's operations, and the call that most sources share. */
#include "credentials/provider_impl.h"

#include "base/mem.h"

struct provider_call *provider_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	return p->ops->get(p, fn, arg, e);
}

void provider_cancel(struct provider_call *call)
{
	if (call)
		call->provider->ops->cancel(call);
}

void provider_close(struct provider *p)
{
	if (p)
		p->ops->close(p);
}

const char *provider_describe(const struct provider *p)
{
	return p->ops->describe ? p->ops->describe(p) : p->ops->name;
}

void provider_expire(struct provider *p, const struct creds *bad)
{
	if (p->ops->expire)
		p->ops->expire(p, bad);
}

const struct err *provider_error(const struct provider *p)
{
	return p->ops->error ? p->ops->error(p) : NULL;
}

void provider_watch(struct provider *p, provider_changed_fn *fn, void *arg)
{
	if (p->ops->watch)
		p->ops->watch(p, fn, arg);
}

void provider_reload(struct provider *p)
{
	if (p->ops->reload)
		p->ops->reload(p);
}

const struct creds *provider_kept(const struct provider *p)
{
	return p->ops->kept ? p->ops->kept(p) : NULL;
}

struct waiter *waiter_new(struct provider *p, struct loop *loop, struct list *waiting, creds_fn *fn,
			  void *arg, struct err *e)
{
	struct waiter *w = mem_alloc(sizeof(*w));

	if (!w) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	w->base.provider = p;
	w->loop = loop;
	w->fn = fn;
	w->arg = arg;
	list_add_tail(waiting, &w->node);
	return w;
}

static void waiter_free(struct waiter *w)
{
	list_del(&w->node);
	loop_unpost(&w->post);
	creds_unref(w->creds);
	mem_free(w);
}

static void deliver(void *arg)
{
	struct waiter *w = arg;
	struct creds *c = w->creds;
	struct err why = w->why;
	creds_fn *fn = w->fn;
	void *to = w->arg;

	w->creds = NULL;
	waiter_free(w);
	fn(to, c, c ? NULL : &why);
	creds_unref(c);
}

void waiter_answer(struct waiter *w, struct list *answered, struct creds *c, const struct err *why)
{
	list_del(&w->node);
	list_add_tail(answered, &w->node);
	if (c)
		w->creds = creds_ref(c);
	else
		w->why = *why;
	loop_post(w->loop, &w->post, deliver, w);
}

void waiter_cancel(struct provider_call *call)
{
	waiter_free((struct waiter *)call);
}

void waiters_drop(struct list *head)
{
	struct list *node;

	while ((node = list_pop(head)))
		waiter_free(CONTAINER_OF(node, struct waiter, node));
}
