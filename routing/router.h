#ifndef ROUTING_ROUTER_H
#define ROUTING_ROUTER_H
/*
 * A host in, a route out; no I/O, no DNS. Design section 5.
 *
 * A router is made of layers (rule sources) in order of precedence; within one,
 * the ordered rules are tried first, then the lists block, vm-direct, direct,
 * proxy. The default is that of the earliest layer that has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum route_kind { ROUTE_PROXY = 0, ROUTE_DIRECT, ROUTE_VM_DIRECT, ROUTE_BLOCK, ROUTE_KIND_COUNT };
enum route_by { ROUTE_BY_RULE = 0, ROUTE_BY_LIST, ROUTE_BY_DEFAULT };

struct route {
	enum route_kind kind;
	char profile[64]; /* proxy:NAME; "" when plain */
};

struct decision {
	struct route route;
	enum route_by by;
	/* "cal.yaml:12", "list block (cal.yaml:3)", "default (built-in)", "default (cal.yaml:1)",
	 * "list proxy (--route-proxy)"; until the router goes */
	const char *origin;
	const char *pattern; /* as written; "" for the default */
	const char *reason;  /* of a rule, for the client; NULL: none */
	bool has_fallback;   /* the rule says fallback: */
	struct route fallback;
	bool fallback_on_dial_failure; /* fallback-on: dial-failure */
	bool allow_host;
	/* Came to plain `proxy` only by a default: lazy start and fallback may send it
	 * another way (design section 5); proxy:NAME by default counts as named. */
	bool named;
};

/* `awsocks route` and audit lines: "rule", "list", "default"; static. */
const char *route_by_name(enum route_by);

struct router; /* immutable once built; shared read-only between loops */

/* host is normalised (routing/host.h). Never fails: without rules all is `proxy`. */
void router_decide(const struct router *, const char *host, uint16_t port, struct decision *);

/* Whether any rule, list or default that counts names this kind. true does not mean that a host is
 * there for it: an earlier rule may match them all. Fallbacks do not count. */
bool router_can(const struct router *, enum route_kind);

/* Building. mode_vm: `vm-direct` is possible; otherwise a vm-direct list is ignored
 * with a warning, a rule or default that says so is an error. */
struct router_opts {
	bool mode_vm;
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
};
MUST_CHECK int router_new(struct router **, const struct router_opts *, struct err *);
void router_free(struct router *);

enum { RULES_ALLOW_HOST = 1 }; /* the source may say allow-host */
/* A rule file (YAML text), whole or not at all; *e names file, line and column. Every problem found
 * goes to report() as well, if given (awsocks check). */
MUST_CHECK int router_add_yaml(struct router *, const char *text, size_t n, const char *name,
			       unsigned flags, void (*report)(void *arg, const char *text),
			       void *report_arg, struct err *);
struct yaml;
/* The same from a subtree (a profile's `routing:`). */
MUST_CHECK int router_add_tree(struct router *, const struct yaml *, const char *name,
			       unsigned flags, void (*report)(void *arg, const char *text),
			       void *report_arg, struct err *);
/* One --route-proxy/-direct/-vm-direct/-block pattern, or --route-default: they join the source
 * that was added last if that came from the command line too, otherwise they begin a new one. */
MUST_CHECK int router_add_pattern(struct router *, const char *list, const char *pattern,
				  const char *origin, struct err *);
MUST_CHECK int router_set_default(struct router *, const char *route, const char *origin,
				  struct err *);
/* A host, normalised, at which the user signs in: when `proxy` is what was decided for it, by
 * whatever rule, list or default, it goes direct. Patterns of others do not count: exact hosts
 * only. Adding one again changes nothing. */
MUST_CHECK int router_add_login_host(struct router *, const char *host, const char *origin,
				     struct err *);
/* The profiles that rules, lists, defaults and fallbacks name (proxy:NAME), one a
 * call, each once: the i-th, with where it is written; NULL: no more. */
const char *router_profile(const struct router *, size_t i, const char **origin);
/* Patterns held, of all sources. */
size_t router_size(const struct router *);
MUST_CHECK int route_parse(const char *text, struct route *, struct err *); /* "proxy:staging" */
void route_format(const struct route *, char out[static 80]);
#endif
