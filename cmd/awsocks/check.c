/*
 * `awsocks check [FILE]`: every problem, one a line. Without FILE the whole
 * configuration: config.yaml, the rules under its routing:, the rule files that it
 * or the options name, the project file, and ~/.aws as far as it is used.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/yaml.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/open_listeners.h"
#include "cmd/awsocks/project.h"
#include "cmd/awsocks/rules.h"
#include "cmd/awsocks/text_file.h"
#include "cmd/awsocks/vm_setup.h"
#include "credentials/profile.h"

extern char **environ;

struct tally {
	unsigned problems;
};

static void problem_found(void *arg, const char *text)
{
	struct tally *t = arg;

	t->problems++;
	printf("%s\n", text);
}

static void warning(void *arg, const char *text)
{
	(void)arg;
	printf("warning: %s\n", text);
}

/* A failure that no report() told of. */
static void note(struct tally *t, unsigned before, const struct err *e)
{
	if (t->problems == before)
		problem_found(t, e->msg);
}

/* ---- the rules of a configuration ---- */

static void check_set(struct tally *t, struct rule_request *q)
{
	struct rule_set set;
	struct err e;
	unsigned before = t->problems;

	q->report = problem_found;
	q->warn = warning;
	q->arg = t;
	if (rules_load(&set, q, &e) != 0) {
		note(t, before, &e);
		return;
	}
	if (rules_check_profiles(&set, q->setup, &e) != 0)
		problem_found(t, e.msg);
	rules_free(&set);
}

/* routing: of each profile, also of those that other rules would go before. */
static void check_routing(struct tally *t, const struct setup *s, const struct setup_profile *p)
{
	struct router_opts o = { .mode_vm = p->options.mode == MODE_VM,
				 .warn = warning,
				 .warn_arg = t };
	struct router *r;
	struct err e;
	unsigned before = t->problems;

	if (!p->routing)
		return;
	if (router_new(&r, &o, &e) != 0) {
		problem_found(t, e.msg);
		return;
	}
	if (router_add_tree(r, p->routing, s->config_path, 0, problem_found, t, &e) != 0)
		note(t, before, &e);
	router_free(r);
}

static bool seen_before(const struct setup *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (s->profile[k].routing == s->profile[i].routing)
			return true;
	return false;
}

static void check_all_rules(struct tally *t, struct setup *s)
{
	struct rule_request q = { .setup = s, .project = true };
	unsigned before;

	for (size_t i = 0; i < s->count; i++)
		if (!seen_before(s, i))
			check_routing(t, s, &s->profile[i]);
	before = t->problems;
	if (before == 0)
		check_set(t, &q);
	check_users(s, problem_found, t);
	for (size_t i = 0; s->config && i < s->config->listener_count; i++) {
		q.listener_rules = s->config->listener[i].rules;
		if (q.listener_rules)
			check_set(t, &q);
	}
}

/* ---- ~/.aws ---- */

static void show_warning(void *arg, const char *path, unsigned line, const char *text)
{
	(void)arg;
	printf("warning: %s:%u: %s\n", path, line, text);
}

static void check_aws_profile(struct tally *t, const struct aws_files *f, const struct options *o)
{
	struct err e;

	if (!o->aws_profile || profile_exists(f, o->aws_profile))
		return;
	(void)err_set(&e, ERR_CONFIG, "%s: aws-profile '%.60s' is neither in %s nor in %s",
		      o->origin[OPT_ID_aws_profile].text, o->aws_profile, aws_files_config_path(f),
		      aws_files_credentials_path(f));
	problem_found(t, e.msg);
}

/* The AWS CLI's own files, as far as the profiles here stand on them. */
static void check_aws_files(struct tally *t, const struct setup *s)
{
	struct aws_files *f;
	struct err e;

	if (aws_files_load((const char *const *)environ, &f, &e) != 0) {
		problem_found(t, e.msg);
		return;
	}
	aws_files_warn(f, show_warning, NULL);
	for (size_t i = 0; i < s->count; i++)
		check_aws_profile(t, f, &s->profile[i].options);
	aws_files_free(f);
}

static int check_configuration(struct tally *t, struct setup *s, struct err *e)
{
	if (setup_profiles(s, NULL, 0, e) != 0)
		return -1;
	check_all_rules(t, s);
	check_aws_files(t, s);
	if (vm_setup_check_settings(s, e) != 0)
		problem_found(t, e->msg);
	if (vm_setup_check(s, e) != 0) /* of this machine, not of the files */
		warning(t, e->msg);
	if (setup_unbuilt(s, e) != 0)
		warning(t, e->msg);
	return 0;
}

/* ---- one file ---- */

static bool is_configuration(const struct yaml *y)
{
	return y->kind == YAML_MAP &&
	       (yaml_get(y, "defaults") || yaml_get(y, "profiles") || yaml_get(y, "listeners"));
}

static int check_rule_text(struct tally *t, struct setup *s, const char *path, const char *text,
			   size_t n, struct err *e)
{
	const char *slash = strrchr(path, '/');
	bool project = strcmp(slash ? slash + 1 : path, PROJECT_FILE) == 0;
	struct router_opts o = { .warn = warning, .warn_arg = t };
	struct router *r;
	unsigned before = t->problems;

	if (setup_profiles(s, NULL, 0, e) != 0)
		return -1;
	o.mode_vm = s->profile[0].options.mode == MODE_VM;
	if (router_new(&r, &o, e) != 0)
		return -1;
	if (router_add_yaml(r, text, n, path, project ? 0 : RULES_ALLOW_HOST, problem_found, t,
			    e) != 0)
		note(t, before, e);
	router_free(r);
	return 0;
}

/* config.yaml of another place: as if --config FILE had been said. */
static int check_other_configuration(struct tally *t, const char *path, struct err *e)
{
	char *argv[] = { (char[]){ "check" }, (char[]){ "--config" }, mem_strdup(path), NULL };
	struct setup s;
	unsigned before = t->problems;
	int rc = 0;

	if (!argv[2])
		return err_set(e, ERR_NOMEM, "check");
	if (setup_load(&s, 3, argv, NULL, problem_found, t, e) != 0) {
		note(t, before, e);
	} else {
		rc = check_configuration(t, &s, e);
		setup_free(&s);
	}
	mem_free(argv[2]);
	return rc;
}

static int check_file(struct tally *t, struct setup *s, const char *path, struct err *e)
{
	struct yaml *tree;
	char *text;
	size_t n;
	bool configuration;
	int rc;

	if (text_file_read(path, &text, &n, e) != 0)
		return -1;
	if (yaml_parse(text, n, path, &tree, e) != 0) {
		mem_free(text);
		problem_found(t, e->msg);
		return 0;
	}
	configuration = is_configuration(tree);
	yaml_tree_free(tree);
	rc = configuration ? check_other_configuration(t, path, e)
			   : check_rule_text(t, s, path, text, n, e);
	mem_free(text);
	return rc;
}

/* ---- the command ---- */

static int check(struct tally *t, struct setup *s, struct err *e)
{
	if (s->args.count > 1)
		return err_set(e, ERR_USAGE, "usage: awsocks check [FILE]");
	return s->args.count ? check_file(t, s, s->args.positional[0], e)
			     : check_configuration(t, s, e);
}

static int result(const struct tally *t, const char *what)
{
	if (t->problems == 0) {
		printf("%s: no problem found\n", what);
		return 0;
	}
	printf("%u problem%s\n", t->problems, t->problems == 1 ? "" : "s");
	return err_exit_status(ERR_CONFIG);
}

/* The default config.yaml must not spoil the check of another file. */
static int load(struct setup *s, int argc, char **argv, struct tally *t, struct err *e)
{
	int rc = setup_load(s, argc, argv, NULL, problem_found, t, e);

	if (rc != 0 && e->code == ERR_CONFIG && t->problems == 0)
		problem_found(t, e->msg);
	return rc;
}

int cmd_check(int argc, char **argv)
{
	struct tally t = { 0 };
	struct setup s;
	struct err e;
	const char *what;
	int status;

	if (load(&s, argc, argv, &t, &e) != 0)
		return t.problems ? result(&t, "") : command_fail(&e);
	what = s.args.count     ? s.args.positional[0]
	       : *s.config_path ? s.config_path
				: "no config.yaml; options and environment";
	if (s.args.help)
		status = command_help("check");
	else
		status = check(&t, &s, &e) != 0 ? command_fail(&e) : result(&t, what);
	setup_free(&s);
	return status;
}
