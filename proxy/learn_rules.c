/* Each *.domain follows behind all exact names, so that an exact rule of another route is met
 * first. */
#include "proxy/learn_rules.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "proxy/learn_group.h"
#include "routing/host.h"

enum {
	PORTS_A_RULE = 64, /* ranges that a rule takes */
	NAMES_SHOWN = 20,
	LISTENERS_SHOWN = 4,
};

struct writer {
	struct buf *out;
	struct err *e;
	const struct learn_taken *t;
	struct learn_group g;
	int bad;
};

#define ADD(w, ...) ((w)->bad |= buf_addf((w)->out, (w)->e, __VA_ARGS__))

/* ---- texts ---- */

/* A YAML double-quoted scalar; nothing in it ends a comment either. */
static void add_quoted(struct writer *w, const char *s)
{
	ADD(w, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			ADD(w, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			ADD(w, "\\x%02x", c);
		else
			ADD(w, "%c", c);
	}
	ADD(w, "\"");
}

static void add_counted(struct writer *w, uint64_t n)
{
	ADD(w, "%" PRIu64 " request%s", n, n == 1 ? "" : "s");
}

static void add_listeners(struct writer *w, uint64_t set)
{
	size_t shown = 0;

	if (w->t->listeners < 2)
		return;
	ADD(w, " at ");
	for (size_t i = 0; i < w->t->listeners; i++) {
		if (!(set & UINT64_C(1) << i))
			continue;
		if (shown++ == LISTENERS_SHOWN) {
			ADD(w, ", ...");
			return;
		}
		ADD(w, "%s", shown > 1 ? ", " : "");
		add_quoted(w, w->t->listener[i]);
	}
}

static void add_port_range(struct writer *w, unsigned lo, unsigned hi)
{
	if (lo == hi)
		ADD(w, "%u", lo);
	else
		ADD(w, "\"%u-%u\"", lo, hi);
}

/* Ranges from *i on, at most as many as a rule takes. */
static void add_ports(struct writer *w, const struct asked *a, size_t *i)
{
	const char *comma = "";

	for (size_t n = 0; *i < a->items && n < PORTS_A_RULE; n++) {
		unsigned lo = a->first[*i].port, hi = lo;

		while (++*i < a->items && a->first[*i].port <= hi + 1)
			hi = a->first[*i].port;
		ADD(w, "%s", comma);
		add_port_range(w, lo, hi);
		comma = ", ";
	}
}

/* ---- rules ---- */

static void add_rule_head(struct writer *w, const char *star, const char *host)
{
	char match[HOST_MAX + 2];

	(void)str_fmt(match, sizeof(match), "%s%s", star, host);
	ADD(w, "  - { match: ");
	add_quoted(w, match);
	ADD(w, ", port: [");
}

static void add_rule_end(struct writer *w, const struct asked *a)
{
	ADD(w, "], route: ");
	add_quoted(w, a->first->by);
	ADD(w, " } # ");
	add_counted(w, a->count);
	add_listeners(w, a->listeners);
	ADD(w, "%s\n", a->reached ? "" : ", never reached");
}

static void add_rule(struct writer *w, const char *star, const char *host, const struct asked *a)
{
	for (size_t i = 0; i < a->items;) {
		add_rule_head(w, star, host);
		add_ports(w, a, &i);
		add_rule_end(w, a);
	}
}

/* Are all its ports in rules of the same host before it? */
static bool is_decided_before(const struct writer *w, size_t i)
{
	const struct asked *a = &w->g.asked[i];

	for (size_t p = 0; p < a->items; p++) {
		bool found = false;

		for (size_t k = i; !found && k > 0 && strcmp(w->g.asked[k - 1].host, a->host) == 0;
		     k--)
			for (size_t q = 0; !found && q < w->g.asked[k - 1].items; q++)
				found = w->g.asked[k - 1].first[q].port == a->first[p].port;
		if (!found)
			return false;
	}
	return true;
}

static void add_exact(struct writer *w, size_t i)
{
	const struct asked *a = &w->g.asked[i];
	size_t all = 0;

	if (a->literal && !is_decided_before(w, i)) {
		add_rule(w, "", a->host, a);
		return;
	}
	ADD(w, "  # %s: ", a->literal ? "by another route too" : "not a name for a rule");
	add_quoted(w, a->host);
	ADD(w, " port ");
	add_ports(w, a, &all);
	ADD(w, " by ");
	add_quoted(w, a->first->by);
	ADD(w, ", ");
	add_counted(w, a->count);
	add_listeners(w, a->listeners);
	ADD(w, "\n");
}

/* The n names that one *.domain stands for. */
static void add_domain(struct writer *w, struct asked *const *name, size_t n)
{
	struct asked all = *name[0];

	ADD(w, "  # %zu names of one domain, asked for alike:", n);
	for (size_t i = 0; i < n; i++) {
		if (i < NAMES_SHOWN) {
			ADD(w, "%s", i ? ", " : " ");
			add_quoted(w, name[i]->host);
		}
		if (i == 0)
			continue;
		all.count += name[i]->count;
		all.reached += name[i]->reached;
		all.listeners |= name[i]->listeners;
	}
	ADD(w, "%s\n", n > NAMES_SHOWN ? ", ..." : "");
	add_rule(w, "*.", all.below, &all);
}

static void add_domains(struct writer *w)
{
	struct asked *const *name = w->g.merged;

	for (size_t i = 0, end; i < w->g.merged_count; i = end) {
		for (end = i + 1; end < w->g.merged_count && learn_alike(name[end], name[i]);)
			end++;
		add_domain(w, name + i, end - i);
	}
}

static void add_denied(struct writer *w, const struct asked *a)
{
	size_t all = 0;

	ADD(w, "#   ");
	add_quoted(w, a->host);
	ADD(w, " port ");
	add_ports(w, a, &all);
	ADD(w, ", ");
	add_counted(w, a->count);
	add_listeners(w, a->listeners);
	ADD(w, ", by ");
	add_quoted(w, a->first->by);
	ADD(w, "\n");
}

/* ---- the file ---- */

static void add_head(struct writer *w, int64_t wall_ms)
{
	char when[25];

	clock_iso(wall_ms, when);
	ADD(w, LEARN_MARK " (--learn) until %.19sZ: ", when);
	add_counted(w, w->t->requests);
	add_listeners(w, UINT64_MAX);
	ADD(w,
	    ".\n"
	    "# Review every line, check it with `awsocks check`, and give it another name:\n"
	    "# awsocks writes this file anew. It is for --rules, or for rules: of a listener.\n");
	if (w->t->beyond)
		ADD(w,
		    "# NOT ALL IS HERE: %" PRIu64 " requests came when %d destinations were "
		    "remembered already.\n",
		    w->t->beyond, LEARN_MOST);
	ADD(w, "default: block\n\n");
}

static bool is_allowed(const struct writer *w, size_t i)
{
	return i < w->g.count && w->g.asked[i].first->verdict == LEARN_ALLOWED;
}

static void add_rules(struct writer *w)
{
	size_t i = 0;

	ADD(w, is_allowed(w, 0) ? "rules:\n" : "rules: []\n");
	if (is_allowed(w, 0) && !w->g.asked[0].address)
		ADD(w, "  # names\n");
	for (; is_allowed(w, i) && !w->g.asked[i].address; i++)
		if (!w->g.asked[i].merged)
			add_exact(w, i);
	add_domains(w);
	if (is_allowed(w, i))
		ADD(w, "  # addresses\n");
	for (; is_allowed(w, i); i++)
		add_exact(w, i);
	if (i < w->g.count)
		ADD(w, "\n# denied, and by what:\n");
	for (; i < w->g.count; i++)
		add_denied(w, &w->g.asked[i]);
}

int learn_rules(struct learn_taken *t, int64_t wall_ms, struct buf *out, struct err *e)
{
	struct writer w = { .out = out, .e = e, .t = t };

	if (learn_group(&w.g, t, e) != 0)
		return -1;
	add_head(&w, wall_ms);
	add_rules(&w);
	learn_group_free(&w.g);
	return w.bad ? -1 : 0;
}
