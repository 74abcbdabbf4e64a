#include "cmd/awsocks/rules.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/login_hosts.h"
#include "cmd/awsocks/project.h"
#include "cmd/awsocks/text_file.h"

enum { GIVEN_MAX = 4096 };

static const enum opt_id routing_options[] = { OPT_ID_rules,           OPT_ID_route_default,
					       OPT_ID_route_proxy,     OPT_ID_route_direct,
					       OPT_ID_route_vm_direct, OPT_ID_route_block };

static int note_file(struct rule_set *s, const char *path, bool watch, struct err *e)
{
	struct rule_file *file = mem_resize(s->file, (s->file_count + 1) * sizeof(*file));

	if (!file)
		return err_set(e, ERR_NOMEM, "rules");
	s->file = file;
	file += s->file_count;
	if (!str_fmt(file->path, sizeof(file->path), "%s", path))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	file->watch = watch;
	file->empty = false;
	s->file_count++;
	return 0;
}

static int add_file(struct rule_set *s, const struct rule_request *q, const char *path,
		    unsigned flags, struct err *e)
{
	char *text;
	size_t n;
	int rc;

	if (text_file_read(path, &text, &n, e) != 0) {
		e->code = ERR_CONFIG;
		(void)err_wrap(e, "rules");
		if (q->report)
			q->report(q->arg, e->msg);
		return -1;
	}
	rc = note_file(s, path, true, e);
	if (rc == 0)
		s->file[s->file_count - 1].empty = n == 0;
	if (rc == 0)
		rc = router_add_yaml(s->router, text, n, path, flags, q->report, q->arg, e);
	mem_free(text);
	return rc;
}

/* ---- --rules and --route-* ---- */

static int add_given(struct rule_set *s, const struct rule_request *q, const struct opt_given *g,
		     struct err *e)
{
	bool from_config = g->level == LEVEL_DEFAULTS || g->level == LEVEL_PROFILE;
	char path[PATH_TEXT];
	int rc;

	if (opt_id(g->opt) == OPT_ID_rules) {
		if (!from_config && !str_fmt(path, sizeof(path), "%s", g->text))
			return err_set(e, ERR_USAGE, "%s: path too long", g->origin);
		if (from_config && setup_path(q->setup, g->text, path, e) != 0)
			return -1;
		return add_file(s, q, path, 0, e);
	}
	if (opt_id(g->opt) == OPT_ID_route_default)
		rc = router_set_default(s->router, g->text, g->origin, e);
	else
		rc = router_add_pattern(s->router, g->opt->name + strlen("route-"), g->text,
					g->origin, e);
	if (rc == 0)
		return 0;
	(void)err_wrap(e, "%s", g->origin);
	if (!from_config && e->code == ERR_CONFIG)
		e->code = ERR_USAGE; /* an option's value, not a file's */
	if (q->report)
		q->report(q->arg, e->msg);
	return -1;
}

/* *any: there were some. */
static int add_options(struct rule_set *s, const struct rule_request *q, bool *any, struct err *e)
{
	struct opt_given *given = mem_alloc(GIVEN_MAX * sizeof(*given));
	size_t n;
	int rc = 0;

	if (!given)
		return err_set(e, ERR_NOMEM, "rules");
	n = options_in_order(&q->setup->profile[0].options, routing_options,
			     sizeof(routing_options) / sizeof(routing_options[0]), given,
			     GIVEN_MAX);
	*any = n > 0;
	if (n == GIVEN_MAX)
		rc = err_set(
			e, ERR_USAGE,
			"more than %d --route-* patterns: put them into a file and say --rules "
			"FILE",
			GIVEN_MAX - 1);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_given(s, q, &given[i], e);
	mem_free(given);
	return rc;
}

/* ---- project file and profile ---- */

static int use_project(struct rule_set *s, const struct rule_request *q, const struct project *p,
		       struct err *e)
{
	char text[PATH_TEXT * 2 + 120];

	if (!*p->path)
		return 0;
	if (!p->trusted) {
		(void)str_fmt(text, sizeof(text),
			      "%s is not trusted and not used: read it, then run: awsocks trust %s",
			      p->path, p->path);
		if (q->warn)
			q->warn(q->arg, text);
		return 0;
	}
	if (note_file(s, p->path, false, e) != 0)
		return -1;
	return router_add_yaml(s->router, p->text, p->n, p->path, 0, q->report, q->arg, e);
}

static int add_project(struct rule_set *s, const struct rule_request *q, struct err *e)
{
	struct project p;
	int rc;

	if (!q->project || !q->setup->profile[0].options.project_file)
		return 0;
	rc = project_find(&p, NULL, e);
	if (rc == 0)
		rc = use_project(s, q, &p, e);
	project_free(&p);
	return rc;
}

static int add_routing(struct rule_set *s, const struct rule_request *q, struct err *e)
{
	const struct yaml *routing = q->setup->profile[0].routing;

	if (!routing)
		return 0;
	return router_add_tree(s->router, routing, q->setup->config_path, 0, q->report, q->arg, e);
}

/* ---- all ---- */

static int load(struct rule_set *s, const struct rule_request *q, struct err *e)
{
	char path[PATH_TEXT];
	bool any = false;

	if (q->listener_rules) {
		s->listener_rules = true;
		if (setup_path(q->setup, q->listener_rules, path, e) != 0)
			return -1;
		return add_file(s, q, path, RULES_ALLOW_HOST, e);
	}
	if (q->login_hosts && login_hosts_add(s->router, q->setup, e) != 0)
		return -1;
	if (add_options(s, q, &any, e) != 0)
		return -1;
	if (any)
		return 0;
	if (add_project(s, q, e) != 0)
		return -1;
	return add_routing(s, q, e);
}

int rules_load(struct rule_set *s, const struct rule_request *q, struct err *e)
{
	struct router_opts o = { .mode_vm = q->setup->profile[0].options.mode == MODE_VM,
				 .warn = q->warn,
				 .warn_arg = q->arg };

	memset(s, 0, sizeof(*s));
	if (router_new(&s->router, &o, e) != 0)
		return -1;
	if (load(s, q, e) == 0)
		return 0;
	rules_free(s);
	return -1;
}

void rules_free(struct rule_set *s)
{
	router_free(s->router);
	mem_free(s->file);
	memset(s, 0, sizeof(*s));
}

struct policy rules_policy(const struct options *o, bool guarded)
{
	return (struct policy){ .init = (enum policy_init)o->while_initializing,
				.fallback = (enum policy_fallback)o->fallback,
				.fallback_on_dial_failure = o->fallback_on ==
							    FALLBACK_ON_DIAL_FAILURE,
				.mode_vm = o->mode == MODE_VM,
				.guarded = guarded };
}

int rules_check_profiles(const struct rule_set *s, const struct setup *setup, struct err *e)
{
	const char *name, *origin = "";

	for (size_t i = 0; (name = router_profile(s->router, i, &origin)) != NULL; i++) {
		const struct setup_profile *p = NULL;

		for (size_t k = 0; k < setup->count && !p; k++)
			if (strcmp(setup->profile[k].name, name) == 0)
				p = &setup->profile[k];
		if (!p)
			return err_set(e, ERR_CONFIG, "%s: proxy:%s: no profile '%s' in %s", origin,
				       name, name,
				       *setup->config_path ? setup->config_path
							   : "config.yaml, which does not exist");
		if (options_unbuilt(&p->options, e) != 0)
			return err_wrap(e, "profile %s", name);
	}
	return 0;
}
