/* What `awsocks status` and the ready file say. Counters of other threads are read as they are. */
#include <cjson/cJSON.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/mfa.h"
#include "net/egress.h"
#include "net/tcp.h"
#include "proxy/audit.h"
#include "proxy/auth.h"
#include "proxy/limits.h"

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
	app_creds_describe(p, o);
	cJSON_AddItemToArray(array, o);
}

/* Adds to the sums. */
static void describe_worker(struct worker *w, struct cJSON *array, double *now, double *total)
{
	struct cJSON *o = cJSON_CreateObject();
	double connected = (double)atomic_load(&w->connected);
	double accepted = (double)atomic_load(&w->accepted);

	cJSON_AddNumberToObject(o, "worker", w->index);
	cJSON_AddNumberToObject(o, "connections", connected);
	cJSON_AddNumberToObject(o, "connections_total", accepted);
	cJSON_AddNumberToObject(o, "handed_over", (double)atomic_load(&w->handed_over));
	cJSON_AddItemToArray(array, o);
	*now += connected;
	*total += accepted;
}

/* Limits that there are none of are left out. */
static void describe_limits(const struct limits_count *n, struct cJSON *o)
{
	if (n->most)
		cJSON_AddNumberToObject(o, "max_connections", (double)n->most);
	if (n->per_peer)
		cJSON_AddNumberToObject(o, "max_per_peer", (double)n->per_peer);
}

static void describe_audit(struct audit *audit, struct cJSON *into)
{
	struct cJSON *o = cJSON_AddObjectToObject(into, "audit");
	struct audit_counts n = audit_counts(audit);

	cJSON_AddStringToObject(o, "path", audit_path(audit));
	cJSON_AddNumberToObject(o, "lines", (double)n.lines);
	cJSON_AddNumberToObject(o, "lost", (double)n.lost);
	cJSON_AddNumberToObject(o, "rotated", (double)n.rotated);
}

void app_describe(struct app *a, struct cJSON *into)
{
	uint64_t up_s = (loop_now_ms(a->loop) - a->started_ms) / 1000;
	struct cJSON *listeners, *backends, *workers = cJSON_CreateArray();
	struct limits_count limits = limits_count(a->limits);
	double connections = 0, total = 0;

	for (size_t i = 0; i < a->workers; i++)
		describe_worker(a->worker[i], workers, &connections, &total);
	cJSON_AddStringToObject(into, "version", AWSOCKS_VERSION);
	cJSON_AddNumberToObject(into, "pid", getpid());
	cJSON_AddNumberToObject(into, "uptime_s", (double)up_s);
	cJSON_AddNumberToObject(into, "connections", connections);
	cJSON_AddNumberToObject(into, "connections_total", total);
	describe_limits(&limits, into);
	cJSON_AddNumberToObject(into, "workers", (double)a->workers);
	cJSON_AddItemToObject(into, "per_worker", workers);
	if (a->worker[0]->upstream)
		cJSON_AddStringToObject(into, "upstream_proxy",
					egress_proxy_name(a->worker[0]->upstream));
	app_vm_describe(a, into);
	listeners = cJSON_AddArrayToObject(into, "listeners");
	app_describe_listeners(a, listeners);
	if (a->audit)
		describe_audit(a->audit, into);
	if (a->mfa)
		mfa_describe(a->mfa, cJSON_AddArrayToObject(into, "mfa"));
	backends = cJSON_AddArrayToObject(into, "backends");
	for (size_t i = 0; i < a->profile_count; i++)
		describe_profile(&a->profile[i], backends);
}

/* Of all workers. */
static void describe_counts(const struct app_listener *l, struct cJSON *o)
{
	double accepted = 0, away = 0, allowed = 0, blocked = 0, refused = 0;

	for (size_t i = 0; i < l->app->workers; i++) {
		const struct proxy_counts *n = &l->seat[i].counts;

		accepted += (double)atomic_load(&n->accepted);
		away += (double)atomic_load(&n->turned_away);
		allowed += (double)atomic_load(&n->allowed);
		blocked += (double)atomic_load(&n->blocked);
		refused += (double)atomic_load(&n->refused);
	}
	cJSON_AddNumberToObject(o, "accepted", accepted);
	cJSON_AddNumberToObject(o, "turned_away", away);
	cJSON_AddNumberToObject(o, "allowed", allowed);
	cJSON_AddNumberToObject(o, "blocked", blocked);
	cJSON_AddNumberToObject(o, "refused", refused - away);
}

static void describe_allow(const struct app_listener *l, struct cJSON *o)
{
	struct cJSON *array = l->allow_count ? cJSON_AddArrayToObject(o, "allow_from") : NULL;

	for (size_t i = 0; i < l->allow_count; i++)
		cJSON_AddItemToArray(array, cJSON_CreateString(l->allow_text[i]));
}

static void describe_uids(const struct app_listener *l, struct cJSON *o)
{
	struct cJSON *array = l->allow_uid_count ? cJSON_AddArrayToObject(o, "allow_uid") : NULL;
	char text[21];

	for (size_t i = 0; i < l->allow_uid_count; i++) {
		(void)str_decimal((uint64_t)l->allow_uid[i], text);
		cJSON_AddItemToArray(array, cJSON_CreateString(text));
	}
}

void app_describe_listeners(struct app *a, struct cJSON *array)
{
	LIST_EACH (node, &a->listeners) {
		const struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);
		const struct listen_socket *socket = l->seat[0].socket;
		const struct addr *at = socket ? listen_addr(socket) : &l->address;
		struct limits_count limits = limits_listener_count(l->limits);
		struct cJSON *o;
		char text[ADDR_TEXT];

		if (!at->len) /* app_serve_pair() */
			continue;
		o = cJSON_CreateObject();
		addr_format(at, text);
		cJSON_AddStringToObject(o, "name", l->name);
		cJSON_AddStringToObject(o, "address", text);
		cJSON_AddNumberToObject(o, "port", addr_port(at));
		cJSON_AddBoolToObject(o, "open", socket && !listen_is_gone(socket));
		cJSON_AddNumberToObject(o, "connections", (double)limits.served);
		describe_limits(&limits, o);
		describe_counts(l, o);
		cJSON_AddBoolToObject(o, "guarded", l->guarded);
		describe_allow(l, o);
		if (l->rules)
			l->rules(l->router_arg, cJSON_AddArrayToObject(o, "rules"));
		if (l->given)
			cJSON_AddBoolToObject(o, "activated", true);
		describe_uids(l, o);
		if (l->users)
			cJSON_AddNumberToObject(o, "users", (double)auth_users_count(l->users));
		cJSON_AddItemToArray(array, o);
	}
}
