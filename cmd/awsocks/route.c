/*
 * `awsocks route HOST[:PORT]`: which rule decides, and what would follow. Reads files
 * and decides with the very functions that the proxy uses; contacts nobody.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/listener_pick.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/rules.h"
#include "cmd/awsocks/upstream.h"
#include "net/addr.h"
#include "routing/host.h"
#include "routing/policy.h"

const struct arg_opt route_options[] = {
	{ "json", 0, NULL, NULL, NULL, "One JSON object." },
	{ "listener", 0, "NAME", NULL, NULL,
	  "Decide as this listener does: its name or address in config.yaml, or a --listen "
	  "address." },
	{ "profile", 0, "NAME", NULL, NULL, "Decide as `awsocks start NAME` does." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

enum { DEFAULT_PORT = 443 };

struct asked {
	struct host host;
	uint16_t port;
	bool json;
	const char *listener, *profile;
};

struct answer {
	struct decision decision;
	struct policy policy;
	char route[80], listener[ADDR_TEXT];
	const char *resolver, *init;
	char fallback[80];  /* "none" */
	char upstream[264]; /* the proxy that direct takes; "": none */
};

/* "host", "host:port", "[v6]:port", "v6". */
static int parse_target(const char *text, struct asked *a, struct err *e)
{
	const char *colon = strrchr(text, ':');
	bool bracket = *text == '[';
	uint64_t port = DEFAULT_PORT;
	size_t n = strlen(text);

	if (strstr(text, "://"))
		return err_set(e, ERR_USAGE, "'%.80s' is a URL: write HOST or HOST:PORT", text);
	if (colon && (bracket ? colon > strchr(text, ']') : strchr(text, ':') == colon)) {
		if (str_number(colon + 1, 1, 65535, &port, NULL) != 0)
			return err_set(e, ERR_USAGE, "'%.80s': the port must be 1 to 65535", text);
		n = (size_t)(colon - text);
	}
	a->port = (uint16_t)port;
	if (host_normalize(text, n, &a->host, e) == 0)
		return 0;
	e->code = ERR_USAGE;
	return -1;
}

/* ---- which listener ---- */

static bool plain_loopback(const char *address)
{
	struct addr at;

	return !str_starts(address, "unix:") && addr_parse(address, &at, NULL) == 0 &&
	       addr_is_loopback(&at);
}

/* What a --listen address means for the rules and the guard. */
static void take_address(const char *address, struct rule_request *q, struct answer *a)
{
	q->project = plain_loopback(address);
	a->policy.guarded = !plain_loopback(address);
	(void)str_fmt(a->listener, sizeof(a->listener), "%s", address);
}

/* wanted: as --listener gives it; NULL: the default one. */
static int choose_listener(const struct setup *s, const char *wanted, struct rule_request *q,
			   struct answer *a, struct err *e)
{
	struct listener_pick pick;
	const struct config_listener *l;

	if (listener_pick(s, wanted, &pick, e) != 0)
		return -1;
	take_address(pick.address, q, a);
	l = pick.config;
	if (!l)
		return 0;
	q->listener_rules = l->rules;
	if (l->guard != GUARD_AUTO)
		a->policy.guarded = l->guard == GUARD_ON;
	if (l->name)
		(void)str_fmt(a->listener, sizeof(a->listener), "%s", l->name);
	return 0;
}

/* ---- what follows ---- */

static int complete(struct answer *a, const struct asked *q, const struct options *o, struct err *e)
{
	static const char *const resolvers[] = { "agent", "host", "vm", "none" };
	const struct decision *d = &a->decision;
	struct route to;

	a->policy = rules_policy(o, a->policy.guarded);
	route_format(&d->route, a->route);
	if (d->route.kind == ROUTE_DIRECT &&
	    upstream_of(o, q->host.text, q->port, a->upstream, e) != 0)
		return -1;
	a->resolver = q->host.is_address                   ? "none"
		      : *a->upstream && !a->policy.guarded ? "upstream"
							   : resolvers[d->route.kind];
	a->init = d->route.kind != ROUTE_PROXY || !o->lazy
			  ? "none"
			  : policy_init_name(policy_while_initializing(d, &a->policy));
	if (policy_falls_back(d, ERR_HOSTUNREACH, &a->policy, &to))
		route_format(&to, a->fallback);
	else
		(void)str_fmt(a->fallback, sizeof(a->fallback), "none");
	return 0;
}

static int print_json(const struct asked *q, const struct answer *a)
{
	struct cJSON *o = cJSON_CreateObject();
	const struct decision *d = &a->decision;
	bool ok = cJSON_AddStringToObject(o, "host", q->host.text) &&
		  cJSON_AddNumberToObject(o, "port", q->port) &&
		  cJSON_AddStringToObject(o, "route", a->route) &&
		  cJSON_AddStringToObject(
			  o, "rule", d->by == ROUTE_BY_RULE ? d->origin : route_by_name(d->by)) &&
		  cJSON_AddStringToObject(o, "origin", d->origin) &&
		  cJSON_AddStringToObject(o, "pattern", d->pattern) &&
		  (!d->reason || cJSON_AddStringToObject(o, "reason", d->reason)) &&
		  cJSON_AddStringToObject(o, "listener", a->listener) &&
		  cJSON_AddStringToObject(o, "resolver", a->resolver) &&
		  (!*a->upstream || cJSON_AddStringToObject(o, "upstream_proxy", a->upstream)) &&
		  cJSON_AddStringToObject(o, "while_initializing", a->init) &&
		  cJSON_AddStringToObject(o, "fallback", a->fallback);
	char *text = ok ? cJSON_PrintUnformatted(o) : NULL;

	if (text)
		printf("%s\n", text);
	cJSON_free(text);
	cJSON_Delete(o);
	return text ? 0 : err_exit_status(ERR_NOMEM);
}

static const char *resolver_words(const struct asked *q, const struct answer *a)
{
	if (q->host.is_address)
		return "nobody: it is an address";
	if (strcmp(a->resolver, "upstream") == 0)
		return "the upstream proxy";
	switch (a->decision.route.kind) {
	case ROUTE_PROXY: return "the SSM agent on the instance";
	case ROUTE_DIRECT: return "this host";
	case ROUTE_VM_DIRECT: return "the VM";
	default: return "nobody";
	}
}

static void print_proxy_words(const struct answer *a, const struct options *o)
{
	const char *guarded = a->policy.guarded ? " (a guarded listener always does)" : "";

	if (!o->lazy)
		printf("  at start     awsocks initialises before it listens (--no-lazy)\n");
	else if (strcmp(a->init, "wait") == 0)
		printf("  at start     waits while the backend initialises%s\n", guarded);
	else
		printf("  at start     goes %s while the backend initialises for the first time\n",
		       a->init);
	if (strcmp(a->fallback, "none") == 0)
		printf("  fallback     none%s\n",
		       a->policy.guarded ? " (never on a guarded listener)" : "");
	else
		printf("  fallback     %s, when proxy cannot reach the host or its name\n",
		       a->fallback);
}

static int print_text(const struct asked *q, const struct answer *a, const struct options *o)
{
	const struct decision *d = &a->decision;
	bool v6 = strchr(q->host.text, ':') != NULL;

	printf("%s%s%s:%u\n", v6 ? "[" : "", q->host.text, v6 ? "]" : "", q->port);
	printf("  route        %s\n", a->route);
	printf("  decided by   %s%s%s%s\n", d->origin, *d->pattern ? ", pattern \"" : "",
	       d->pattern, *d->pattern ? "\"" : "");
	if (d->reason)
		printf("  reason       %s\n", d->reason);
	printf("  listener     %s%s\n", a->listener, a->policy.guarded ? " (guarded)" : "");
	if (*a->upstream)
		printf("  through      %s, the upstream proxy\n", a->upstream);
	printf("  resolved by  %s\n", resolver_words(q, a));
	if (d->route.kind == ROUTE_VM_DIRECT)
		printf("  at start     waits while the VM boots, at %s\n",
		       o->vm_start == VM_START_START ? "awsocks' own start" : "the first need");
	if (d->route.kind == ROUTE_PROXY)
		print_proxy_words(a, o);
	return 0;
}

/* ---- the command ---- */

static void say(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "awsocks: %s\n", text);
}

static int load_as(struct rule_set *rules, struct rule_request *request, const struct answer *a,
		   struct err *e)
{
	request->login_hosts = request->project && !a->policy.guarded;
	return rules_load(rules, request, e);
}

static int explain(const struct setup *s, const struct asked *q, struct err *e)
{
	struct rule_request request = { .setup = s, .warn = say };
	struct answer a = { 0 };
	struct rule_set rules;
	struct err no_profile;
	const struct options *o = &s->profile[0].options;
	int status;

	if (choose_listener(s, q->listener, &request, &a, e) != 0 ||
	    load_as(&rules, &request, &a, e) != 0)
		return -1;
	if (rules_check_profiles(&rules, s, &no_profile) != 0)
		say(NULL, no_profile.msg);
	router_decide(rules.router, q->host.text, q->port, &a.decision);
	status = complete(&a, q, o, e) != 0 ? -1
		 : q->json                  ? print_json(q, &a)
					    : print_text(q, &a, o);
	rules_free(&rules);
	return status;
}

static int run(struct setup *s, struct asked *q, struct err *e)
{
	if (s->args.count != 1)
		return err_set(e, ERR_USAGE,
			       "usage: awsocks route HOST[:PORT] [--listener NAME] [--json]");
	if (parse_target(s->args.positional[0], q, e) != 0 ||
	    setup_profiles(s, &q->profile, q->profile ? 1 : 0, e) != 0)
		return -1;
	return explain(s, q, e);
}

int cmd_route(int argc, char **argv)
{
	struct asked q = { 0 };
	struct arg_opt own[] = { route_options[0], route_options[1], route_options[2],
				 route_options[3] };
	struct setup s;
	struct err e;
	int status;

	own[0].flag = &q.json;
	own[1].value = &q.listener;
	own[2].value = &q.profile;
	if (setup_load(&s, argc, argv, own, NULL, NULL, &e) != 0)
		return command_fail(&e);
	status = s.args.help ? command_help("route") : run(&s, &q, &e);
	setup_free(&s);
	return status < 0 ? command_fail(&e) : status;
}
