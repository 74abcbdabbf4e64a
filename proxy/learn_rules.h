#ifndef PROXY_LEARN_RULES_H
#define PROXY_LEARN_RULES_H
/*
 * A rule file (design section 5) of what was learned: the least that lets it happen again, for
 * a person to review. `default: block`; a rule for each host and route, ports merged, names and
 * then addresses, sorted; what was denied as comments. LEARN_SIBLINGS names or more below
 * one domain that were asked for alike become one *.domain, with the names in a comment, unless
 * something below it was denied, or the domain is one under which names of different owners lie.
 *
 * Names are a client's choice: whatever a rule would not take for just that name or address (a
 * pattern, say) is a comment, and all texts are quoted.
 */
#include "base/buf.h"
#include "proxy/learn.h"

enum { LEARN_SIBLINGS = 5, LEARN_FILE_MAX = 1024 * 1024 };
/* The first line's beginning: what does not have it was not written by us. */
#define LEARN_MARK "# Learned by awsocks"

/* Appends to *out, whose ceiling should be LEARN_FILE_MAX. Sorts the items of *t. */
MUST_CHECK int learn_rules(struct learn_taken *t, int64_t wall_ms, struct buf *out, struct err *);
#endif
