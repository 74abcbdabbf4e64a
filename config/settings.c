#include "config/settings.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < s->count; i++)
		mem_free(s->item[i].text);
	mem_free(s->item);
	*s = (struct settings){ .level = s->level };
}

int settings_add(struct settings *s, const struct opt *d, const char *text, const char *origin,
		 struct err *e)
{
	struct setting *item;

	if (opt_check(d, text, e) != 0)
		return err_wrap(e, "%s", origin);
	if (s->count == s->size) {
		size_t size = s->size ? 2 * s->size : 8;

		item = mem_resize(s->item, size * sizeof(*item));
		if (!item)
			return err_set(e, ERR_NOMEM, "settings");
		s->item = item;
		s->size = size;
	}
	item = &s->item[s->count];
	*item = (struct setting){ .opt = d, .text = mem_strdup(text) };
	if (!item->text)
		return err_set(e, ERR_NOMEM, "settings");
	(void)str_fmt(item->origin, sizeof(item->origin), "%s", origin);
	s->count++;
	return 0;
}

const char *settings_get(const struct settings *s, enum opt_id id)
{
	const char *text = NULL;

	for (size_t i = 0; i < s->count; i++)
		if (opt_id(s->item[i].opt) == id)
			text = s->item[i].text;
	return text;
}

/* ---- argv ---- */

struct cursor {
	struct args *args;
	const struct arg_opt *own;
	char *const *argv;
	int argc, at;
};

/* What an option on the command line turned out to be: one of the table, or the subcommand's. */
struct found {
	const struct opt *opt;
	const struct arg_opt *own;
	bool negated;
};

static bool find_long(const struct cursor *c, const char *name, struct found *f)
{
	for (f->own = c->own; f->own && f->own->name; f->own++)
		if (strcmp(f->own->name, name) == 0)
			return true;
	f->own = NULL;
	f->opt = opt_find(name, &f->negated);
	return f->opt != NULL;
}

static bool find_short(const struct cursor *c, char ch, struct found *f)
{
	for (f->own = c->own; f->own && f->own->name; f->own++)
		if (f->own->ch && f->own->ch == ch)
			return true;
	f->own = NULL;
	f->negated = false;
	for (size_t i = 0; i < OPT_ID_COUNT; i++)
		if (opt_table[i].ch && opt_table[i].ch == ch) {
			f->opt = &opt_table[i];
			return true;
		}
	return false;
}

static bool takes_value(const struct found *f)
{
	return f->own ? f->own->arg != NULL : f->opt->kind != OPT_BOOL;
}

static int apply_own(const struct arg_opt *own, const char *text, const char *origin, struct err *e)
{
	if (own->arg) {
		*own->value = text;
		return 0;
	}
	if (!text || strcmp(text, "true") == 0)
		*own->flag = true;
	else if (strcmp(text, "false") == 0)
		*own->flag = false;
	else
		return err_set(e, ERR_USAGE, "%s: '%.40s': true or false expected", origin, text);
	return 0;
}

/* inline_value: what stood behind '=' or the short letter; NULL: nothing. */
static int apply(struct cursor *c, const struct found *f, const char *inline_value,
		 const char *origin, struct err *e)
{
	const char *text = inline_value;

	if (takes_value(f) && !text) {
		if (c->at + 1 >= c->argc)
			return err_set(e, ERR_USAGE, "%s needs a value", origin);
		text = c->argv[++c->at];
	}
	if (f->own)
		return apply_own(f->own, text, origin, e);
	if (f->negated && text)
		return err_set(e, ERR_USAGE, "%s takes no value", origin);
	if (f->opt->kind == OPT_BOOL && !text)
		text = f->negated ? "false" : "true";
	return settings_add(&c->args->settings, f->opt, text, origin, e);
}

static int unknown(const char *name, struct err *e)
{
	const char *near = opt_suggest(name);

	return err_set(e, ERR_USAGE, "unknown option --%.60s%s%s%s", name,
		       near ? ": did you mean --" : "", near ? near : "", near ? "?" : "");
}

static int parse_long(struct cursor *c, const char *word, struct err *e)
{
	const char *eq = strchr(word, '=');
	char name[64], origin[80];
	struct found f = { 0 };

	if (!str_fmt(name, sizeof(name), "%.*s", (int)(eq ? eq - word : 63), word) ||
	    !find_long(c, name, &f))
		return unknown(name, e);
	(void)str_fmt(origin, sizeof(origin), "--%s", name);
	return apply(c, &f, eq ? eq + 1 : NULL, origin, e);
}

/* -x value, -xvalue; letters of flags are not put together, none has one. */
static int parse_short(struct cursor *c, const char *word, struct err *e)
{
	char origin[3] = { '-', word[0], '\0' };
	struct found f = { 0 };

	if (!find_short(c, word[0], &f))
		return err_set(e, ERR_USAGE, "unknown option -%c", word[0]);
	if (!takes_value(&f) && word[1])
		return err_set(e, ERR_USAGE, "-%c takes no value", word[0]);
	return apply(c, &f, word[1] ? word + 1 : NULL, origin, e);
}

static int parse_words(struct cursor *c, struct err *e)
{
	bool options = true;

	for (c->at = 1; c->at < c->argc; c->at++) {
		const char *word = c->argv[c->at];

		if (options && strcmp(word, "--") == 0) {
			options = false;
		} else if (options && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
			c->args->help = true;
			return 0;
		} else if (options && str_starts(word, "--")) {
			if (parse_long(c, word + 2, e) != 0)
				return -1;
		} else if (options && word[0] == '-' && word[1]) {
			if (parse_short(c, word + 1, e) != 0)
				return -1;
		} else {
			c->args->positional[c->args->count++] = word;
		}
	}
	return 0;
}

int args_parse(struct args *a, int argc, char *const *argv, const struct arg_opt *own,
	       struct err *e)
{
	struct cursor c = { .args = a, .own = own, .argv = argv, .argc = argc };

	*a = (struct args){ .settings.level = LEVEL_ARGV };
	a->positional = mem_alloc((size_t)(argc + 1) * sizeof(char *));
	if (!a->positional)
		return err_set(e, ERR_NOMEM, "arguments");
	if (parse_words(&c, e) == 0)
		return 0;
	args_free(a);
	return -1;
}

void args_free(struct args *a)
{
	settings_free(&a->settings);
	mem_free(a->positional);
	*a = (struct args){ 0 };
}

/* ---- environment ---- */

/* AWSOCKS_ROUTE_DEFAULT -> route-default; false: not one of ours. */
static bool option_name(const char *var, char *out, size_t size)
{
	const char *eq = strchr(var, '=');

	if (!str_starts(var, "AWSOCKS_") || !eq ||
	    !str_fmt(out, size, "%.*s", (int)(eq - var - 8), var + 8))
		return false;
	for (; *out; out++)
		*out = *out == '_' ? '-' : (char)tolower((unsigned char)*out);
	return true;
}

static int add_items(struct settings *s, const struct opt *d, char *text, const char *origin,
		     struct err *e)
{
	static const char blank[] = " \t\r\n", ends[] = ", \t\r\n";

	while (*(text += strspn(text, ends))) {
		char *end = text + strcspn(text, str_starts(text, "re:") ? blank : ends);
		bool last = *end == '\0';

		*end = '\0';
		if (settings_add(s, d, text, origin, e) != 0)
			return -1;
		text = last ? end : end + 1;
	}
	return 0;
}

static int add_variable(struct settings *s, const struct opt *d, bool negated, const char *var,
			struct err *e)
{
	const char *eq = strchr(var, '=');
	char origin[80], *copy;
	int rc;

	(void)str_fmt(origin, sizeof(origin), "%.*s", (int)(eq - var), var);
	if (negated)
		return err_set(e, ERR_USAGE, "%s: write AWSOCKS_%s=false", origin, origin + 11);
	if (d->kind != OPT_LIST)
		return settings_add(s, d, eq + 1, origin, e);
	copy = mem_strdup(eq + 1);
	if (!copy)
		return err_set(e, ERR_NOMEM, "environment");
	rc = add_items(s, d, copy, origin, e);
	mem_free(copy);
	return rc;
}

static void warn_unknown(const char *var, const char *name,
			 void (*warn)(void *arg, const char *text), void *arg)
{
	const char *near = opt_suggest(name);
	char text[200];

	if (!near || !warn)
		return;
	(void)str_fmt(text, sizeof(text),
		      "%.*s is no option of awsocks: did you mean the one for --%s?",
		      (int)strcspn(var, "="), var, near);
	warn(arg, text);
}

int settings_from_env(struct settings *s, char *const *env,
		      void (*warn)(void *arg, const char *text), void *arg, struct err *e)
{
	char name[64];

	*s = (struct settings){ .level = LEVEL_ENV };
	for (; *env; env++) {
		const struct opt *d;
		bool negated;

		if (!option_name(*env, name, sizeof(name)))
			continue;
		d = opt_find(name, &negated);
		if (!d) {
			warn_unknown(*env, name, warn, arg);
		} else if (add_variable(s, d, negated, *env, e) != 0) {
			settings_free(s);
			return -1;
		}
	}
	return 0;
}
