/*
 * A rule file (design section 5) into a draft: every problem is reported with
 * its place and what to write instead, reading goes on behind it, and the draft
 * is committed only if there was none.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/problems.h"
#include "base/str.h"
#include "base/yaml.h"
#include "routing/router.h"
#include "routing/router_impl.h"

enum { REASON_MAX = 200, PORTS_MAX = 64 };

struct reader {
	struct draft draft;
	struct problems problems;
	unsigned flags;
};

static bool known_key(const char *key, const char *const *known)
{
	for (; *known; known++)
		if (strcmp(key, *known) == 0)
			return true;
	return false;
}

/* ---- routes ---- */

static void read_route(struct reader *rd, const struct yaml *y, const char *what, struct route *r)
{
	struct err e;

	if (y->kind != YAML_SCALAR) {
		problem(&rd->problems, y, "%s: a route expected, as in %s: direct", what, what);
		return;
	}
	if (route_parse(y->text, r, &e) != 0) {
		problem(&rd->problems, y, "%s: %s", what, e.msg);
		return;
	}
	if (r->kind == ROUTE_VM_DIRECT && !router_options(rd->draft.router)->mode_vm)
		problem(&rd->problems, y,
			"%s: vm-direct needs --mode vm: write direct, or start with --mode vm",
			what);
}

static void read_default(struct reader *rd, const struct yaml *y)
{
	char origin[200];

	read_route(rd, y, "default", &rd->draft.default_route);
	(void)str_fmt(origin, sizeof(origin), "default (%s:%u)", rd->problems.name, y->line);
	rd->draft.has_default = true;
	rd->draft.default_origin = mem_strdup(origin);
	if (!rd->draft.default_origin)
		problem_no_memory(&rd->problems, y);
}

/* ---- lists ---- */

static void read_list(struct reader *rd, const struct yaml *y, enum section section)
{
	const char *what = section_names[section];
	const struct yaml *item;
	char origin[200];
	struct err e;

	if (!yaml_is_texts(&rd->problems, y, what))
		return;
	for (size_t i = 0; (item = yaml_nth(y, i)) != NULL; i++) {
		struct rule *rule;

		(void)str_fmt(origin, sizeof(origin), "list %s (%s:%u)", what, rd->problems.name,
			      item->line);
		rule = draft_rule(&rd->draft, ROUTE_BY_LIST, origin, &e);
		if (!rule) {
			problem_err(&rd->problems, item, &e);
			return;
		}
		rule->route.kind = section_routes[section];
		if (draft_add(&rd->draft, rule, section, item->text, &e) != 0)
			problem_err(&rd->problems, item, &e);
	}
}

/* In direct mode the list counts for nothing, but is checked all the same. */
static void read_vm_direct(struct reader *rd, const struct yaml *y)
{
	struct pattern p;
	const struct yaml *item;
	char text[300];
	struct err e;

	if (router_options(rd->draft.router)->mode_vm) {
		read_list(rd, y, SECTION_VM_DIRECT);
		return;
	}
	if (!yaml_is_texts(&rd->problems, y, "vm-direct"))
		return;
	for (size_t i = 0; (item = yaml_nth(y, i)) != NULL; i++) {
		if (pattern_parse(&p, item->text, &e) != 0)
			problem_err(&rd->problems, item, &e);
		else
			pattern_free(&p);
	}
	(void)str_fmt(text, sizeof(text), "%s:%u: the vm-direct list is ignored without --mode vm",
		      rd->problems.name, y->line);
	router_warn(rd->draft.router, text);
}

/* ---- one rule ---- */

static void read_ports(struct reader *rd, const struct yaml *y, struct rule *rule)
{
	const struct yaml *item;
	struct err e;

	if (!yaml_is_texts(&rd->problems, y, "port"))
		return;
	if (!yaml_nth(y, 0) || (y->kind == YAML_LIST && y->count > PORTS_MAX)) {
		problem(&rd->problems, y,
			"port: 1 to %d ports or ranges expected, as in [22, \"8000-8099\"]",
			PORTS_MAX);
		return;
	}
	rule->port = mem_alloc(sizeof(*rule->port) * (y->kind == YAML_LIST ? y->count : 1));
	if (!rule->port) {
		problem_no_memory(&rd->problems, y);
		return;
	}
	for (size_t i = 0; (item = yaml_nth(y, i)) != NULL; i++)
		if (port_range_parse(item->text, &rule->port[rule->port_count++], &e) != 0)
			problem_err(&rd->problems, item, &e);
}

static void read_reason(struct reader *rd, const struct yaml *y, struct rule *rule)
{
	if (y->kind != YAML_SCALAR || strlen(y->text) > REASON_MAX) {
		problem(&rd->problems, y, "reason: a text of at most %d bytes expected",
			REASON_MAX);
		return;
	}
	for (const char *c = y->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f) {
			problem(&rd->problems, y,
				"reason: must be one line"); /* it is sent in a header */
			return;
		}
	rule->reason = mem_strdup(y->text);
	if (!rule->reason)
		problem_no_memory(&rd->problems, y);
}

static void read_fallback_on(struct reader *rd, const struct yaml *y, struct rule *rule)
{
	if (y->kind == YAML_SCALAR && strcmp(y->text, "dial-failure") == 0)
		rule->fallback_on_dial_failure = true;
	else if (y->kind != YAML_SCALAR || strcmp(y->text, "unreachable") != 0)
		problem(&rd->problems, y, "fallback-on: unreachable or dial-failure expected");
}

static void read_allow_host(struct reader *rd, const struct yaml *y, struct rule *rule)
{
	static const char *const yes[] = { "true", "yes", "on", NULL };
	static const char *const no[] = { "false", "no", "off", NULL };

	if (y->kind == YAML_SCALAR && known_key(y->text, no))
		return;
	if (y->kind != YAML_SCALAR || !known_key(y->text, yes))
		problem(&rd->problems, y, "allow-host: true or false expected");
	else if (!(rd->flags & RULES_ALLOW_HOST))
		problem(&rd->problems, y,
			"allow-host opens this host: only the rule file of a listener may say it "
			"(listeners: in config.yaml, its rules:)");
	rule->allow_host = true;
}

/* The values that belong together. */
static void check_rule(struct reader *rd, const struct yaml *y, const struct rule *rule)
{
	bool proxied = rule->route.kind == ROUTE_PROXY;

	if (!yaml_get(y, "match"))
		problem(&rd->problems, y, "a rule needs match: (match: \"*\" is every host)");
	if (!yaml_get(y, "route"))
		problem(&rd->problems, y,
			"a rule needs route: (proxy, direct, vm-direct or block)");
	else if (!proxied && (rule->has_fallback || yaml_get(y, "fallback-on")))
		problem(&rd->problems, yaml_get(y, rule->has_fallback ? "fallback" : "fallback-on"),
			"only a rule with route: proxy can fall back");
	if (rule->has_fallback && rule->fallback.kind == ROUTE_BLOCK)
		problem(&rd->problems, yaml_get(y, "fallback"),
			"fallback: block means none: leave fallback: out");
	if (rule->allow_host && rule->route.kind != ROUTE_DIRECT &&
	    rule->route.kind != ROUTE_VM_DIRECT)
		problem(&rd->problems, yaml_get(y, "allow-host"),
			"allow-host needs route: direct or vm-direct");
}

static void read_match(struct reader *rd, const struct yaml *y, const struct rule *rule)
{
	const struct yaml *item;
	struct err e;

	if (!yaml_is_texts(&rd->problems, y, "match"))
		return;
	if (!yaml_nth(y, 0))
		problem(&rd->problems, y, "match: empty (\"*\" is every host)");
	for (size_t i = 0; (item = yaml_nth(y, i)) != NULL; i++) {
		if (draft_add(&rd->draft, rule, SECTION_RULES, item->text, &e) != 0)
			problem_err(&rd->problems, item, &e);
		else if (rule->allow_host &&
			 rd->draft.entry[rd->draft.count - 1]->pattern.kind != PATTERN_HOST)
			problem(&rd->problems, item,
				"allow-host opens one host: write its exact name or address");
	}
}

static void read_rule_key(struct reader *rd, const struct yaml *key, const struct yaml *y,
			  struct rule *rule)
{
	static const char *const known[] = { "match",    "port",        "route",      "reason",
					     "fallback", "fallback-on", "allow-host", NULL };

	if (strcmp(key->text, "port") == 0)
		read_ports(rd, y, rule);
	else if (strcmp(key->text, "route") == 0)
		read_route(rd, y, "route", &rule->route);
	else if (strcmp(key->text, "reason") == 0)
		read_reason(rd, y, rule);
	else if (strcmp(key->text, "fallback-on") == 0)
		read_fallback_on(rd, y, rule);
	else if (strcmp(key->text, "allow-host") == 0)
		read_allow_host(rd, y, rule);
	else if (strcmp(key->text, "fallback") == 0) {
		read_route(rd, y, "fallback", &rule->fallback);
		rule->has_fallback = true;
	} else if (!known_key(key->text, known))
		problem_unknown_key(&rd->problems, key, "a rule", known);
}

static void read_rule(struct reader *rd, const struct yaml *y)
{
	char origin[200];
	struct rule *rule;
	struct err e;

	if (y->kind != YAML_MAP) {
		problem(&rd->problems, y, "a rule is { match: ..., route: ... }");
		return;
	}
	(void)str_fmt(origin, sizeof(origin), "%s:%u", rd->problems.name, y->line);
	rule = draft_rule(&rd->draft, ROUTE_BY_RULE, origin, &e);
	if (!rule) {
		problem_err(&rd->problems, y, &e);
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		read_rule_key(rd, y->key[i], y->item[i], rule);
	check_rule(rd, y, rule);
	if (yaml_get(y, "match"))
		read_match(rd, yaml_get(y, "match"), rule);
}

static void read_rules(struct reader *rd, const struct yaml *y)
{
	if (yaml_is_null(y))
		return;
	if (y->kind != YAML_LIST) {
		problem(&rd->problems, y,
			"rules: a list expected, as in - { match: \"*.x\", route: direct }");
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		read_rule(rd, y->item[i]);
}

/* ---- the file ---- */

static void read_top(struct reader *rd, const struct yaml *top)
{
	static const char *const known[] = { "default",   "rules", "proxy", "direct",
					     "vm-direct", "block", NULL };

	if (top->kind != YAML_MAP) {
		problem(&rd->problems, top,
			"a rule file is a map: default:, rules:, proxy:, direct:, "
			"vm-direct:, block:");
		return;
	}
	for (size_t i = 0; i < top->count; i++) {
		const struct yaml *key = top->key[i], *y = top->item[i];

		if (strcmp(key->text, "default") == 0)
			read_default(rd, y);
		else if (strcmp(key->text, "rules") == 0)
			read_rules(rd, y);
		else if (strcmp(key->text, "proxy") == 0)
			read_list(rd, y, SECTION_PROXY);
		else if (strcmp(key->text, "direct") == 0)
			read_list(rd, y, SECTION_DIRECT);
		else if (strcmp(key->text, "block") == 0)
			read_list(rd, y, SECTION_BLOCK);
		else if (strcmp(key->text, "vm-direct") == 0)
			read_vm_direct(rd, y);
		else
			problem_unknown_key(&rd->problems, key, "a rule file", known);
	}
}

int router_add_tree(struct router *r, const struct yaml *tree, const char *name, unsigned flags,
		    void (*report)(void *arg, const char *text), void *report_arg, struct err *e)
{
	struct reader rd = { .problems = { .name = name, .report = report, .arg = report_arg },
			     .flags = flags };
	int rc = -1;

	draft_init(&rd.draft, r);
	read_top(&rd, tree);
	if (rd.problems.first.code == ERR_NONE)
		rc = draft_commit(&rd.draft, false, e);
	else if (e)
		*e = rd.problems.first;
	draft_free(&rd.draft);
	return rc;
}

int router_add_yaml(struct router *r, const char *text, size_t n, const char *name, unsigned flags,
		    void (*report)(void *arg, const char *text), void *report_arg, struct err *e)
{
	struct yaml *tree;
	struct err why;
	int rc;

	if (yaml_parse(text, n, name, &tree, &why) != 0) {
		if (report)
			report(report_arg, why.msg);
		if (e)
			*e = why;
		return -1;
	}
	rc = router_add_tree(r, tree, name, flags, report, report_arg, e);
	yaml_tree_free(tree);
	return rc;
}
