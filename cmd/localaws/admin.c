#include "cmd/localaws/admin.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

static void put_json(struct reply *r, int status, cJSON *root)
{
	char *text = cJSON_Print(root);

	r->status = status;
	if (!text || buf_addf(&r->body, NULL, "%s\n", text) != 0)
		log_error("http", "out of memory");
	cJSON_free(text);
	cJSON_Delete(root);
}

static void put_error(struct reply *r, int status, const char *text)
{
	cJSON *root = cJSON_CreateObject();

	cJSON_AddStringToObject(root, "error", text);
	put_json(r, status, root);
}

static void get_stats(struct world *w, struct reply *r)
{
	cJSON *root = cJSON_CreateObject(), *api, *op;
	double calls = 0;

#define X(name) cJSON_AddNumberToObject(root, #name, (double)w->stats.name);
	STATS(X)
#undef X
	api = cJSON_AddObjectToObject(root, "api");
	for (size_t i = 0; i < w->apis.count; i++) {
		const struct api_count *c = &w->apis.at[i];

		op = cJSON_AddObjectToObject(api, c->name);
		cJSON_AddNumberToObject(op, "calls", (double)c->calls);
		cJSON_AddNumberToObject(op, "failed", (double)c->failed);
		calls += (double)c->calls;
	}
	cJSON_AddNumberToObject(root, "api_calls", calls);
	put_json(r, 200, root);
}

static void get_faults(const struct world *w, struct reply *r)
{
	cJSON *root = cJSON_CreateObject();

	for (size_t i = 0; i < FAULT_COUNT; i++) {
		const struct fault *f = &w->faults.at[i];

		if (!f->on)
			continue;
		if (fault_rows[i].kind == FAULT_FLAG ||
		    (fault_rows[i].kind == FAULT_TIMES && f->value < 0))
			cJSON_AddBoolToObject(root, fault_rows[i].name, true);
		else
			cJSON_AddNumberToObject(root, fault_rows[i].name, f->value);
	}
	for (size_t i = 0; i < FAULT_PARTS; i++) {
		const struct fault_part *p = &w->faults.part[i];
		char name[80];

		(void)str_fmt(name, sizeof(name), "%.30s:%s", fault_rows[p->id].name, p->where);
		if (p->fault.on && fault_rows[p->id].kind == FAULT_TIMES && p->fault.value < 0)
			cJSON_AddBoolToObject(root, name, true);
		else if (p->fault.on)
			cJSON_AddNumberToObject(root, name, p->fault.value);
	}
	put_json(r, 200, root);
}

static int set_json(struct faults *f, const cJSON *root, struct err *e)
{
	const cJSON *it;
	char text[128];

	cJSON_ArrayForEach(it, root)
	{
		bool fits = true;

		if (cJSON_IsNumber(it))
			fits = str_fmt(text, sizeof(text), "%s=%.17g", it->string, it->valuedouble);
		else if (cJSON_IsTrue(it))
			fits = str_fmt(text, sizeof(text), "%s", it->string);
		else if (cJSON_IsFalse(it) || cJSON_IsNull(it))
			fits = str_fmt(text, sizeof(text), "%s=off", it->string);
		else
			return err_set(e, ERR_USAGE, "%.60s: not a number, true, false or null",
				       it->string);
		if (!fits)
			return err_set(e, ERR_USAGE, "a name is too long");
		if (faults_set(f, text, e) != 0)
			return -1;
	}
	return 0;
}

static int set_lines(struct faults *f, const char *p, size_t n, struct err *e)
{
	char line[128];

	while (n) {
		const char *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end - p) : n;
		const char *text;

		if (len >= sizeof(line))
			return err_set(e, ERR_USAGE, "a line is too long");
		memcpy(line, p, len);
		line[len] = '\0';
		text = str_trim(line);
		if (*text && faults_set(f, text, e) != 0)
			return -1;
		p += len + (end ? 1 : 0);
		n -= len + (end ? 1 : 0);
	}
	return 0;
}

/* All of them, or none when one is wrong. */
static void post_faults(struct world *w, const struct request *q, struct reply *r)
{
	struct faults next = w->faults;
	cJSON *root = cJSON_ParseWithLength((const char *)q->body, q->body_len);
	struct err e = { 0 };
	int failed = cJSON_IsObject(root)
			     ? set_json(&next, root, &e)
			     : set_lines(&next, (const char *)q->body, q->body_len, &e);

	cJSON_Delete(root);
	if (failed) {
		put_error(r, 400, e.msg);
		return;
	}
	world_set_faults(w, &next);
	get_faults(w, r);
}

static cJSON *describe(const struct instance *in)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "id", in->id);
	cJSON_AddStringToObject(o, "name", in->name);
	cJSON_AddStringToObject(o, "state", instance_state_name(in->state));
	cJSON_AddStringToObject(o, "ip", in->ip);
	cJSON_AddStringToObject(o, "account", in->account);
	return o;
}

static void get_instances(struct world *w, struct reply *r)
{
	cJSON *list = cJSON_CreateArray();

	world_settle(w);
	for (size_t i = 0; i < w->instances.count; i++)
		cJSON_AddItemToArray(list, describe(&w->instances.at[i]));
	put_json(r, 200, list);
}

/* The body is the name of an Auto Scaling group. */
static void post_replace(struct world *w, const struct request *q, struct reply *r)
{
	char group[INSTANCE_TEXT];
	struct err e = { 0 };
	size_t old, fresh;
	cJSON *root;

	world_settle(w);
	if (!str_fmt(group, sizeof(group), "%.*s", (int)q->body_len, (const char *)q->body) ||
	    instances_replace(&w->instances, str_trim(group), world_now_ms(w),
			      (uint64_t)fault_value(&w->faults, FAULT_START_DELAY, 0),
			      (uint64_t)fault_value(&w->faults, FAULT_STOP_DELAY, 0), &old, &fresh,
			      &e) != 0) {
		put_error(r, 400, e.msg);
		return;
	}
	sessions_end_of(w, w->instances.at[old].id);
	root = cJSON_CreateObject();
	cJSON_AddItemToObject(root, "old", describe(&w->instances.at[old]));
	cJSON_AddItemToObject(root, "new", describe(&w->instances.at[fresh]));
	put_json(r, 200, root);
}

static bool is(const struct request *q, const char *method, const char *path)
{
	return http1_text_is(q->head->method, method) && http1_text_is(q->path, path);
}

void admin_handle(struct world *w, const struct request *q, struct reply *r)
{
	if (is(q, "GET", "/_localaws/stats"))
		get_stats(w, r);
	else if (is(q, "GET", "/_localaws/faults"))
		get_faults(w, r);
	else if (is(q, "GET", "/_localaws/ssh-keys"))
		put_json(r, 200, ssh_keys_describe(&w->ssh_keys));
	else if (is(q, "GET", "/_localaws/instances"))
		get_instances(w, r);
	else if (is(q, "POST", "/_localaws/replace"))
		post_replace(w, q, r);
	else if (is(q, "POST", "/_localaws/faults"))
		post_faults(w, q, r);
	else if (!sign_in_admin(w, q, r))
		put_error(r, 404,
			  "there are GET /_localaws/stats, GET /_localaws/ssh-keys, GET "
			  "/_localaws/instances, POST /_localaws/replace, GET, POST "
			  "/_localaws/faults, GET, POST /_localaws/device and POST "
			  "/_localaws/login-session");
}
