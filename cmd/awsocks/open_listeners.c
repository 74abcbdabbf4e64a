#include "cmd/awsocks/open_listeners.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/rule_slots.h"
#include "cmd/awsocks/text_file.h"
#include "net/activation.h"
#include "proxy/auth.h"

/* One listener, from the command line or from config.yaml. */
struct wanted {
	size_t index;
	const char *address, *name, *rules, *group;
	const char *own_name; /* in config.yaml; NULL: none */
	const char *const *allow_from;
	size_t allow_from_count;
	const long *allow_uid;
	size_t allow_uid_count;
	const struct config_users *users;
	char users_file[PATH_TEXT]; /* "": none */
	enum config_guard guard;
	bool check_sni;
	int mode;                               /* of a Unix socket; -1: not given */
	uint64_t max_connections, max_per_peer; /* 0: not given */
};
typedef int wanted_fn(void *arg, const struct wanted *, struct err *);

struct walk {
	const struct setup *setup;
	size_t count;
	wanted_fn *fn;
	void *arg;
};

/* ---- which there are ---- */

static const struct options *options_of(const struct setup *s)
{
	return &s->profile[0].options;
}

static bool uses_listen(const struct setup *s)
{
	return !setup_own_listeners(s) ||
	       options_of(s)->origin[OPT_ID_listen].level > LEVEL_BUILTIN;
}

int users_option_path(const struct setup *s, char out[static PATH_TEXT], struct err *e)
{
	const struct options *o = options_of(s);
	enum opt_level level = o->origin[OPT_ID_users].level;

	*out = '\0';
	if (!o->users)
		return 0;
	if (level == LEVEL_DEFAULTS || level == LEVEL_PROFILE)
		return setup_path(s, o->users, out, e);
	return str_fmt(out, PATH_TEXT, "%s", o->users)
		       ? 0
		       : err_set(e, ERR_USAGE, "--users: path too long");
}

static int walk_given(struct walk *k, struct err *e)
{
	const struct options *o = options_of(k->setup);
	const char **allow = mem_alloc((o->allow_from.count + 1) * sizeof(*allow));
	int result = allow ? 0 : err_set(e, ERR_NOMEM, "listeners");

	for (size_t i = 0; result == 0 && i < o->allow_from.count; i++)
		allow[i] = o->allow_from.item[i].text;
	for (size_t i = 0; result == 0 && i < o->listen.count; i++) {
		const char *address = o->listen.item[i].text;
		struct wanted w = {
			.index = k->count,
			.address = address,
			.name = k->count ? address : "default",
			.allow_from = allow,
			/* Networks say nothing about a Unix socket; its mode does. */
			.allow_from_count = str_starts(address, "unix:") ? 0 : o->allow_from.count,
			.mode = -1,
		};

		result = users_option_path(k->setup, w.users_file, e);
		if (result == 0)
			result = k->fn(k->arg, &w, e);
		k->count++;
	}
	mem_free(allow);
	return result;
}

static int walk_configured(struct walk *k, struct err *e)
{
	const struct config_file *c = k->setup->config;

	for (size_t i = 0; c && i < c->listener_count; i++) {
		const struct config_listener *l = &c->listener[i];
		struct wanted w = {
			.index = k->count,
			.address = l->address,
			.name = l->name    ? l->name
				: k->count ? l->address
					   : "default",
			.own_name = l->name,
			.rules = l->rules,
			.group = l->group,
			.allow_from = (const char *const *)l->allow_from.item,
			.allow_from_count = l->allow_from.count,
			.allow_uid = l->allow_uid,
			.allow_uid_count = l->allow_uid_count,
			.users = &l->users,
			.guard = l->guard,
			.check_sni = l->check_sni,
			.mode = l->mode,
			.max_connections = l->max_connections,
			.max_per_peer = l->max_per_peer,
		};

		if ((l->users_file && setup_path(k->setup, l->users_file, w.users_file, e) != 0) ||
		    k->fn(k->arg, &w, e) != 0)
			return err_wrap(e, "%s:%u", l->file ? l->file : c->name, l->line);
		k->count++;
	}
	return 0;
}

static int walk(const struct setup *s, wanted_fn *fn, void *arg, struct err *e)
{
	struct walk k = { .setup = s, .fn = fn, .arg = arg };

	if (uses_listen(s) && walk_given(&k, e) != 0)
		return -1;
	return walk_configured(&k, e);
}

/* ---- users ---- */

static int make_users(const struct config_users *list, struct auth_users **out, struct err *e)
{
	struct auth_user_opts *o = mem_alloc((list->count + 1) * sizeof(*o));
	int result;

	if (!o)
		return err_set(e, ERR_NOMEM, "users");
	for (size_t i = 0; i < list->count; i++)
		o[i] = (struct auth_user_opts){ list->item[i].name, list->item[i].hash };
	result = auth_users_new(out, o, list->count, e);
	mem_free(o);
	return result;
}

static int read_users(const char *path, struct config_users *list, struct err *e)
{
	char *text;
	size_t n;
	int result;

	if (text_file_read(path, &text, &n, e) != 0) {
		e->code = ERR_CONFIG;
		return err_wrap(e, "users");
	}
	result = users_parse(text, n, path, list, e);
	mem_free_str(text);
	return result;
}

/* *out NULL: it asks for no passwords. */
static int users_of(const struct wanted *w, struct auth_users **out, struct err *e)
{
	struct config_users list;
	int result;

	*out = NULL;
	if (w->users && w->users->count)
		return make_users(w->users, out, e);
	if (!*w->users_file)
		return 0;
	if (read_users(w->users_file, &list, e) != 0)
		return -1;
	result = make_users(&list, out, e);
	users_free(&list);
	return result;
}

struct new_users {
	struct auth_users **item;
	size_t count;
	const struct setup *setup;
	struct setup now; /* its files, once they are needed: ->config is there */
};

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What config.yaml says now. None any more must not mean that the old ones stay without a word. */
static int users_now(struct new_users *n, const struct wanted *w, struct auth_users **out,
		     struct err *e)
{
	const struct config_file *c;

	if (!n->now.config && setup_files_now(n->setup, &n->now, e) != 0)
		return -1;
	c = n->now.config;
	for (size_t i = 0; c && i < c->listener_count; i++) {
		const struct config_listener *l = &c->listener[i];

		if (l->users.count && strcmp(l->address, w->address) == 0 &&
		    is_same_text(l->name, w->own_name))
			return make_users(&l->users, out, e);
	}
	return err_set(e, ERR_CONFIG,
		       "the listener %s with users in it is not in %s any more: that needs a "
		       "restart",
		       w->name, n->setup->config_path);
}

static int add_users(void *arg, const struct wanted *w, struct err *e)
{
	struct new_users *n = arg;
	struct auth_users **item = mem_resize(n->item, (n->count + 1) * sizeof(*item));

	if (!item)
		return err_set(e, ERR_NOMEM, "users");
	n->item = item;
	item[n->count] = NULL;
	n->count++;
	if (w->users && w->users->count)
		return users_now(n, w, &item[n->count - 1], e);
	return *w->users_file ? users_of(w, &item[n->count - 1], e) : 0;
}

int reload_users(struct app *app, const struct setup *s, struct err *e)
{
	struct new_users n = { .setup = s };
	int result = walk(s, add_users, &n, e);

	if (result == 0)
		result = app_set_users(app, n.item, n.count, e);
	for (size_t i = 0; i < n.count; i++)
		auth_users_unref(n.item[i]);
	mem_free(n.item);
	setup_free(&n.now);
	return result;
}

struct users_check {
	problem_fn *report;
	void *arg;
};

static int check_one(void *arg, const struct wanted *w, struct err *e)
{
	struct users_check *c = arg;
	struct config_users list;

	if (!*w->users_file)
		return 0;
	if (read_users(w->users_file, &list, e) != 0)
		c->report(c->arg, e->msg);
	else
		users_free(&list);
	return 0;
}

void check_users(const struct setup *s, problem_fn *report, void *arg)
{
	struct users_check c = { report, arg };
	struct err e;

	if (walk(s, check_one, &c, &e) != 0)
		report(arg, e.msg);
}

/* ---- opening ---- */

struct opening {
	struct app *app;
	struct rule_slots *rules;
	struct activation *given;
};

static bool is_plain_loopback(const struct addr *at)
{
	return at->ss.ss_family != AF_UNIX && addr_is_loopback(at);
}

static int check_exposure(const struct wanted *w, const struct addr *at, bool users, struct err *e)
{
	if (addr_is_loopback(at) || w->allow_from_count || users)
		return 0;
	return err_set(e, ERR_CONFIG,
		       "%s is open to others: say who may use it, as in --allow-from "
		       "192.168.64.0/24 (or allow-from: [\"192.168.64.0/24\"] in config.yaml), or "
		       "--users FILE (users: of what awsocks passwd prints)",
		       w->address);
}

static int prepare_one(void *arg, const struct wanted *w, struct err *e)
{
	(void)arg;
	if (!str_starts(w->address, "unix:") ||
	    path_make_socket_dir(w->address + strlen("unix:"), w->group, e) == 0)
		return 0;
	return err_wrap(e, "listen at %s", w->address);
}

int prepare_listeners(const struct setup *s, struct err *e)
{
	return walk(s, prepare_one, NULL, e);
}

/* Where: an address of ours to come, or a socket that is there. */
static int find_place(const struct opening *p, const struct wanted *w, struct app_listener_opts *o,
		      struct listen_bound *given, struct err *e)
{
	if (!activation_is(w->address))
		return addr_parse(w->address, &o->address, e);
	if (activation_listen(p->given, w->address, given, e) != 0)
		return -1;
	o->address = given->addr;
	o->given = given;
	return 0;
}

static int open_at(const struct opening *p, const struct wanted *w, struct app_listener_opts *o,
		   struct err *e)
{
	/* What is passed is guarded unless it is said otherwise: the file that decides about it is
	 * another one. */
	bool plain = !o->given && is_plain_loopback(&o->address);

	if (check_exposure(w, &o->address, o->users != NULL, e) != 0)
		return err_wrap(e, "listen");
	if (!o->given && prepare_one(NULL, w, e) != 0)
		return -1;
	o->mode = w->mode > 0 ? w->mode : w->group ? 0660 : 0;
	o->guarded = w->guard == GUARD_ON || (w->guard == GUARD_AUTO && !plain);
	if (rule_slots_add(p->rules, w->rules, plain && !w->rules, plain && !o->guarded, e) != 0)
		return -1;
	o->router = rule_slots_router;
	o->router_arg = rule_slots_arg(p->rules, w->index);
	o->rules = rule_slots_describe;
	return app_listen(p->app, o, e);
}

static int open_with(const struct opening *p, const struct wanted *w, struct app_listener_opts *o,
		     struct err *e)
{
	struct listen_bound given = { .fd = -1 };
	int result = find_place(p, w, o, &given, e);

	if (result == 0)
		result = open_at(p, w, o, e);
	listen_drop(&given);
	return result;
}

static int open_one(void *arg, const struct wanted *w, struct err *e)
{
	struct app_listener_opts o = {
		.name = w->name,
		.allow_from = w->allow_from,
		.allow_from_count = w->allow_from_count,
		.allow_uid = w->allow_uid,
		.allow_uid_count = w->allow_uid_count,
		.check_sni = w->check_sni,
		.max_connections = (size_t)w->max_connections,
		.max_per_peer = (size_t)w->max_per_peer,
	};
	int result;

	if (users_of(w, &o.users, e) != 0)
		return -1;
	result = open_with(arg, w, &o, e);
	auth_users_unref(o.users);
	return result;
}

int open_listeners(struct app *app, struct rule_slots *rules, const struct setup *s,
		   struct activation *given, struct err *e)
{
	struct opening p = { app, rules, given };
	const char *unused;

	if (walk(s, open_one, &p, e) != 0)
		return -1;
	unused = activation_unused(given);
	if (unused)
		log_warn("listen",
			 "a socket named %s was passed to this process, and no listener takes it "
			 "(address: \"systemd:%s\")",
			 unused, unused);
	return 0;
}
