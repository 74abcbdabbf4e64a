/*
 * config.yaml into settings, by the same table as argv. Reading goes on behind a
 * problem, so that `awsocks check` can print them all.
 */
#include "config/file.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/suggest.h"

enum { LISTENERS_MAX = 256, PROFILES_MAX = 1024 };

struct reader {
	struct config_file *file;
	struct problems problems;
};

/* ---- options ---- */

static void read_value(struct reader *rd, const struct opt *d, bool negated, const struct yaml *y,
		       struct settings *into)
{
	char origin[OPT_ORIGIN];
	const char *text = y->text;
	struct err e;

	if (negated) {
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
			problem(&rd->problems, y, "no-%s: true or false expected", d->name);
			return;
		}
		text = strcmp(text, "true") == 0 ? "false" : "true";
	}
	if (opt_check(d, text, &e) != 0) {
		problem(&rd->problems, y, "%s: %s", d->name, e.msg);
		return;
	}
	(void)str_fmt(origin, sizeof(origin), "%s:%u", rd->problems.name, y->line);
	if (settings_add(into, d, text, origin, &e) != 0)
		problem_err(&rd->problems, y, &e);
}

static void unknown_option(struct reader *rd, const struct yaml *key, const char *where)
{
	const char *near = opt_suggest(key->text);

	problem(&rd->problems, key, "unknown key '%.40s' in %s%s%s%s", key->text, where,
		near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void read_option(struct reader *rd, const struct yaml *key, const struct yaml *y,
			const char *where, struct settings *into)
{
	const struct yaml *item;
	bool negated;
	const struct opt *d = opt_find(key->text, &negated);

	if (!d) {
		unknown_option(rd, key, where);
	} else if (opt_id(d) == OPT_ID_config) {
		problem(&rd->problems, key,
			"config: only on the command line or as AWSOCKS_CONFIG");
	} else if (opt_id(d) == OPT_ID_allow_from && !yaml_nth(y, 0) && y->kind != YAML_MAP) {
		problem(&rd->problems, y, "allow-from: empty: leave it out to allow all");
	} else if (yaml_is_null(y)) {
		return; /* as if it were not there */
	} else if (d->kind == OPT_LIST) {
		if (!yaml_is_texts(&rd->problems, y, d->name))
			return;
		for (size_t i = 0; (item = yaml_nth(y, i)) != NULL; i++)
			read_value(rd, d, false, item, into);
	} else if (y->kind != YAML_SCALAR) {
		problem(&rd->problems, y, "%s: one value expected", d->name);
	} else {
		read_value(rd, d, negated, y, into);
	}
}

static void read_options(struct reader *rd, const struct yaml *y, const char *where,
			 struct settings *into, const struct yaml **routing)
{
	if (yaml_is_null(y))
		return;
	if (y->kind != YAML_MAP) {
		problem(&rd->problems, y, "%s: a map of options expected, as in region: eu-west-1",
			where);
		return;
	}
	for (size_t i = 0; i < y->count; i++) {
		if (strcmp(y->key[i]->text, "routing") == 0)
			*routing = y->item[i];
		else
			read_option(rd, y->key[i], y->item[i], where, into);
	}
}

/* ---- profiles ---- */

static void read_profile(struct reader *rd, const struct yaml *key, const struct yaml *y)
{
	struct config_profile *p = &rd->file->profile[rd->file->profile_count];
	char where[100];

	if (!*key->text || strlen(key->text) > 63 || strpbrk(key->text, " \t:,\"'\\/")) {
		problem(&rd->problems, key,
			"'%.40s' is no name for a profile: letters, digits, - _ . only", key->text);
		return;
	}
	*p = (struct config_profile){ .name = mem_strdup(key->text),
				      .line = key->line,
				      .settings.level = LEVEL_PROFILE };
	if (!p->name) {
		problem_no_memory(&rd->problems, key);
		return;
	}
	rd->file->profile_count++;
	(void)str_fmt(where, sizeof(where), "profile %s", key->text);
	read_options(rd, y, where, &p->settings, &p->routing);
}

static void read_profiles(struct reader *rd, const struct yaml *y)
{
	if (yaml_is_null(y))
		return;
	if (y->kind != YAML_MAP || y->count > PROFILES_MAX) {
		problem(&rd->problems, y, "profiles: a map of at most %d names expected",
			PROFILES_MAX);
		return;
	}
	rd->file->profile = mem_alloc(sizeof(*rd->file->profile) * y->count);
	if (!rd->file->profile) {
		problem_no_memory(&rd->problems, y);
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		read_profile(rd, y->key[i], y->item[i]);
}

/* ---- listeners ---- */

static void copy_text(struct reader *rd, const struct yaml *y, const char *what, char **into)
{
	if (y->kind != YAML_SCALAR || !*y->text) {
		problem(&rd->problems, y, "%s: a text expected", what);
		return;
	}
	*into = mem_strdup(y->text);
	if (!*into)
		problem_no_memory(&rd->problems, y);
}

/* The listener's address and networks follow the rules of --listen and --allow-from. */
static void check_as(struct reader *rd, const struct yaml *y, const char *what, enum opt_id id)
{
	struct err e;

	if (y->kind == YAML_SCALAR && opt_check(&opt_table[id], y->text, &e) != 0)
		problem(&rd->problems, y, "%s: %s", what, e.msg);
}

static void read_address(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	copy_text(rd, y, "address", &l->address);
	check_as(rd, y, "address", OPT_ID_listen);
}

static void read_name(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	copy_text(rd, y, "name", &l->name);
}

static void read_rules(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	copy_text(rd, y, "rules", &l->rules);
}

static void copy_texts(struct reader *rd, const struct yaml *y, const char *what,
		       struct config_texts *into)
{
	const struct yaml *item;

	if (!yaml_is_texts(&rd->problems, y, what))
		return;
	if (y->kind == YAML_LIST && y->count == 0)
		problem(&rd->problems, y, "%s: empty: leave it out to allow all", what);
	into->item = mem_alloc(sizeof(char *) * (y->kind == YAML_LIST ? y->count + 1 : 1));
	if (!into->item)
		problem_no_memory(&rd->problems, y);
	for (size_t i = 0; into->item && (item = yaml_nth(y, i)) != NULL; i++)
		copy_text(rd, item, what, &into->item[into->count++]);
}

static void read_allow_from(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	copy_texts(rd, y, "allow-from", &l->allow_from);
	for (size_t i = 0; y->kind == YAML_LIST && i < y->count; i++)
		check_as(rd, y->item[i], "allow-from", OPT_ID_allow_from);
	check_as(rd, y, "allow-from", OPT_ID_allow_from);
}

static void read_allow_uid(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	const struct yaml *item;
	uint64_t uid;

	if (!yaml_is_texts(&rd->problems, y, "allow-uid"))
		return;
	if (y->kind == YAML_LIST && y->count == 0)
		problem(&rd->problems, y, "allow-uid: empty: leave it out to allow all");
	l->allow_uid = mem_alloc(sizeof(*l->allow_uid) * (y->count + 1));
	if (!l->allow_uid)
		problem_no_memory(&rd->problems, y);
	for (size_t i = 0; l->allow_uid && (item = yaml_nth(y, i)) != NULL; i++)
		if (item->kind == YAML_SCALAR &&
		    str_number(item->text, 0, UINT32_MAX, &uid, NULL) == 0)
			l->allow_uid[l->allow_uid_count++] = (long)uid;
		else
			problem(&rd->problems, item, "allow-uid: a user id expected, as in 1000");
}

static void read_mode(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	const char *s = y->kind == YAML_SCALAR ? y->text : "";
	size_t n = strlen(s);

	if (n < 3 || n > 4 || strspn(s, "01234567") != n || (n == 4 && *s != '0')) {
		problem(&rd->problems, y, "mode: an octal number expected, as in \"0600\"");
		return;
	}
	for (l->mode = 0; *s; s++)
		l->mode = l->mode * 8 + (*s - '0');
	if (l->mode & 0111)
		problem(&rd->problems, y,
			"mode: a socket is not executable: write \"0600\" or \"0660\"");
}

static void read_group(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	copy_text(rd, y, "group", &l->group);
}

static void read_guard(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	static const char *const words[] = { "auto", "on", "true", "off", "false" };
	static const enum config_guard values[] = { GUARD_AUTO, GUARD_ON, GUARD_ON, GUARD_OFF,
						    GUARD_OFF };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (y->kind == YAML_SCALAR && strcmp(y->text, words[i]) == 0) {
			l->guard = values[i];
			return;
		}
	problem(&rd->problems, y, "guard: on, off or auto expected");
}

static void read_check_sni(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	const char *s = y->kind == YAML_SCALAR ? y->text : "";

	l->check_sni = strcmp(s, "true") == 0;
	if (!l->check_sni && strcmp(s, "false") != 0)
		problem(&rd->problems, y, "check-sni: true or false expected");
}

/* A list, or the name of a file with one. */
static void read_users(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	if (y->kind == YAML_SCALAR)
		copy_text(rd, y, "users", &l->users_file);
	else
		users_read(&rd->problems, y, &l->users);
}

static void read_count(struct reader *rd, const struct yaml *y, const char *what, uint64_t *into)
{
	if (y->kind != YAML_SCALAR || str_number(y->text, 1, 1000000, into, NULL) != 0)
		problem(&rd->problems, y, "%s: a number between 1 and 1000000 expected", what);
}

static void read_max_connections(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	read_count(rd, y, "max-connections", &l->max_connections);
}

static void read_max_per_peer(struct reader *rd, const struct yaml *y, struct config_listener *l)
{
	read_count(rd, y, "max-per-peer", &l->max_per_peer);
}

static const struct listener_key {
	const char *name;
	void (*read)(struct reader *, const struct yaml *, struct config_listener *);
} listener_keys[] = {
	{ "address", read_address },
	{ "name", read_name },
	{ "rules", read_rules },
	{ "allow-from", read_allow_from },
	{ "allow-uid", read_allow_uid },
	{ "mode", read_mode },
	{ "group", read_group },
	{ "guard", read_guard },
	{ "check-sni", read_check_sni },
	{ "users", read_users },
	{ "max-connections", read_max_connections },
	{ "max-per-peer", read_max_per_peer },
};
enum { LISTENER_KEYS = sizeof(listener_keys) / sizeof(listener_keys[0]) };

static void read_listener_key(struct reader *rd, const struct yaml *key, const struct yaml *y,
			      struct config_listener *l)
{
	const char *known[LISTENER_KEYS + 1] = { NULL };

	for (size_t i = 0; i < LISTENER_KEYS; i++) {
		const struct listener_key *k = &listener_keys[i];

		known[i] = k->name;
		if (strcmp(key->text, k->name) != 0)
			continue;
		if (yaml_is_null(y)) /* an empty allow-from or users must not mean "all" */
			problem(&rd->problems, key, "%s: no value", k->name);
		else
			k->read(rd, y, l);
		return;
	}
	problem_unknown_key(&rd->problems, key, "a listener", known);
}

/* For sure: what is passed may be anything. */
static bool is_tcp(const char *address)
{
	static const char *const others[] = { "unix:", "systemd:", "fd:", "launchd:" };

	for (size_t i = 0; address && i < sizeof(others) / sizeof(others[0]); i++)
		if (str_starts(address, others[i]))
			return false;
	return address != NULL;
}

static void read_listener(struct reader *rd, const struct yaml *y)
{
	struct config_listener *l = &rd->file->listener[rd->file->listener_count];

	if (y->kind != YAML_MAP) {
		problem(&rd->problems, y, "a listener is { address: \"127.0.0.1:1080\", ... }");
		return;
	}
	*l = (struct config_listener){ .line = y->line, .mode = -1 };
	rd->file->listener_count++;
	for (size_t i = 0; i < y->count; i++)
		read_listener_key(rd, y->key[i], y->item[i], l);
	if (!yaml_get(y, "address"))
		problem(&rd->problems, y, "a listener needs address:");
	else if (l->mode >= 0 && l->address && !str_starts(l->address, "unix:"))
		problem(&rd->problems, yaml_get(y, "mode"), "mode: only a unix: socket has one");
	else if (l->allow_from.count && l->address && str_starts(l->address, "unix:"))
		problem(&rd->problems, yaml_get(y, "allow-from"),
			"allow-from: clients of a unix: socket have no address; its mode: and "
			"allow-uid: say who may use it");
	else if (l->group && l->address && !str_starts(l->address, "unix:"))
		problem(&rd->problems, yaml_get(y, "group"), "group: only a unix: socket has one");
	else if (l->allow_uid_count && is_tcp(l->address))
		problem(&rd->problems, yaml_get(y, "allow-uid"),
			"allow-uid: only clients of a unix: socket have one");
}

/* A name twice would make rules and logs ambiguous. */
static void check_names(struct reader *rd, const struct yaml *y)
{
	const struct config_file *f = rd->file;

	for (size_t i = 0; i < f->listener_count; i++)
		for (size_t k = 0; k < i; k++) {
			const char *a = f->listener[i].name, *b = f->listener[k].name;
			const struct yaml at = { .line = f->listener[i].line, .column = y->column };

			if (a && b && strcmp(a, b) == 0)
				problem(&rd->problems, &at, "two listeners have the name '%.40s'",
					a);
		}
}

static void read_listeners(struct reader *rd, const struct yaml *y)
{
	if (yaml_is_null(y))
		return;
	if (y->kind != YAML_LIST || y->count > LISTENERS_MAX) {
		problem(&rd->problems, y,
			"listeners: a list of at most %d expected, as in - { address: "
			"\"127.0.0.1:1080\" }",
			LISTENERS_MAX);
		return;
	}
	rd->file->listener = mem_alloc(sizeof(*rd->file->listener) * (y->count + 1));
	if (!rd->file->listener) {
		problem_no_memory(&rd->problems, y);
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		read_listener(rd, y->item[i]);
	check_names(rd, y);
}

/* ---- the file ---- */

static void read_top(struct reader *rd)
{
	static const char *const known[] = { "defaults", "profiles", "listeners", NULL };
	const struct yaml *top = rd->file->tree;

	if (top->kind != YAML_MAP) {
		problem(&rd->problems, top,
			"the configuration is a map: defaults:, profiles:, listeners:");
		return;
	}
	for (size_t i = 0; i < top->count; i++) {
		const struct yaml *key = top->key[i], *y = top->item[i];
		bool negated;

		if (strcmp(key->text, "defaults") == 0)
			read_options(rd, y, "defaults", &rd->file->defaults, &rd->file->routing);
		else if (strcmp(key->text, "profiles") == 0)
			read_profiles(rd, y);
		else if (strcmp(key->text, "listeners") == 0)
			read_listeners(rd, y);
		else if (opt_find(key->text, &negated))
			problem(&rd->problems, key, "'%.40s' belongs under defaults: or a profile",
				key->text);
		else
			problem_unknown_key(&rd->problems, key, "the configuration", known);
	}
}

int config_parse(const char *text, size_t n, const char *name, struct config_file **out,
		 problem_fn *report, void *arg, struct err *e)
{
	struct reader rd = { .problems = { .name = name, .report = report, .arg = arg } };
	struct err why;

	*out = NULL;
	rd.file = mem_alloc(sizeof(*rd.file));
	if (!rd.file || !(rd.file->name = mem_strdup(name))) {
		config_free(rd.file);
		return err_set(e, ERR_NOMEM, "configuration");
	}
	rd.file->defaults.level = LEVEL_DEFAULTS;
	if (yaml_parse(text, n, name, &rd.file->tree, &why) != 0) {
		if (report)
			report(arg, why.msg);
		rd.problems.first = why;
	} else {
		read_top(&rd);
	}
	if (rd.problems.first.code == ERR_NONE) {
		*out = rd.file;
		return 0;
	}
	if (e)
		*e = rd.problems.first;
	config_free(rd.file);
	return -1;
}

static void texts_free(struct config_texts *t)
{
	for (size_t i = 0; i < t->count; i++)
		mem_free(t->item[i]);
	mem_free(t->item);
}

static void listener_free(struct config_listener *l)
{
	mem_free(l->file);
	mem_free(l->address);
	mem_free(l->name);
	mem_free(l->rules);
	mem_free(l->group);
	texts_free(&l->allow_from);
	mem_free(l->allow_uid);
	mem_free(l->users_file);
	users_free(&l->users);
}

void config_free(struct config_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->profile_count; i++) {
		mem_free(f->profile[i].name);
		settings_free(&f->profile[i].settings);
	}
	for (size_t i = 0; i < f->listener_count; i++)
		listener_free(&f->listener[i]);
	mem_free(f->profile);
	mem_free(f->listener);
	settings_free(&f->defaults);
	yaml_tree_free(f->tree);
	mem_free(f->name);
	mem_free(f);
}

const struct config_profile *config_profile(const struct config_file *f, const char *name)
{
	for (size_t i = 0; f && i < f->profile_count; i++)
		if (strcmp(f->profile[i].name, name) == 0)
			return &f->profile[i];
	return NULL;
}
