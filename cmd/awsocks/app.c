#include "cmd/awsocks/app.h"

#include <cjson/cJSON.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/direct.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/choose.h"
#include "config/options.h"
#include "net/host_guard.h"
#include "net/http.h"
#include "net/tcp.h"
#include "net/ws.h"
#include "proxy/audit.h"
#include "proxy/limits.h"
#include "proxy/proxy.h"

static const struct app_profile *first_profile(const struct app *a)
{
	return a->profile_count ? &a->profile[0] : NULL;
}

static int take_profiles(struct app *a, const struct app_opts *o, struct err *e)
{
	a->profile = mem_alloc(o->profile_count * sizeof(*a->profile));
	if (!a->profile)
		return err_set(e, ERR_NOMEM, "profiles");
	for (size_t i = 0; i < o->profile_count; i++) {
		struct app_profile *p = &a->profile[i];

		if (!str_fmt(p->name, sizeof(p->name), "%s",
			     o->profile[i].name ? o->profile[i].name : ""))
			return err_set(e, ERR_CONFIG, "profile name too long: %.80s",
				       o->profile[i].name);
		p->options = o->profile[i].options;
		a->profile_count++;
	}
	return 0;
}

/* The default of --max-connections follows the limit of open files, which is as it will stay. */
static int make_limits(struct app *a, struct err *e)
{
	const struct options *o = first_profile(a)->options;
	struct limits_opts l = { .total = (size_t)o->max_connections,
				 .per_peer = (size_t)o->max_connections_per_peer };
	struct rlimit files;

	if (!l.total && getrlimit(RLIMIT_NOFILE, &files) == 0)
		l.total = limits_auto(files.rlim_cur < SIZE_MAX ? (size_t)files.rlim_cur
								: SIZE_MAX);
	return limits_new(&a->limits, &l, e);
}

int app_new(struct app **out, const struct app_opts *o, struct err *e)
{
	struct app *a = mem_alloc(sizeof(*a));
	struct direct_opts direct = { 0 };

	*out = NULL;
	if (!a)
		return err_set(e, ERR_NOMEM, "start");
	list_init(&a->listeners);
	if (take_profiles(a, o, e) != 0 || make_limits(a, e) != 0 || loop_new(&a->loop, e) != 0)
		goto fail;
	a->started_ms = loop_now_ms(a->loop);
	a->chooser = chooser_new(a->loop);
	if (o->audit_path && audit_open(&a->audit, o->audit_path, loop_clock(a->loop), e) != 0)
		goto fail;
	direct.loop = a->loop;
	direct.limit_ms = (unsigned)first_profile(a)->options->connect_timeout;
	a->guard = host_guard_new(a->loop, e);
	a->direct = a->guard ? direct_backend_new(&direct, e) : NULL;
	if (!a->direct)
		goto fail;
	*out = a;
	return 0;
fail:
	app_free(a);
	return -1;
}

struct loop *app_loop(struct app *a)
{
	return a->loop;
}

static struct app_profile *find_profile(struct app *a, const char *name)
{
	for (size_t i = 0; i < a->profile_count; i++)
		if (!*name || str_eq_nocase(a->profile[i].name, name))
			return &a->profile[i];
	return NULL;
}

struct backend *app_backend(struct app *a, const struct route *route, struct err *e)
{
	struct app_profile *p;

	switch (route->kind) {
	case ROUTE_DIRECT: return a->direct;
	case ROUTE_PROXY:
		p = find_profile(a, route->profile);
		if (p)
			return p->backend ? p->backend : app_aws_backend(a, p, e);
		(void)err_set(e, ERR_CONFIG, "proxy:%s: no such profile in config.yaml",
			      route->profile);
		return NULL;
	default: (void)err_set(e, ERR_UNSUPPORTED, "vm-direct needs --mode vm"); return NULL;
	}
}

void app_run(struct app *a)
{
	loop_run(a->loop);
}

/* --- stopping, stage by stage ------------------------------------------ */

static void next_stage(struct app *a);

void app_closed_one(struct app *a)
{
	if (--a->pending == 0)
		next_stage(a);
}

static void one_closed(void *arg)
{
	app_closed_one(arg);
}

static void close_backends(struct app *a)
{
	/* One more than there are, so that the last step is always a later one. */
	a->pending = 1;
	for (size_t i = 0; i < a->profile_count; i++)
		if (a->profile[i].backend) {
			a->pending++;
			backend_close(a->profile[i].backend, one_closed, a);
		}
	a->pending++;
	backend_close(a->direct, one_closed, a);
	chooser_free(a->chooser); /* a late answer would find its backend gone */
	a->chooser = NULL;
	one_closed(a);
}

static void close_net(struct app *a)
{
	a->direct = NULL;
	for (size_t i = 0; i < a->profile_count; i++) {
		a->profile[i].backend = NULL;
		app_aws_free(&a->profile[i]);
	}
	http_free(a->http);
	a->http = NULL;
	a->pending = 1;
	if (a->ws) {
		a->pending++;
		ws_context_free(a->ws, one_closed, a);
		a->ws = NULL;
	}
	one_closed(a);
}

static void next_stage(struct app *a)
{
	switch (++a->stage) {
	case APP_CLOSING_BACKENDS: close_backends(a); return;
	case APP_CLOSING_NET: close_net(a); return;
	default: loop_stop(a->loop);
	}
}

void app_stop(struct app *a, unsigned grace_ms)
{
	if (a->stage != APP_RUNNING)
		return;
	a->stage = APP_DRAINING;
	a->pending = 1;
	a->pending += app_listeners_close(a, grace_ms);
	one_closed(a);
}

void app_free(struct app *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->profile_count; i++)
		app_aws_free(&a->profile[i]);
	host_guard_free(a->guard);
	chooser_free(a->chooser);
	audit_close(a->audit);
	loop_free(a->loop);
	limits_free(a->limits);
	mem_free(a->profile);
	mem_free(a);
}

int app_reopen_logs(struct app *a, struct err *e)
{
	return a->audit ? audit_reopen(a->audit, e) : 0;
}

/* --- status -------------------------------------------------------------- */

static void describe_profile(const struct app_profile *p, struct cJSON *array)
{
	struct cJSON *o = cJSON_CreateObject();
	char name[80];

	(void)str_fmt(name, sizeof(name), *p->name ? "proxy:%s" : "proxy", p->name);
	cJSON_AddStringToObject(o, "name", name);
	if (p->backend)
		backend_describe(p->backend, o);
	else
		cJSON_AddStringToObject(o, "state", backend_state_name(BACKEND_IDLE));
	cJSON_AddItemToArray(array, o);
}

void app_describe(struct app *a, struct cJSON *into)
{
	uint64_t up_s = (loop_now_ms(a->loop) - a->started_ms) / 1000;
	struct cJSON *listeners, *backends;
	size_t connections = 0;

	LIST_EACH (node, &a->listeners)
		connections += proxy_clients(CONTAINER_OF(node, struct app_listener, node)->proxy);
	cJSON_AddStringToObject(into, "version", AWSOCKS_VERSION);
	cJSON_AddNumberToObject(into, "pid", getpid());
	cJSON_AddNumberToObject(into, "uptime_s", (double)up_s);
	cJSON_AddNumberToObject(into, "connections", (double)connections);
	cJSON_AddNumberToObject(into, "connections_total", (double)a->accepted);
	listeners = cJSON_AddArrayToObject(into, "listeners");
	app_describe_listeners(a, listeners);
	backends = cJSON_AddArrayToObject(into, "backends");
	for (size_t i = 0; i < a->profile_count; i++)
		describe_profile(&a->profile[i], backends);
}

void app_describe_listeners(struct app *a, struct cJSON *array)
{
	LIST_EACH (node, &a->listeners) {
		const struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);
		const struct addr *at = l->socket ? listen_addr(l->socket) : &l->address;
		struct cJSON *o;
		char text[ADDR_TEXT];

		if (!at->len) /* app_serve_pair() */
			continue;
		o = cJSON_CreateObject();
		addr_format(at, text);
		cJSON_AddStringToObject(o, "name", l->name);
		cJSON_AddStringToObject(o, "address", text);
		cJSON_AddNumberToObject(o, "port", addr_port(at));
		cJSON_AddBoolToObject(o, "open", l->socket != NULL);
		cJSON_AddItemToArray(array, o);
	}
}
