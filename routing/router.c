/*
 * Deciding, and what a router holds.
 *
 * Every pattern is an entry with an order number: source (in the order they were
 * added), section (rules, block, vm-direct, direct, proxy), place in the
 * section. The matching entry with the least number decides, which is "first
 * match wins" however the entries are found:
 *
 *   exact hosts and suffixes   one hash table; a host is looked up once a label,
 *                              its suffixes' hashes growing from the end
 *   *, globs, networks, re:    a list sorted by order, read until it can no
 *                              longer beat what the table gave
 *
 * A router is built from drafts (a file is in it whole or not at all) and then
 * only read.
 */
#include "routing/router.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "routing/router_impl.h"

enum { FIRST_BUCKETS = 64, MAX_ENTRIES = 100000, SOURCE_SHIFT = 40, SECTION_SHIFT = 32 };

struct named_profile {
	struct named_profile *next;
	char origin[160];
	char name[64];
};

struct login_host {
	struct login_host *next;
	char *host, *origin;
};

struct router {
	struct router_opts opts;
	struct rule *rules;
	struct entry **entry; /* all, owner */
	size_t count, size;
	struct entry **bucket; /* exact and suffix */
	size_t buckets;
	struct entry **scan; /* the others, by order */
	size_t scans;
	bool has_default;
	struct route default_route;
	char *default_origin;
	unsigned kinds; /* of all entries, by bit; the default's is not among them */
	struct named_profile *profiles, **profiles_end;
	struct login_host *logins;
	uint64_t sources;
	uint32_t sequence[SECTION_COUNT]; /* of the last source */
	bool last_is_command_line;
};

const char *const section_names[SECTION_COUNT] = { "rules", "block", "vm-direct", "direct",
						   "proxy" };
const enum route_kind section_routes[SECTION_COUNT] = { ROUTE_PROXY, ROUTE_BLOCK, ROUTE_VM_DIRECT,
							ROUTE_DIRECT, ROUTE_PROXY };
static const char *const kind_names[ROUTE_KIND_COUNT] = { "proxy", "direct", "vm-direct", "block" };

/* ---- routes as text ---- */

static bool profile_name_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < sizeof(((struct route *)0)->profile) && !strpbrk(s, " \t:,\"'\\/");
}

int route_parse(const char *text, struct route *r, struct err *e)
{
	*r = (struct route){ 0 };
	for (int i = 0; i < ROUTE_KIND_COUNT; i++)
		if (strcmp(text, kind_names[i]) == 0) {
			r->kind = (enum route_kind)i;
			return 0;
		}
	if (str_starts(text, "proxy:") && profile_name_ok(text + 6))
		return str_fmt(r->profile, sizeof(r->profile), "%s", text + 6) ? 0 : -1;
	return err_set(e, ERR_CONFIG,
		       "'%.60s' is no route: proxy, proxy:PROFILE, direct, vm-direct or block",
		       text);
}

void route_format(const struct route *r, char out[static 80])
{
	if (r->profile[0])
		(void)str_fmt(out, 80, "%s:%s", kind_names[r->kind], r->profile);
	else
		memcpy(out, kind_names[r->kind], strlen(kind_names[r->kind]) + 1);
}

const char *route_by_name(enum route_by by)
{
	static const char *const names[] = { "rule", "list", "default" };

	return names[by];
}

/* ---- life ---- */

int router_new(struct router **out, const struct router_opts *opts, struct err *e)
{
	struct router *r = mem_alloc(sizeof(*r));

	*out = NULL;
	if (!r)
		return err_set(e, ERR_NOMEM, "router");
	r->opts = *opts;
	r->profiles_end = &r->profiles;
	r->bucket = mem_alloc(FIRST_BUCKETS * sizeof(struct entry *));
	r->buckets = FIRST_BUCKETS;
	if (!r->bucket) {
		router_free(r);
		return err_set(e, ERR_NOMEM, "router");
	}
	*out = r;
	return 0;
}

static void rules_free(struct rule *rule)
{
	while (rule) {
		struct rule *next = rule->next;

		mem_free(rule->origin);
		mem_free(rule->reason);
		mem_free(rule->port);
		mem_free(rule);
		rule = next;
	}
}

static void entries_free(struct entry **entry, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pattern_free(&entry[i]->pattern);
		mem_free(entry[i]->written);
		mem_free(entry[i]);
	}
	mem_free(entry);
}

static void logins_free(struct login_host *l)
{
	while (l) {
		struct login_host *next = l->next;

		mem_free(l->host);
		mem_free(l->origin);
		mem_free(l);
		l = next;
	}
}

void router_free(struct router *r)
{
	if (!r)
		return;
	rules_free(r->rules);
	entries_free(r->entry, r->count);
	while (r->profiles) {
		struct named_profile *next = r->profiles->next;

		mem_free(r->profiles);
		r->profiles = next;
	}
	logins_free(r->logins);
	mem_free(r->bucket);
	mem_free(r->scan);
	mem_free(r->default_origin);
	mem_free(r);
}

const struct router_opts *router_options(const struct router *r)
{
	return &r->opts;
}

void router_warn(const struct router *r, const char *text)
{
	if (r->opts.warn)
		r->opts.warn(r->opts.warn_arg, text);
}

size_t router_size(const struct router *r)
{
	return r->count;
}

const char *router_profile(const struct router *r, size_t i, const char **origin)
{
	const struct named_profile *p = r->profiles;

	while (p && i--)
		p = p->next;
	if (!p)
		return NULL;
	*origin = p->origin;
	return p->name;
}

/* ---- the index ---- */

/* FNV-1a from the end of the text, so that a suffix's hash is met on the way. */
static uint32_t hash_step(uint32_t h, char c)
{
	return (h ^ (unsigned char)c) * 16777619u;
}

static uint32_t hash_text(const char *s)
{
	uint32_t h = 2166136261u;

	for (size_t n = strlen(s); n--;)
		h = hash_step(h, s[n]);
	return h;
}

static bool is_hashed(const struct entry *en)
{
	return en->pattern.kind == PATTERN_HOST || en->pattern.kind == PATTERN_SUFFIX;
}

/* Room for everything before anything is changed. */
static int reserve(struct router *r, size_t more, struct err *e)
{
	size_t want = r->count + more, buckets = r->buckets;
	struct entry **entry, **scan, **bucket;

	if (want > MAX_ENTRIES)
		return err_set(e, ERR_CONFIG, "more than %d patterns", MAX_ENTRIES);
	entry = mem_resize(r->entry, want * sizeof(struct entry *));
	if (!entry)
		return err_set(e, ERR_NOMEM, "rules");
	r->entry = entry;
	scan = mem_resize(r->scan, want * sizeof(struct entry *));
	if (!scan)
		return err_set(e, ERR_NOMEM, "rules");
	r->scan = scan;
	while (buckets < want)
		buckets *= 2;
	if (buckets == r->buckets)
		return 0;
	bucket = mem_alloc(buckets * sizeof(struct entry *));
	if (!bucket)
		return err_set(e, ERR_NOMEM, "rules");
	mem_free(r->bucket);
	r->bucket = bucket;
	r->buckets = buckets;
	for (size_t i = 0; i < r->count; i++) {
		struct entry *en = r->entry[i];

		if (!is_hashed(en))
			continue;
		en->next = bucket[en->hash & (buckets - 1)];
		bucket[en->hash & (buckets - 1)] = en;
	}
	return 0;
}

static void index_entry(struct router *r, struct entry *en)
{
	size_t at = r->scans;

	r->entry[r->count++] = en;
	r->kinds |= 1u << en->rule->route.kind;
	if (is_hashed(en)) {
		struct entry **head;

		en->hash = hash_text(en->pattern.text);
		head = &r->bucket[en->hash & (r->buckets - 1)];
		en->next = *head;
		*head = en;
		return;
	}
	while (at && r->scan[at - 1]->order > en->order)
		at--;
	memmove(r->scan + at + 1, r->scan + at, (r->scans - at) * sizeof(struct entry *));
	r->scan[at] = en;
	r->scans++;
}

/* ---- drafts ---- */

void draft_init(struct draft *d, struct router *r)
{
	*d = (struct draft){ .router = r };
}

void draft_free(struct draft *d)
{
	rules_free(d->rules);
	entries_free(d->entry, d->count);
	mem_free(d->default_origin);
	draft_init(d, d->router);
}

struct rule *draft_rule(struct draft *d, enum route_by by, const char *origin, struct err *e)
{
	struct rule *rule = mem_alloc(sizeof(*rule));

	if (rule)
		rule->origin = mem_strdup(origin);
	if (!rule || !rule->origin) {
		mem_free(rule);
		(void)err_set(e, ERR_NOMEM, "rule");
		return NULL;
	}
	rule->by = by;
	rule->next = d->rules;
	d->rules = rule;
	return rule;
}

int draft_add(struct draft *d, const struct rule *rule, enum section section, const char *text,
	      struct err *e)
{
	struct entry *en, **list;

	if (d->count == d->size) {
		size_t size = d->size ? 2 * d->size : 16;

		list = mem_resize(d->entry, size * sizeof(struct entry *));
		if (!list)
			return err_set(e, ERR_NOMEM, "rules");
		d->entry = list;
		d->size = size;
	}
	en = mem_alloc(sizeof(*en));
	if (!en)
		return err_set(e, ERR_NOMEM, "rule");
	if (pattern_parse(&en->pattern, text, e) != 0) {
		mem_free(en);
		return -1;
	}
	en->order = (uint64_t)section << SECTION_SHIFT;
	en->rule = rule;
	en->written = mem_strdup(text);
	d->entry[d->count++] = en;
	return en->written ? 0 : err_set(e, ERR_NOMEM, "rule");
}

static int note_profile(struct router *r, const struct route *route, const char *origin,
			struct err *e)
{
	struct named_profile *p;

	if (route->kind != ROUTE_PROXY || !route->profile[0])
		return 0;
	for (p = r->profiles; p; p = p->next)
		if (strcmp(p->name, route->profile) == 0)
			return 0;
	p = mem_alloc(sizeof(*p));
	if (!p)
		return err_set(e, ERR_NOMEM, "rule");
	memcpy(p->name, route->profile, sizeof(p->name));
	(void)str_fmt(p->origin, sizeof(p->origin), "%s", origin);
	*r->profiles_end = p;
	r->profiles_end = &p->next;
	return 0;
}

static int take_default(struct router *r, struct draft *d, struct err *e)
{
	if (!d->has_default || r->has_default)
		return 0;
	r->has_default = true;
	r->default_route = d->default_route;
	r->default_origin = d->default_origin;
	d->default_origin = NULL;
	return note_profile(r, &r->default_route, r->default_origin, e);
}

static void take_rules(struct router *r, struct draft *d)
{
	struct rule **end = &d->rules;

	while (*end)
		end = &(*end)->next;
	*end = r->rules;
	r->rules = d->rules;
	d->rules = NULL;
}

int draft_commit(struct draft *d, bool join, struct err *e)
{
	struct router *r = d->router;

	if (reserve(r, d->count, e) != 0)
		return -1;
	for (const struct rule *rule = d->rules; rule; rule = rule->next)
		if (note_profile(r, &rule->route, rule->origin, e) != 0 ||
		    (rule->has_fallback && note_profile(r, &rule->fallback, rule->origin, e) != 0))
			return -1;
	if (take_default(r, d, e) != 0)
		return -1;
	take_rules(r, d);
	if (!join || r->sources == 0) {
		r->sources++;
		memset(r->sequence, 0, sizeof(r->sequence));
	}
	for (size_t i = 0; i < d->count; i++) {
		struct entry *en = d->entry[i];

		en->order |= r->sources << SOURCE_SHIFT | r->sequence[en->order >> SECTION_SHIFT]++;
		index_entry(r, en);
	}
	d->count = 0;
	r->last_is_command_line = false;
	return 0;
}

/* ---- the command line ---- */

static int commit_command_line(struct draft *d, struct err *e)
{
	struct router *r = d->router;
	int rc = draft_commit(d, r->last_is_command_line, e);

	draft_free(d);
	if (rc == 0)
		r->last_is_command_line = true;
	return rc;
}

int router_add_pattern(struct router *r, const char *list, const char *pattern, const char *origin,
		       struct err *e)
{
	struct draft d;
	struct rule *rule;
	char where[200];
	enum section section = SECTION_BLOCK;

	while (section < SECTION_COUNT && strcmp(section_names[section], list) != 0)
		section++;
	if (section == SECTION_COUNT)
		return err_set(e, ERR_INTERNAL, "no list '%s'", list);
	draft_init(&d, r);
	(void)str_fmt(where, sizeof(where), "list %s (%s)", list, origin);
	rule = draft_rule(&d, ROUTE_BY_LIST, where, e);
	if (!rule || draft_add(&d, rule, section, pattern, e) != 0) {
		draft_free(&d);
		return -1;
	}
	rule->route.kind = section_routes[section];
	if (section == SECTION_VM_DIRECT && !r->opts.mode_vm) {
		(void)str_fmt(where, sizeof(where), "%s: vm-direct is ignored without --mode vm",
			      origin);
		router_warn(r, where);
		draft_free(&d);
		return 0;
	}
	return commit_command_line(&d, e);
}

int router_set_default(struct router *r, const char *route, const char *origin, struct err *e)
{
	struct draft d;
	char where[200];

	draft_init(&d, r);
	if (route_parse(route, &d.default_route, e) != 0)
		return -1;
	if (d.default_route.kind == ROUTE_VM_DIRECT && !r->opts.mode_vm)
		return err_set(e, ERR_CONFIG, "vm-direct needs --mode vm: write direct instead");
	d.has_default = true;
	(void)str_fmt(where, sizeof(where), "default (%s)", origin);
	d.default_origin = mem_strdup(where);
	if (!d.default_origin)
		return err_set(e, ERR_NOMEM, "default route");
	return commit_command_line(&d, e);
}

/* ---- login hosts ---- */

/* There are a handful of them. */
static const struct login_host *find_login(const struct router *r, const char *host)
{
	const struct login_host *l = r->logins;

	while (l && strcmp(l->host, host) != 0)
		l = l->next;
	return l;
}

int router_add_login_host(struct router *r, const char *host, const char *origin, struct err *e)
{
	struct login_host *l;

	if (find_login(r, host))
		return 0;
	l = mem_alloc(sizeof(*l));
	if (l) {
		l->host = mem_strdup(host);
		l->origin = mem_strdup(origin);
	}
	if (!l || !l->host || !l->origin) {
		logins_free(l);
		return err_set(e, ERR_NOMEM, "login hosts");
	}
	l->next = r->logins;
	r->logins = l;
	return 0;
}

static void let_login(const struct router *r, const char *host, struct decision *d)
{
	const struct login_host *l = d->route.kind == ROUTE_PROXY ? find_login(r, host) : NULL;

	if (!l)
		return;
	*d = (struct decision){ .route = { .kind = ROUTE_DIRECT },
				.by = ROUTE_BY_LIST,
				.origin = l->origin,
				.pattern = l->host };
}

/* ---- deciding ---- */

static bool ports_match(const struct rule *rule, uint16_t port)
{
	for (size_t i = 0; i < rule->port_count; i++)
		if (port_range_has(rule->port[i], port))
			return true;
	return rule->port_count == 0;
}

static void consider(struct entry *en, const struct subject *s, const struct entry **best)
{
	if (*best && (*best)->order < en->order)
		return;
	if (ports_match(en->rule, s->port) && pattern_matches(&en->pattern, s))
		*best = en;
}

static void consider_chain(const struct router *r, uint32_t hash, const struct subject *s,
			   const struct entry **best)
{
	for (struct entry *en = r->bucket[hash & (r->buckets - 1)]; en; en = en->next)
		if (en->hash == hash)
			consider(en, s, best);
}

static const struct entry *find(const struct router *r, const struct subject *s)
{
	const struct entry *best = NULL;
	uint32_t hash = 2166136261u;

	for (size_t n = strlen(s->host); n--;) {
		if (s->host[n] == '.' && !s->is_address)
			consider_chain(r, hash, s, &best);
		hash = hash_step(hash, s->host[n]);
	}
	consider_chain(r, hash, s, &best);
	for (size_t i = 0; i < r->scans && (!best || r->scan[i]->order < best->order); i++)
		consider(r->scan[i], s, &best);
	return best;
}

static void decide_by_default(const struct router *r, struct decision *d)
{
	d->by = ROUTE_BY_DEFAULT;
	d->origin = "default (built-in)";
	d->pattern = "";
	if (!r->has_default)
		return;
	d->route = r->default_route;
	d->origin = r->default_origin;
}

void router_decide(const struct router *r, const char *host, uint16_t port, struct decision *d)
{
	struct subject s;
	const struct entry *en;

	*d = (struct decision){ 0 };
	subject_init(&s, host, port);
	en = find(r, &s);
	if (!en) {
		decide_by_default(r, d);
	} else {
		d->route = en->rule->route;
		d->by = en->rule->by;
		d->origin = en->rule->origin;
		d->pattern = en->written;
		d->reason = en->rule->reason;
		d->has_fallback = en->rule->has_fallback;
		d->fallback = en->rule->fallback;
		d->fallback_on_dial_failure = en->rule->fallback_on_dial_failure;
		d->allow_host = en->rule->allow_host;
	}
	let_login(r, host, d);
	d->named = d->by != ROUTE_BY_DEFAULT || d->route.profile[0];
}

bool router_can(const struct router *r, enum route_kind kind)
{
	struct decision d = { 0 };

	decide_by_default(r, &d);
	return (r->kinds & 1u << kind) || d.route.kind == kind ||
	       (kind == ROUTE_DIRECT && r->logins);
}
