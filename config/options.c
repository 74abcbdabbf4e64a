/*
 * The table, one parser per kind, and the laying of layers over each other.
 * options_build() is the only way a value gets into struct options.
 */
#include "config/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/suggest.h"
#include "config/settings.h"

const struct opt opt_table[OPT_ID_COUNT] = {
#define OPT(field, kind, name, ch, arg, def, spec, group, unbuilt, help) \
	{ name, ch,   OPT_##kind, GROUP_##group, arg,                    \
	  def,  spec, unbuilt,    help,          offsetof(struct options, field) },
#include "config/options.def"
#undef OPT
};

const char *const opt_group_names[GROUP_COUNT] = { "General", "Instance and AWS",    "Listening",
						   "Routing", "SSM and connections", "VM",
						   "Logging" };

/* ---- names ---- */

const struct opt *opt_find(const char *name, bool *negated)
{
	*negated = false;
	for (size_t i = 0; i < OPT_ID_COUNT; i++)
		if (strcmp(opt_table[i].name, name) == 0)
			return &opt_table[i];
	if (!str_starts(name, "no-"))
		return NULL;
	for (size_t i = 0; i < OPT_ID_COUNT; i++)
		if (opt_table[i].kind == OPT_BOOL && strcmp(opt_table[i].name, name + 3) == 0) {
			*negated = true;
			return &opt_table[i];
		}
	return NULL;
}

static const char *next_name(const void *arg, size_t i)
{
	(void)arg;
	return i < OPT_ID_COUNT ? opt_table[i].name : NULL;
}

const char *opt_suggest(const char *name)
{
	return suggest(name, next_name, NULL);
}

/* ---- values ---- */

static int parse_bool(const char *text, bool *out, struct err *e)
{
	static const char *const words[] = { "true", "false", "yes", "no", "on", "off", "1", "0" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_eq_nocase(text, words[i])) {
			*out = i % 2 == 0;
			return 0;
		}
	return err_set(e, ERR_USAGE, "'%.40s': true or false expected", text);
}

/* Digits and a unit of the table; ms, s, m, h or k, M, G. */
struct unit {
	const char *name;
	uint64_t scale;
};
static const struct unit durations[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { NULL, 0 }
};
static const struct unit sizes[] = { { "", 1 },        { "k", 1 << 10 }, { "K", 1 << 10 },
				     { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 } };
static const struct unit plain[] = { { "", 1 }, { NULL, 0 } };

static const struct unit *units_of(enum opt_kind kind)
{
	return kind == OPT_DURATION ? durations : kind == OPT_SIZE ? sizes : plain;
}

static bool scaled(const char *text, const struct unit *units, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long long n;

	if (digits == 0 || digits > 18)
		return false;
	n = strtoull(text, NULL, 10);
	for (; units->name; units++)
		if (strcmp(units->name, text + digits) == 0) {
			if (units->scale && n > UINT64_MAX / units->scale)
				return false;
			*out = n * units->scale;
			return true;
		}
	return false;
}

/* A number within the spec's "least..most", or auto. */
static int parse_scaled(const struct opt *d, const char *text, uint64_t *out, struct err *e)
{
	static const char *const examples[] = { [OPT_NUMBER] = "a number",
						[OPT_DURATION] =
							"a time, as in 500ms, 30s, 5m or 1h",
						[OPT_SIZE] = "a size, as in 1024, 16k or 4M" };
	bool may_auto = str_starts(d->spec, "auto|");
	const char *spec = d->spec + (may_auto ? strlen("auto|") : 0), *dots = strstr(spec, "..");
	char least[16];
	uint64_t lo = 0, hi = 0;

	if (may_auto && strcmp(text, "auto") == 0) {
		*out = 0;
		return 0;
	}
	if (!scaled(text, units_of(d->kind), out))
		return err_set(e, ERR_USAGE, "'%.40s': %s%s expected", text, examples[d->kind],
			       may_auto ? " or auto" : "");
	(void)str_fmt(least, sizeof(least), "%.*s", (int)(dots - spec), spec);
	if (!scaled(least, units_of(d->kind), &lo) || !scaled(dots + 2, units_of(d->kind), &hi))
		return err_set(e, ERR_INTERNAL, "%s: bad spec", d->name);
	if (*out < lo || *out > hi)
		return err_set(e, ERR_USAGE, "'%.40s' is not between %s and %s", text, least,
			       dots + 2);
	return 0;
}

/* The position of `word` in "a|b|c", or -1. */
static int position(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (int i = 0;; i++) {
		size_t len = strcspn(words, "|");

		if (len == n && memcmp(words, word, n) == 0)
			return i;
		if (!words[len])
			return -1;
		words += len + 1;
	}
}

static int parse_choice(const struct opt *d, const char *text, unsigned *out, struct err *e)
{
	int at = position(d->spec, text);

	if (at < 0)
		return err_set(e, ERR_USAGE, "'%.40s': one of %s expected", text, d->spec);
	*out = (unsigned)at;
	return 0;
}

static int check_address(const char *text, struct err *e)
{
	static const char *const given[] = { "systemd:", "fd:", "launchd:" };
	char host[256];
	uint16_t port;
	uint64_t number;

	if (str_starts(text, "unix:"))
		return text[5] == '/' ? 0
				      : err_set(e, ERR_USAGE,
						"'%.80s': a full path expected, as in "
						"unix:/run/user/1000/awsocks.sock",
						text);
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		if (str_starts(text, given[i]))
			return text[strlen(given[i])]
				       ? 0
				       : err_set(e, ERR_USAGE,
						 "'%.80s': a name expected behind it, as systemd's "
						 "FileDescriptorName=",
						 text);
	if (str_number(text, 1, 65535, &number, NULL) == 0)
		return err_set(e, ERR_USAGE, "'%.20s' is a port only: write 127.0.0.1:%.20s", text,
			       text);
	if (str_host_port(text, host, sizeof(host), &port, NULL) != 0)
		return err_set(e, ERR_USAGE, "'%.80s': HOST:PORT or unix:/PATH expected", text);
	return 0;
}

static int check_network(const char *text, struct err *e)
{
	const char *slash = strchr(text, '/');
	char address[64];
	uint8_t raw[16];
	uint64_t prefix;
	bool v6 = strchr(text, ':') != NULL;

	if (str_fmt(address, sizeof(address), "%.*s", (int)(slash ? slash - text : 63), text) &&
	    inet_pton(v6 ? AF_INET6 : AF_INET, address, raw) == 1 &&
	    (!slash || str_number(slash + 1, 0, v6 ? 128 : 32, &prefix, NULL) == 0))
		return 0;
	return err_set(e, ERR_USAGE, "'%.60s': a network expected, as in 192.168.64.0/24", text);
}

/* KEY=VALUE of the VM's agent, but what awsocks itself sets. */
static int check_setting(const char *text, struct err *e)
{
	static const char *const ours[] = { "nonce", "transport", "port" };
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

	if (n == 0 || text[n] != '=' || strpbrk(text, "\r\n"))
		return err_set(e, ERR_USAGE, "'%.60s': KEY=VALUE expected, as in mtu=1400", text);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i]) == n && memcmp(text, ours[i], n) == 0)
			return err_set(e, ERR_USAGE, "'%.60s': %s is not yours to set", text,
				       ours[i]);
	return 0;
}

static int check_item(const struct opt *d, const char *text, struct err *e)
{
	if (*text == '\0')
		return err_set(e, ERR_USAGE, "empty");
	if (strcmp(d->spec, "address") == 0)
		return check_address(text, e);
	if (strcmp(d->spec, "network") == 0)
		return check_network(text, e);
	if (strcmp(d->spec, "setting") == 0)
		return check_setting(text, e);
	return 0;
}

int opt_check(const struct opt *d, const char *text, struct err *e)
{
	bool yes;
	uint64_t number;
	unsigned choice;

	switch (d->kind) {
	case OPT_BOOL: return parse_bool(text, &yes, e);
	case OPT_TEXT: return *text ? 0 : err_set(e, ERR_USAGE, "empty");
	case OPT_NUMBER:
	case OPT_DURATION:
	case OPT_SIZE: return parse_scaled(d, text, &number, e);
	case OPT_CHOICE: return parse_choice(d, text, &choice, e);
	case OPT_LIST: return check_item(d, text, e);
	case OPT_KIND_COUNT: break;
	}
	return err_set(e, ERR_INTERNAL, "%s: no kind", d->name);
}

static int set_text(char **field, const char *text, struct err *e)
{
	char *copy = mem_strdup(text);

	if (!copy)
		return err_set(e, ERR_NOMEM, "option");
	mem_free(*field);
	*field = copy;
	return 0;
}

static void list_free(struct opt_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		mem_free(l->item[i].text);
	mem_free(l->item);
	*l = (struct opt_list){ 0 };
}

static int list_add(struct opt_list *l, const char *text, const char *origin, unsigned order,
		    struct err *e)
{
	struct opt_item *item = mem_resize(l->item, (l->count + 1) * sizeof(*item));

	if (!item)
		return err_set(e, ERR_NOMEM, "option");
	l->item = item;
	item += l->count;
	*item = (struct opt_item){ .text = mem_strdup(text), .order = order };
	if (!item->text)
		return err_set(e, ERR_NOMEM, "option");
	(void)str_fmt(item->origin, sizeof(item->origin), "%s", origin);
	l->count++;
	return 0;
}

/* ---- layers ---- */

struct given {
	enum opt_level level;
	unsigned order;
	const char *text, *origin;
};

static int set_list(struct options *o, const struct opt *d, const struct given *g, struct err *e)
{
	struct opt_list *l = (void *)((char *)o + d->offset);

	if (check_item(d, g->text, e) != 0)
		return -1;
	if (o->origin[opt_id(d)].level != g->level)
		list_free(l);
	return list_add(l, g->text, g->origin, g->order, e);
}

static int set(struct options *o, const struct opt *d, const struct given *g, struct err *e)
{
	struct opt_origin *origin = &o->origin[opt_id(d)];
	void *field = (char *)o + d->offset;
	int rc = -1;

	switch (d->kind) {
	case OPT_BOOL: rc = parse_bool(g->text, field, e); break;
	case OPT_TEXT: rc = set_text(field, g->text, e); break;
	case OPT_NUMBER:
	case OPT_DURATION:
	case OPT_SIZE: rc = parse_scaled(d, g->text, field, e); break;
	case OPT_CHOICE: rc = parse_choice(d, g->text, field, e); break;
	case OPT_LIST: rc = set_list(o, d, g, e); break;
	case OPT_KIND_COUNT: break;
	}
	if (rc != 0)
		return err_wrap(e, "%s", g->origin);
	origin->level = g->level;
	origin->order = g->order;
	(void)str_fmt(origin->text, sizeof(origin->text), "%s", g->origin);
	return 0;
}

static int set_builtin(struct options *o, struct err *e)
{
	struct given g = { .level = LEVEL_BUILTIN, .origin = "built-in" };

	for (size_t i = 0; i < OPT_ID_COUNT; i++) {
		(void)str_fmt(o->origin[i].text, sizeof(o->origin[i].text), "built-in");
		g.text = opt_table[i].def;
		if (g.text && set(o, &opt_table[i], &g, e) != 0)
			return -1;
	}
	return 0;
}

int options_build(struct options *o, const struct settings *const *layers, size_t n, struct err *e)
{
	memset(o, 0, sizeof(*o));
	if (set_builtin(o, e) != 0)
		goto fail;
	for (size_t l = 0; l < n; l++)
		for (size_t i = 0; layers[l] && i < layers[l]->count; i++) {
			const struct setting *s = &layers[l]->item[i];
			struct given g = { layers[l]->level, (unsigned)i, s->text, s->origin };

			if (set(o, s->opt, &g, e) != 0)
				goto fail;
		}
	return 0;
fail:
	options_free(o);
	return -1;
}

void options_free(struct options *o)
{
	for (size_t i = 0; i < OPT_ID_COUNT; i++) {
		void *field = (char *)o + opt_table[i].offset;

		if (opt_table[i].kind == OPT_TEXT)
			mem_free(*(char **)field);
		else if (opt_table[i].kind == OPT_LIST)
			list_free(field);
	}
	memset(o, 0, sizeof(*o));
}

/* ---- not built yet ---- */

/* The value as it would be written, if it is one that is not built; NULL: fine. */
static const char *unbuilt_value(const struct options *o, const struct opt *d, char text[64])
{
	const void *field = (const char *)o + d->offset;
	const char *word = d->spec;
	uint64_t number = 0;
	bool yes = false;

	switch (d->kind) {
	case OPT_BOOL:
		(void)parse_bool(d->def, &yes, NULL);
		return *(const bool *)field == yes ? NULL : *(const bool *)field ? "" : "=false";
	case OPT_CHOICE:
		for (unsigned i = *(const unsigned *)field; i--;)
			word += strcspn(word, "|") + 1;
		(void)str_fmt(text, 64, "%.*s", (int)strcspn(word, "|"), word);
		return position(d->unbuilt, text) < 0 ? NULL : text;
	case OPT_TEXT: return *(char *const *)field;
	case OPT_LIST:
		return ((const struct opt_list *)field)->count
			       ? ((const struct opt_list *)field)->item[0].text
			       : NULL;
	default:
		(void)scaled(d->def, units_of(d->kind), &number); /* auto: stays 0 */
		(void)str_fmt(text, 64, "%llu", (unsigned long long)*(const uint64_t *)field);
		return *(const uint64_t *)field == number ? NULL : text;
	}
}

int options_unbuilt(const struct options *o, struct err *e)
{
	for (size_t i = 0; i < OPT_ID_COUNT; i++) {
		const struct opt *d = &opt_table[i];
		const struct opt_origin *from = &o->origin[i];
		char text[64];
		const char *value = d->unbuilt ? unbuilt_value(o, d, text) : NULL;

		if (!value)
			continue;
		return err_set(e, ERR_USAGE, "--%s%s%.60s%s%s%s is not built yet in this version",
			       d->name, d->kind == OPT_BOOL ? "" : " ", value,
			       from->level == LEVEL_ARGV ? "" : " (",
			       from->level == LEVEL_ARGV ? "" : from->text,
			       from->level == LEVEL_ARGV ? "" : ")");
	}
	return 0;
}

/* ---- order ---- */

struct ordered {
	struct opt_given given;
	enum opt_level level;
	unsigned order;
};

static int compare(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;

	if (x->level != y->level)
		return x->level > y->level ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

size_t options_in_order(const struct options *o, const enum opt_id *ids, size_t n,
			struct opt_given *out, size_t max)
{
	struct ordered *all = mem_alloc(max * sizeof(*all));
	size_t count = 0;

	for (size_t i = 0; all && i < n; i++) {
		const struct opt *d = &opt_table[ids[i]];
		const struct opt_origin *from = &o->origin[ids[i]];
		const void *field = (const char *)o + d->offset;
		const struct opt_list *l = field;

		if (d->kind == OPT_TEXT && *(char *const *)field && count < max)
			all[count++] = (struct ordered){ { d, *(char *const *)field, from->text,
							   from->level },
							 from->level,
							 from->order };
		for (size_t k = 0; d->kind == OPT_LIST && k < l->count && count < max; k++)
			all[count++] = (struct ordered){ { d, l->item[k].text, l->item[k].origin,
							   from->level },
							 from->level,
							 l->item[k].order };
	}
	if (count)
		qsort(all, count, sizeof(*all), compare);
	for (size_t i = 0; i < count; i++)
		out[i] = all[i].given;
	mem_free(all);
	return count;
}
