/*
 * Which requests belong together: by host and route, and which of those one *.domain may
 * stand for.
 */
#include "proxy/learn_group.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/learn_rules.h"
#include "routing/host.h"
#include "routing/pattern.h"

/* Where the names next to each other belong to different people. */
static const char *const shared[] = {
	"amazonaws.com",  "appspot.com",    "azurewebsites.net", "blogspot.com",
	"cloudapp.net",   "cloudfront.net", "duckdns.org",       "firebaseapp.com",
	"firebaseio.com", "fly.dev",        "github.io",         "gitlab.io",
	"herokuapp.com",  "netlify.app",    "ngrok-free.app",    "ngrok.io",
	"onrender.com",   "pages.dev",      "run.app",           "trycloudflare.com",
	"vercel.app",     "web.app",        "windows.net",       "workers.dev",
};

/* ---- order ---- */

static bool is_address(const char *host)
{
	struct host_addr addr;

	return host_addr(host, &addr);
}

/* So that what belongs together stands together. */
static int by_host(const void *x, const void *y)
{
	const struct learned *a = x, *b = y;
	int order = (int)a->verdict - (int)b->verdict;

	if (!order)
		order = strcmp(a->host, b->host);
	if (!order)
		order = strcmp(a->by, b->by);
	return order ? order : (int)a->port - (int)b->port;
}

/* As it is written: what was allowed, names, the route of most requests first. */
static int by_place(const void *x, const void *y)
{
	const struct asked *a = x, *b = y;
	int order = (int)a->first->verdict - (int)b->first->verdict;

	if (!order)
		order = (int)a->address - (int)b->address;
	if (!order)
		order = strcmp(a->host, b->host);
	if (!order && a->count != b->count)
		order = a->count > b->count ? -1 : 1;
	return order ? order : strcmp(a->first->by, b->first->by);
}

static int compare_ports(const struct asked *a, const struct asked *b)
{
	size_t i = 0, k = 0;

	while (i < a->items && k < b->items) {
		unsigned p = a->first[i].port, q = b->first[k].port;

		if (p != q)
			return p < q ? -1 : 1;
		while (i < a->items && a->first[i].port == p) /* at several listeners */
			i++;
		while (k < b->items && b->first[k].port == p)
			k++;
	}
	return (int)(i < a->items) - (int)(k < b->items);
}

/* Of pointers: what one *.domain could stand for is together. */
static int by_domain(const void *x, const void *y)
{
	const struct asked *const *a = x, *const *b = y;
	int order = strcmp((*a)->below, (*b)->below);

	if (!order)
		order = strcmp((*a)->first->by, (*b)->first->by);
	if (!order)
		order = compare_ports(*a, *b);
	return order ? order : strcmp((*a)->host, (*b)->host);
}

/* ---- what was asked ---- */

/* Would a rule take it for this one name or address? */
static bool is_literal(const char *host)
{
	struct pattern p;
	struct err e;
	bool literal;

	if (pattern_parse(&p, host, &e) != 0)
		return false;
	literal = p.kind == PATTERN_HOST && strcmp(p.text, host) == 0;
	pattern_free(&p);
	return literal;
}

static bool is_below(const char *host, const char *domain)
{
	size_t n = strlen(host), m = strlen(domain);

	return n >= m && strcmp(host + n - m, domain) == 0 && (n == m || host[n - m - 1] == '.');
}

/* x.y: yes; y, co.uk, a domain of many owners: no. */
static bool may_stand_for_all(const char *domain)
{
	const char *dot = strrchr(domain, '.');

	if (!dot)
		return false;
	if (strchr(domain, '.') == dot && strlen(dot) == 3 && dot - domain <= 3)
		return false;
	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
		if (is_below(domain, shared[i]))
			return false;
	return true;
}

static void begin(struct asked *a, const struct learned *it)
{
	const char *dot = strchr(it->host, '.');

	*a = (struct asked){ .host = it->host, .first = it, .address = is_address(it->host) };
	a->literal = is_literal(it->host);
	if (it->verdict == LEARN_ALLOWED && !a->address && a->literal && dot &&
	    may_stand_for_all(dot + 1))
		a->below = dot + 1;
}

static void gather(struct learn_group *g, struct learn_taken *t)
{
	qsort(t->item, t->count, sizeof(*t->item), by_host);
	for (size_t i = 0; i < t->count; i++) {
		const struct learned *it = &t->item[i], *last = i ? it - 1 : NULL;
		struct asked *a;

		if (!last || last->verdict != it->verdict || strcmp(last->host, it->host) != 0 ||
		    strcmp(last->by, it->by) != 0)
			begin(&g->asked[g->count++], it);
		a = &g->asked[g->count - 1];
		a->items++;
		a->count += it->count;
		a->reached += it->reached;
		a->listeners |= UINT64_C(1) << it->listener;
	}
	qsort(g->asked, g->count, sizeof(*g->asked), by_place);
}

/* Another route for the same host: a rule must not stand for both. */
static bool is_alone(const struct learn_group *g, size_t i)
{
	const struct asked *a = g->asked;

	return !(i > 0 && strcmp(a[i - 1].host, a[i].host) == 0) &&
	       !(i + 1 < g->count && strcmp(a[i + 1].host, a[i].host) == 0);
}

static bool has_denied_below(const struct learn_group *g, const char *domain)
{
	for (size_t i = g->count; i > 0 && g->asked[i - 1].first->verdict == LEARN_DENIED; i--)
		if (is_below(g->asked[i - 1].host, domain))
			return true;
	return false;
}

/* ---- domains ---- */

bool learn_alike(const struct asked *a, const struct asked *b)
{
	return strcmp(a->below, b->below) == 0 && strcmp(a->first->by, b->first->by) == 0 &&
	       compare_ports(a, b) == 0;
}

/* Marks what a *.domain will stand for, and keeps it apart. */
static void merge(struct learn_group *g)
{
	struct asked **name = g->merged;
	size_t all = 0, kept = 0;

	for (size_t i = 0; i < g->count; i++)
		if (g->asked[i].below && is_alone(g, i))
			name[all++] = &g->asked[i];
	qsort(name, all, sizeof(struct asked *), by_domain);
	for (size_t i = 0, end; i < all; i = end) {
		for (end = i + 1; end < all && learn_alike(name[end], name[i]);)
			end++;
		if (end - i < LEARN_SIBLINGS || has_denied_below(g, name[i]->below))
			continue;
		for (size_t k = i; k < end; k++) {
			name[k]->merged = true;
			name[kept++] = name[k];
		}
	}
	g->merged_count = kept;
}

int learn_group(struct learn_group *g, struct learn_taken *t, struct err *e)
{
	*g = (struct learn_group){ 0 };
	g->asked = mem_alloc((t->count + 1) * sizeof(*g->asked));
	g->merged = mem_alloc((t->count + 1) * sizeof(struct asked *));
	if (!g->asked || !g->merged) {
		learn_group_free(g);
		return err_set(e, ERR_NOMEM, "--learn");
	}
	gather(g, t);
	merge(g);
	return 0;
}

void learn_group_free(struct learn_group *g)
{
	mem_free(g->asked);
	mem_free(g->merged);
}
