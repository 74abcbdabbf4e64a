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

static int set_field(struct instance *in, const char *key, const char *value, struct err *e)
{
	char *to = strcmp(key, "id") == 0     ? in->id
		   : strcmp(key, "name") == 0 ? in->name
		   : strcmp(key, "ip") == 0   ? in->ip
					      : NULL;

	if (strcmp(key, "state") == 0)
		return set_state(in, value, e);
	if (!to)
		return err_set(e, ERR_USAGE, "'%.40s' is not one of id, name, state, ip", key);
	if (!str_fmt(to, INSTANCE_TEXT, "%s", value))
		return err_set(e, ERR_USAGE, "%s is longer than %d characters", key,
			       INSTANCE_TEXT - 1);
	return 0;
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

int instances_add(struct instances *l, const char *text, struct err *e)
{
	struct instance in = { 0 }, *at;

	if (parse(&in, text, e) != 0)
		return err_wrap(e, "instance '%.60s'", text);
	if (instances_find(l, in.id))
		return err_set(e, ERR_USAGE, "instance %s is given twice", in.id);
	if (l->count == INSTANCES_MAX)
		return err_set(e, ERR_USAGE, "more than %d instances", INSTANCES_MAX);
	if (!in.ip[0])
		(void)str_fmt(in.ip, sizeof(in.ip), "10.0.%u.%u", (unsigned)(l->count / 200),
			      (unsigned)(10 + l->count % 200));
	at = mem_resize(l->at, (l->count + 1) * sizeof(*at));
	if (!at)
		return err_set(e, ERR_NOMEM, "instances");
	l->at = at;
	at[l->count++] = in;
	return 0;
}

const struct instance *instances_find(const struct instances *l, const char *id)
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
