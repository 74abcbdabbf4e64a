#ifndef PROXY_LEARN_GROUP_H
#define PROXY_LEARN_GROUP_H
/* Inside of learn_rules.h: what was learned, as rules could say it. */
#include <stdbool.h>

#include "proxy/learn.h"

/* All requests for a host by one route, or that were denied. */
struct asked {
	const char *host;
	const struct learned *first; /* of its items, */
	size_t items;                /* which stand next to each other, by port */
	uint64_t count, reached, listeners;
	bool address, literal;
	const char *below; /* of a name: the domain it lies in; NULL: none worth a rule */
	bool merged;       /* a *.domain stands for it */
};

struct learn_group {
	/* In the order of writing: what was allowed and then what was denied; names and then
	 * addresses; by host; the route of most requests first. */
	struct asked *asked;
	size_t count;
	struct asked **merged; /* those that a *.domain stands for, alike ones together */
	size_t merged_count;
};

/* Points into *t, which it sorts. learn_group_free() when it succeeded. */
MUST_CHECK int learn_group(struct learn_group *, struct learn_taken *t, struct err *);
void learn_group_free(struct learn_group *);
/* Of two names: the same domain, route and ports? */
bool learn_alike(const struct asked *, const struct asked *);
#endif
