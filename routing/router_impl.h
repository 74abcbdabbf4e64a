#ifndef ROUTING_ROUTER_IMPL_H
#define ROUTING_ROUTER_IMPL_H
/* Inside of a router: what rules.c builds and router.c decides with. */
#include "routing/pattern.h"
#include "routing/router.h"

/* Where an entry stands within its source. Lists are tried in this order. */
enum section {
	SECTION_RULES = 0,
	SECTION_BLOCK,
	SECTION_VM_DIRECT,
	SECTION_DIRECT,
	SECTION_PROXY,
	SECTION_COUNT
};

struct rule {
	struct rule *next; /* of the router, only to be freed */
	struct route route;
	enum route_by by;
	char *origin;
	char *reason; /* or NULL */
	struct port_range *port;
	size_t port_count; /* 0: any */
	bool has_fallback;
	struct route fallback;
	bool fallback_on_dial_failure;
	bool allow_host;
};

struct entry {
	uint64_t order; /* source, section, sequence: the least that matches decides */
	struct pattern pattern;
	char *written;
	const struct rule *rule;
	struct entry *next; /* in its hash chain */
	uint32_t hash;
};

/* A file or a run of command-line patterns while it is read: nothing of it is
 * in the router before draft_commit(). */
struct draft {
	struct router *router;
	struct rule *rules;
	struct entry **entry;
	size_t count, size;
	bool has_default;
	struct route default_route;
	char *default_origin;
};
void draft_init(struct draft *, struct router *);
void draft_free(struct draft *);
/* A new rule of the draft; takes nothing, copies origin. */
struct rule *draft_rule(struct draft *, enum route_by, const char *origin, struct err *);
/* A pattern of that rule, at the end of the section. */
MUST_CHECK int draft_add(struct draft *, const struct rule *, enum section, const char *text,
			 struct err *);
/* Moves all of it into the router, as a source of its own or (join) into the last one. */
MUST_CHECK int draft_commit(struct draft *, bool join, struct err *);

const struct router_opts *router_options(const struct router *);
void router_warn(const struct router *, const char *text);
extern const char *const section_names[SECTION_COUNT]; /* "block": a list's name */
extern const enum route_kind section_routes[SECTION_COUNT];
#endif
