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

/* --- sources that ask somebody --- */

static const struct source_ops *ops_of(const struct provider *p)
{
	return (const struct source_ops *)p->ops; /* .base is the first member */
}

static void drop(struct source_call *call)
{
	const struct source_ops *ops = ops_of(call->base.provider);

	list_del(&call->node);
	if (ops->drop)
		ops->drop(call);
	mem_free(call);
}

struct provider_call *source_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct source_call *call = mem_alloc(ops_of(p)->call_size);

	if (!call) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	call->base.provider = p;
	call->fn = fn;
	call->arg = arg;
	list_add_tail(&((struct source *)p)->calls, &call->node);
	if (ops_of(p)->begin(call, e) == 0)
		return &call->base;
	drop(call);
	return NULL;
}

void source_cancel(struct provider_call *call)
{
	drop((struct source_call *)call);
}

void source_close(struct provider *p)
{
	struct source *s = (struct source *)p;

	while (!list_empty(&s->calls))
		drop(CONTAINER_OF(s->calls.next, struct source_call, node));
	ops_of(p)->free(p);
	mem_free(s->words);
	mem_free(s);
}

const char *source_describe(const struct provider *p)
{
	const char *words = ((const struct source *)p)->words;

	return words ? words : p->ops->name;
}

void *source_new(size_t size, const struct source_ops *ops, struct err *e)
{
	struct source *s = mem_alloc(size);

	if (!s) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	s->base.ops = &ops->base;
	list_init(&s->calls);
	return s;
}

void source_end(struct source_call *call, struct creds *c, const struct err *why)
{
	struct err e = c ? (struct err){ 0 } : *why; /* it may be the call's */
	creds_fn *fn = call->fn;
	void *arg = call->arg;

	drop(call);
	fn(arg, c, c ? NULL : &e);
	creds_unref(c);
}

void source_fail(struct source_call *call, const struct err *why)
{
	const struct source *s = (const struct source *)call->base.provider;
	struct err e = *why;

	if (s->words)
		(void)err_wrap(&e, "%s", s->words);
	source_end(call, NULL, &e);
}

/* --- calls that wait for an answer from elsewhere in their file --- */

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
