#include "cmd/localaws/instances.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static const struct {
	const char *name;
	int code;
} states[INSTANCE_STATE_COUNT] = {
	[INSTANCE_PENDING] = { "pending", 0 },
	[INSTANCE_RUNNING] = { "running", 16 },
	[INSTANCE_STOPPING] = { "stopping", 64 },
	[INSTANCE_STOPPED] = { "stopped", 80 },
	[INSTANCE_TERMINATED] = { "terminated", 48 },
	[INSTANCE_SHUTTING_DOWN] = { "shutting-down", 32 },
};

const char *instance_state_name(enum instance_state s)
{
	return states[s].name;
}

int instance_state_code(enum instance_state s)
{
	return states[s].code;
}

static int set_state(struct instance *in, const char *text, struct err *e)
{
	for (int i = 0; i < INSTANCE_STATE_COUNT; i++)
		if (strcmp(text, states[i].name) == 0) {
			in->state = (enum instance_state)i;
			return 0;
		}
	return err_set(e, ERR_USAGE, "'%.40s' is not an instance state", text);
}

static int set_text(char *to, size_t size, const char *key, const char *value, struct err *e)
{
	return str_fmt(to, size, "%s", value)
		       ? 0
		       : err_set(e, ERR_USAGE, "%s is longer than %zu characters", key, size - 1);
}

static int add_tag(struct instance *in, const char *key, const char *value, struct err *e)
{
	struct instance_tag *t = &in->tag[in->tag_count];

	if (in->tag_count == INSTANCE_TAGS)
		return err_set(e, ERR_USAGE, "more than %d tags", INSTANCE_TAGS);
	if (set_text(t->key, sizeof(t->key), "a tag's key", key, e) != 0 ||
	    set_text(t->value, sizeof(t->value), key, value, e) != 0)
		return -1;
	in->tag_count++;
	return 0;
}

static int set_field(struct instance *in, const char *key, const char *value, struct err *e)
{
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {
		{ "id", in->id, sizeof(in->id) },
		{ "name", in->name, sizeof(in->name) },
		{ "ip", in->ip, sizeof(in->ip) },
		{ "zone", in->zone, sizeof(in->zone) },
		{ "launch", in->launch, sizeof(in->launch) },
		{ "account", in->account, sizeof(in->account) },
		{ "region", in->region, sizeof(in->region) },
	};

	if (strcmp(key, "state") == 0)
		return set_state(in, value, e);
	if (strcmp(key, "asg") == 0)
		return add_tag(in, INSTANCE_GROUP_TAG, value, e);
	if (str_starts(key, "tag:") && key[4])
		return add_tag(in, key + 4, value, e);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(key, texts[i].key) == 0)
			return set_text(texts[i].to, texts[i].size, key, value, e);
	return err_set(e, ERR_USAGE,
		       "'%.40s' is not one of id, name, state, ip, zone, launch, account, region, "
		       "asg, tag:KEY",
		       key);
}

/* i- or mi- and 8 or 17 lower-case hexadecimal digits. */
static bool id_ok(const char *id)
{
	size_t n;

	if (str_starts(id, "mi-"))
		id++;
	if (!str_starts(id, "i-"))
		return false;
	id += 2;
	n = strspn(id, "0123456789abcdef");
	return id[n] == '\0' && (n == 8 || n == 17);
}

static int parse(struct instance *in, const char *text, struct err *e)
{
	char part[2 * INSTANCE_TEXT];

	in->state = INSTANCE_RUNNING;
	while (*text) {
		size_t n = strcspn(text, ",");
		char *eq;

		if (n >= sizeof(part))
			return err_set(e, ERR_USAGE, "too long");
		memcpy(part, text, n);
		part[n] = '\0';
		eq = strchr(part, '=');
		if (!eq)
			return err_set(e, ERR_USAGE, "'%.40s' is not KEY=VALUE", part);
		*eq = '\0';
		if (set_field(in, part, eq + 1, e) != 0)
			return -1;
		text += n + (text[n] == ',');
	}
	if (!id_ok(in->id))
		return err_set(e, ERR_USAGE, "id '%.40s' is not like i-0123456789abcdef0", in->id);
	return 0;
}

static void set_defaults(struct instance *in, size_t number)
{
	if (!in->ip[0])
		(void)str_fmt(in->ip, sizeof(in->ip), "10.0.%u.%u", (unsigned)(number / 200),
			      (unsigned)(10 + number % 200));
	if (!in->zone[0])
		(void)str_fmt(in->zone, sizeof(in->zone), "us-east-1a");
	if (!in->account[0])
		(void)str_fmt(in->account, sizeof(in->account), KEYS_ACCOUNT);
	if (!in->launch[0])
		(void)str_fmt(in->launch, sizeof(in->launch), "2026-01-01T00:00:00.000Z");
}

static int append(struct instances *l, const struct instance *in, struct err *e)
{
	struct instance *at;

	if (l->count == INSTANCES_MAX)
		return err_set(e, ERR_USAGE, "more than %d instances", INSTANCES_MAX);
	at = mem_resize(l->at, (l->count + 1) * sizeof(*at));
	if (!at)
		return err_set(e, ERR_NOMEM, "instances");
	l->at = at;
	at[l->count++] = *in;
	return 0;
}

int instances_add(struct instances *l, const char *text, struct err *e)
{
	struct instance in = { 0 };

	if (parse(&in, text, e) != 0)
		return err_wrap(e, "instance '%.60s'", text);
	if (instances_find(l, in.id))
		return err_set(e, ERR_USAGE, "instance %s is given twice", in.id);
	set_defaults(&in, l->count);
	return append(l, &in, e);
}

int instances_copy(struct instances *to, const struct instances *from, struct err *e)
{
	*to = (struct instances){ 0 };
	for (size_t i = 0; i < from->count; i++)
		if (append(to, &from->at[i], e) != 0)
			return -1;
	return 0;
}

struct instance *instances_find(const struct instances *l, const char *id)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->at[i].id, id) == 0)
			return &l->at[i];
	return NULL;
}

void instances_free(struct instances *l)
{
	mem_free(l->at);
	*l = (struct instances){ 0 };
}

const char *instance_tag(const struct instance *in, const char *key)
{
	if (strcmp(key, "Name") == 0)
		return in->name;
	for (size_t i = 0; i < in->tag_count; i++)
		if (strcmp(in->tag[i].key, key) == 0)
			return in->tag[i].value;
	return "";
}

bool instance_is_connected(const struct instance *in, uint64_t now_ms)
{
	return in->state == INSTANCE_RUNNING && now_ms >= in->connect_ms;
}

/* --- changes --- */

static void settle(struct instance *in, uint64_t now_ms, uint64_t connect_delay_ms)
{
	if (!in->change_ms || now_ms < in->change_ms)
		return;
	in->state = in->next;
	if (in->state == INSTANCE_RUNNING)
		in->connect_ms = in->change_ms + connect_delay_ms;
	in->change_ms = 0;
}

void instances_settle(struct instances *l, uint64_t now_ms, uint64_t connect_delay_ms)
{
	for (size_t i = 0; i < l->count; i++)
		settle(&l->at[i], now_ms, connect_delay_ms);
}

void instance_change(struct instance *in, enum instance_state via, enum instance_state to,
		     uint64_t now_ms, uint64_t delay_ms)
{
	in->state = via;
	in->next = to;
	in->change_ms = now_ms + delay_ms;
	if (!in->change_ms)
		in->change_ms = 1;
}

static bool lives(const struct instance *in)
{
	return in->state != INSTANCE_TERMINATED && in->state != INSTANCE_SHUTTING_DOWN;
}

/* An id of the same kind that nobody has. */
static void new_id(const struct instances *l, struct instance *in)
{
	unsigned number = (unsigned)l->count;

	do
		(void)str_fmt(in->id, sizeof(in->id), "i-0a5600000000%05x", number++);
	while (instances_find(l, in->id));
}

int instances_replace(struct instances *l, const char *group, uint64_t now_ms,
		      uint64_t start_delay_ms, uint64_t stop_delay_ms, size_t *old, size_t *fresh,
		      struct err *e)
{
	struct instance next;
	size_t i = 0;

	while (i < l->count && (!lives(&l->at[i]) ||
				strcmp(instance_tag(&l->at[i], INSTANCE_GROUP_TAG), group) != 0))
		i++;
	if (!*group || i == l->count)
		return err_set(e, ERR_USAGE, "no instance of a group '%.60s' lives", group);
	next = l->at[i];
	new_id(l, &next);
	next.ip[0] = '\0';
	set_defaults(&next, l->count);
	(void)str_fmt(next.launch, sizeof(next.launch), "2026-02-01T00:00:00.000Z");
	instance_change(&next, INSTANCE_PENDING, INSTANCE_RUNNING, now_ms, start_delay_ms);
	instance_change(&l->at[i], INSTANCE_SHUTTING_DOWN, INSTANCE_TERMINATED, now_ms,
			stop_delay_ms);
	if (append(l, &next, e) != 0)
		return -1;
	*old = i;
	*fresh = l->count - 1;
	return 0;
}
