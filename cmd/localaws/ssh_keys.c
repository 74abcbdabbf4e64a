#include "cmd/localaws/ssh_keys.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/ready.h"
#include "cmd/localaws/world.h"

struct ssh_key {
	struct list node; /* in the order of their end */
	char instance[INSTANCE_TEXT], user[SSH_USER_TEXT], key[SSH_KEY_TEXT];
	uint64_t until_ms;
};

static struct ssh_key *of(struct list *node)
{
	return CONTAINER_OF(node, struct ssh_key, node);
}

static void drop(struct ssh_keys *k, struct ssh_key *one)
{
	list_del(&one->node);
	mem_free(one);
	k->count--;
}

static int write_file(const struct ssh_keys *k)
{
	struct err e = { 0 };
	struct buf b;
	int failed = 0;

	if (!k->w->opts->authorized_keys)
		return 0;
	buf_init(&b, (size_t)SSH_KEYS_MAX * (SSH_KEY_TEXT + 1) + 1);
	LIST_EACH (it, &k->all)
		failed = failed || buf_addf(&b, &e, "%s\n", of(it)->key) != 0;
	failed = failed || buf_add(&b, "", 1, &e) != 0 ||
		 ready_write_file(k->w->opts->authorized_keys, (const char *)buf_ptr(&b), &e) != 0;
	buf_free(&b);
	if (failed)
		log_error("eic", "%s", e.msg);
	return failed ? -1 : 0;
}

static void on_expiry(void *arg)
{
	struct ssh_keys *k = arg;
	uint64_t now = world_now_ms(k->w);

	LIST_EACH (it, &k->all)
		if (of(it)->until_ms <= now)
			drop(k, of(it));
	if (k->count)
		timer_arm(k->w->loop, &k->expiry, of(k->all.next)->until_ms - now, on_expiry, k);
	(void)write_file(k);
}

void ssh_keys_init(struct ssh_keys *k, struct world *w)
{
	*k = (struct ssh_keys){ .w = w };
	list_init(&k->all);
}

void ssh_keys_free(struct ssh_keys *k)
{
	if (!k->w)
		return;
	timer_disarm(k->w->loop, &k->expiry);
	LIST_EACH (it, &k->all)
		drop(k, of(it));
}

static void forget_same(struct ssh_keys *k, const struct ssh_key *like)
{
	LIST_EACH (it, &k->all)
		if (strcmp(of(it)->key, like->key) == 0 && strcmp(of(it)->user, like->user) == 0 &&
		    strcmp(of(it)->instance, like->instance) == 0)
			drop(k, of(it));
	if (k->count == SSH_KEYS_MAX)
		drop(k, of(k->all.next));
}

int ssh_keys_push(struct ssh_keys *k, const char *instance, const char *user, const char *key)
{
	struct ssh_key *one = mem_alloc(sizeof(*one));

	if (!one)
		return -1;
	(void)str_fmt(one->instance, sizeof(one->instance), "%s", instance);
	(void)str_fmt(one->user, sizeof(one->user), "%s", user);
	(void)str_fmt(one->key, sizeof(one->key), "%s", key);
	one->until_ms = world_now_ms(k->w) + SSH_KEY_LIFE_MS;
	forget_same(k, one);
	list_add_tail(&k->all, &one->node);
	k->count++;
	if (!timer_armed(&k->expiry))
		timer_arm(k->w->loop, &k->expiry, SSH_KEY_LIFE_MS, on_expiry, k);
	return write_file(k);
}

cJSON *ssh_keys_describe(const struct ssh_keys *k)
{
	uint64_t now = world_now_ms(k->w);
	cJSON *list = cJSON_CreateArray();

	LIST_EACH (it, &k->all) {
		const struct ssh_key *one = of(it);
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "instance", one->instance);
		cJSON_AddStringToObject(o, "user", one->user);
		cJSON_AddStringToObject(o, "key", one->key);
		cJSON_AddNumberToObject(o, "left_ms",
					one->until_ms > now ? (double)(one->until_ms - now) : 0);
		if (!cJSON_AddItemToArray(list, o))
			cJSON_Delete(o);
	}
	return list;
}
