/*
 * A name whose look-up is under way stays; of the others the one that was used longest ago makes
 * room. There is no timer: an old result is noticed when it is asked for.
 */
#include "proxy/udp_names.h"

#include <string.h>

#include "base/mem.h"
#include "net/loop.h"
#include "net/resolve.h"

struct waiting {
	struct list node;
	const struct udp_name *name;
	size_t n;
	uint8_t data[];
};

void udp_names_init(struct udp_names *t, struct loop *l, udp_name_ready_fn *ready, void *arg)
{
	*t = (struct udp_names){ .loop = l, .ready = ready, .arg = arg };
	list_init(&t->names);
	list_init(&t->waiting);
}

/* ---- the queue ---- */

static struct waiting *take(struct udp_names *t, struct waiting *w)
{
	list_del(&w->node);
	t->waiting_count--;
	t->waiting_bytes -= w->n;
	return w;
}

static void drop_oldest(struct udp_names *t)
{
	mem_free(take(t, CONTAINER_OF(t->waiting.next, struct waiting, node)));
	t->dropped++;
}

static int keep(struct udp_names *t, const struct udp_name *name, const uint8_t *p, size_t n,
		struct err *e)
{
	struct waiting *w = mem_alloc(sizeof(*w) + n);

	if (!w)
		return err_set(e, ERR_NOMEM, "UDP datagram");
	while (t->waiting_count >= UDP_WAITING_MAX || t->waiting_bytes + n > UDP_WAITING_BYTES)
		drop_oldest(t);
	w->name = name;
	w->n = n;
	if (n)
		memcpy(w->data, p, n);
	list_add_tail(&t->waiting, &w->node);
	t->waiting_count++;
	t->waiting_bytes += n;
	return 0;
}

/* ---- the names ---- */

static void name_free(struct udp_names *t, struct udp_name *name)
{
	if (name->look_up) {
		net_resolve_cancel(name->look_up);
		t->look_ups--;
	}
	list_del(&name->node);
	mem_free(name);
	t->count--;
}

void udp_names_free(struct udp_names *t)
{
	while (t->waiting_count)
		drop_oldest(t);
	LIST_EACH (it, &t->names)
		name_free(t, CONTAINER_OF(it, struct udp_name, node));
}

static struct udp_name *find(struct udp_names *t, const char *host, uint16_t port)
{
	LIST_EACH (it, &t->names) {
		struct udp_name *name = CONTAINER_OF(it, struct udp_name, node);

		if (name->port == port && strcmp(name->host, host) == 0)
			return name;
	}
	return NULL;
}

struct udp_name *udp_names_find(struct udp_names *t, const char *host, uint16_t port)
{
	struct udp_name *name = find(t, host, port);

	if (!name || name->look_up || name->until_ms <= loop_now_ms(t->loop))
		return NULL;
	list_del(&name->node);
	list_add_tail(&t->names, &name->node);
	return name;
}

/* The callee may make new names and new waiting datagrams; those of this name are its own, since
 * it is known from now on. */
static void release(struct udp_names *t, const struct udp_name *name)
{
	struct list mine, *node;
	char host[HOST_MAX];
	uint16_t port = name->port;

	list_init(&mine);
	memcpy(host, name->host, sizeof(host));
	LIST_EACH (it, &t->waiting) {
		struct waiting *w = CONTAINER_OF(it, struct waiting, node);

		if (w->name == name)
			list_add_tail(&mine, &take(t, w)->node);
	}
	while ((node = list_pop(&mine))) {
		struct waiting *w = CONTAINER_OF(node, struct waiting, node);

		t->ready(t->arg, host, port, w->data, w->n);
		mem_free(w);
	}
}

static void looked_up(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct udp_name *name = arg;
	struct udp_names *t = name->of;

	name->look_up = NULL;
	t->look_ups--;
	name->pick = 0;
	name->count = n < UDP_NAME_ADDRS ? n : UDP_NAME_ADDRS;
	if (n)
		memcpy(name->addr, list, name->count * sizeof(*list));
	else
		name->why = *why;
	name->until_ms = loop_now_ms(t->loop) + (n ? UDP_NAME_MS : UDP_NO_NAME_MS);
	release(t, name);
}

static bool make_room(struct udp_names *t)
{
	if (t->count < UDP_NAMES_MAX)
		return true;
	LIST_EACH (it, &t->names) {
		struct udp_name *name = CONTAINER_OF(it, struct udp_name, node);

		if (name->look_up)
			continue;
		name_free(t, name);
		return true;
	}
	return false;
}

static struct udp_name *name_new(struct udp_names *t, const char *host, uint16_t port,
				 struct err *e)
{
	struct udp_name *name = make_room(t) ? mem_alloc(sizeof(*name)) : NULL;

	if (!name) {
		(void)err_set(e, ERR_NOMEM, "UDP destination");
		return NULL;
	}
	name->of = t;
	name->port = port;
	memcpy(name->host, host, strlen(host) + 1);
	list_add_tail(&t->names, &name->node);
	t->count++;
	return name;
}

static int look_up(struct udp_names *t, struct udp_name *name, struct err *e)
{
	if (t->look_ups >= UDP_LOOKUPS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d names are being looked up",
			       UDP_LOOKUPS_MAX);
	name->look_up = net_resolve(t->loop, name->host, name->port, looked_up, name, e);
	if (!name->look_up)
		return -1;
	t->look_ups++;
	return 0;
}

int udp_names_wait(struct udp_names *t, const char *host, uint16_t port, const uint8_t *p, size_t n,
		   struct err *e)
{
	struct udp_name *name = find(t, host, port);

	if (!name && !(name = name_new(t, host, port, e)))
		return -1;
	if (!name->look_up && look_up(t, name, e))
		return -1;
	return keep(t, name, p, n, e);
}
