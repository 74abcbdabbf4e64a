/*
 * What the websockets of one loop share: whom they trust (each CA file is
 * read once, and again when it has changed), masking keys, spare blocks. The
 * context is freed when its last connection has told its end.
 */
#include <string.h>

#include "base/mem.h"
#include "net/ws_impl.h"

static bool is_for(const struct ws_trust *t, const char *ca_file)
{
	const char *has = tls_trust_file(t->tls);

	return has && ca_file ? strcmp(has, ca_file) == 0 : !has && !ca_file;
}

static void trust_free(struct ws_trust *t)
{
	list_del(&t->node);
	tls_trust_free(t->tls);
	mem_free(t);
}

static int new_trust(struct ws_context *c, const char *ca_file, struct ws_trust **out,
		     struct err *e)
{
	struct ws_trust *t = mem_alloc(sizeof(*t));

	if (!t)
		return err_set(e, ERR_NOMEM, "websocket");
	t->tls = tls_trust_new(ca_file, e);
	if (!t->tls) {
		trust_free(t);
		return -1;
	}
	list_add_tail(&c->trusts, &t->node);
	*out = t;
	return 0;
}

int ws_context_trust(struct ws_context *c, const char *ca_file, struct ws_trust **out,
		     struct err *e)
{
	size_t count = 0;

	LIST_EACH (it, &c->trusts) {
		struct ws_trust *t = CONTAINER_OF(it, struct ws_trust, node);

		count++;
		if (!is_for(t, ca_file))
			continue;
		*out = t;
		return tls_trust_refresh(t->tls, e);
	}
	if (count == WS_TRUSTS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d CA files in use", WS_TRUSTS_MAX);
	return new_trust(c, ca_file, out, e);
}

struct ws_context *ws_context_new(struct loop *l, struct err *e)
{
	struct ws_context *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "websocket client");
		return NULL;
	}
	c->loop = l;
	list_init(&c->trusts);
	list_init(&c->all);
	ws_blocks_init(&c->blocks);
	return c;
}

void ws_context_set_egress(struct ws_context *c, struct egress *g)
{
	c->egress = g;
}

static void free_now(void *arg)
{
	struct ws_context *c = arg;
	loop_fn *freed = c->freed;
	void *freed_arg = c->freed_arg;

	LIST_EACH (it, &c->trusts)
		trust_free(CONTAINER_OF(it, struct ws_trust, node));
	ws_blocks_free(&c->blocks);
	mem_wipe(&c->keys, sizeof(c->keys));
	mem_free(c);
	if (freed)
		freed(freed_arg);
}

void ws_context_gone(struct ws_context *c)
{
	if (c->freeing && list_empty(&c->all))
		loop_post(c->loop, &c->post, free_now, c);
}

void ws_context_free(struct ws_context *c, loop_fn *freed, void *arg)
{
	if (!c || c->freeing)
		return;
	c->freeing = true;
	c->freed = freed;
	c->freed_arg = arg;
	LIST_EACH (it, &c->all) {
		CONTAINER_OF(it, struct ws, node)->by_us = true;
		ws_end(CONTAINER_OF(it, struct ws, node), NULL);
	}
	ws_context_gone(c);
}
