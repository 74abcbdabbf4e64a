/* Credentials that stand somewhere and do not change while we run. */
#include "credentials/provider_impl.h"

#include "base/mem.h"

struct fixed {
	struct provider base;
	struct loop *loop;
	struct creds *creds;
	struct list answered;
};

static struct provider_call *fixed_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct fixed *f = (struct fixed *)p;
	struct waiter *w = waiter_new(p, f->loop, &f->answered, fn, arg, e);

	if (!w)
		return NULL;
	waiter_answer(w, &f->answered, f->creds, NULL);
	return &w->base;
}

static void fixed_close(struct provider *p)
{
	struct fixed *f = (struct fixed *)p;

	waiters_drop(&f->answered);
	creds_unref(f->creds);
	mem_free(f);
}

static const char *fixed_describe(const struct provider *p)
{
	return ((const struct fixed *)p)->creds->source;
}

static const struct provider_ops ops = {
	.name = "static keys",
	.get = fixed_get,
	.cancel = waiter_cancel,
	.close = fixed_close,
	.describe = fixed_describe,
};

struct provider *static_new(struct loop *loop, struct creds *c, struct err *e)
{
	struct fixed *f = mem_alloc(sizeof(*f));

	if (!f) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	f->base.ops = &ops;
	f->loop = loop;
	f->creds = creds_ref(c);
	list_init(&f->answered);
	return &f->base;
}
