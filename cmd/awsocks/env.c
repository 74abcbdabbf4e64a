/* `awsocks env`: the variables of proxy_vars.h in the words of a shell (env_shell.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/awsocks/env.h"
#include "cmd/awsocks/env_shell.h"
#include "cmd/awsocks/own.h"

enum { OUTPUT_MAX = 64 * 1024, MERGED_MAX = 16 * 1024, MARKS = 64 };

const struct arg_opt env_options[] = {
	{ "shell", 0, "SHELL", NULL, NULL,
	  "sh, bash, zsh, fish, csh or powershell; json, dotenv, systemd (a unit's drop-in), "
	  "docker "
	  "(for docker run --env-file), launchctl. Otherwise what $SHELL says." },
	{ "listener", 0, "NAME", NULL, NULL, "The listener of that name or address." },
	{ "to", 0, "ADDR", NULL, NULL, "HOST:PORT or unix:/PATH of the proxy; asks nobody." },
	{ "all-proxy", 0, "KIND", NULL, NULL,
	  "What ALL_PROXY gets: http (the default; a SOCKS address crashes pip and other tools), "
	  "socks5h, or none." },
	{ "all", 0, NULL, NULL, NULL,
	  "Also variables of single tools: rsync, ftp, grpc, docker, gcloud, npm, cargo, pip." },
	{ "no-ssh", 0, NULL, NULL, NULL, "Without GIT_SSH_COMMAND." },
	{ "unset", 0, NULL, NULL, NULL, "Take them all away again." },
	{ "for", 0, "TOOL", NULL, NULL,
	  "That tool's own settings instead: apt, cargo, chromium, claude, curl, dnf, docker, "
	  "docker-daemon, firefox, git, gradle, java, maven, npm, pip, srt, ssh, sudo, systemd, "
	  "vscode, wget, yarn." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

struct output {
	struct buf text;
	enum env_shell shell;
	/* by proxy_vars_name()'s number: has a value now, has one without --all, is merged */
	bool listed[MARKS], usual[MARKS], merged[MARKS];
};

static int put(struct output *o, const char *name, const char *value, struct err *e)
{
	return *value ? env_shell_set(&o->text, o->shell, name, value, e)
		      : env_shell_unset(&o->text, o->shell, name, e);
}

/* A variable that the user's own words may stand in. ours NULL: without ours. */
static int put_merged(struct output *o, const char *name, const char *ours, struct err *e)
{
	/* What a file is read into has other variables than this process. */
	const char *existing = env_shell_is_file(o->shell) ? NULL : getenv(name);
	char merged[MERGED_MAX];

	if (proxy_vars_merge(name, existing, ours, merged, sizeof(merged), e) != 0)
		return -1;
	return put(o, name, merged, e);
}

static bool *mark_of(bool marks[static MARKS], const char *name)
{
	size_t i = 0;

	while (i + 1 < MARKS && proxy_vars_name(i) && strcmp(proxy_vars_name(i), name) != 0)
		i++;
	return &marks[i];
}

static int set(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
	       struct err *e)
{
	struct output *o = arg;

	*mark_of(o->listed, name) = true;
	return kind == PROXY_VAR_MERGE ? put_merged(o, name, value, e) : put(o, name, value, e);
}

static int mark_usual(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		      struct err *e)
{
	struct output *o = arg;

	(void)value;
	(void)e;
	*mark_of(o->usual, name) = true;
	*mark_of(o->merged, name) = kind == PROXY_VAR_MERGE;
	return 0;
}

/* Which are set without --all, and which of them are merged. */
static int learn_usual(struct output *o, struct err *e)
{
	const struct proxy_vars_opts any = { .host = "127.0.0.1", .port = 1 };

	return proxy_vars_each(&any, mark_usual, o, e);
}

/* The usual ones that this environment has and that are not set now: whatever set them, they
 * name another proxy. Those of --all may be the user's own. */
static int unset_stale(struct output *o, struct err *e)
{
	const char *name, *existing;

	for (size_t i = 0; i < MARKS && (name = proxy_vars_name(i)) != NULL; i++) {
		existing = getenv(name);
		if (o->listed[i] || !o->usual[i] || !existing)
			continue;
		if (o->merged[i] ? put_merged(o, name, NULL, e) != 0 : put(o, name, "", e) != 0)
			return -1;
	}
	return 0;
}

static int unset_all(struct output *o, struct err *e)
{
	const char *name;

	for (size_t i = 0; i < MARKS && (name = proxy_vars_name(i)) != NULL; i++)
		if (o->merged[i] ? put_merged(o, name, NULL, e) != 0 : put(o, name, "", e) != 0)
			return -1;
	return 0;
}

static int print(struct output *o)
{
	size_t n = buf_len(&o->text);
	bool ok = fwrite(buf_ptr(&o->text), 1, n, stdout) == n && fflush(stdout) == 0;

	return ok ? 0 : err_exit_status(ERR_IO);
}

static int print_vars(struct output *o, const struct env_request *q, struct err *e)
{
	struct env_vars v;

	if (env_vars_find(q, &v, e) != 0 || env_shell_begin(&o->text, o->shell, e) != 0 ||
	    proxy_vars_each(&v.opts, set, o, e) != 0)
		return -1;
	if (!env_shell_is_file(o->shell) && unset_stale(o, e) != 0)
		return -1;
	if (env_shell_end(&o->text, o->shell, e) != 0)
		return -1;
	if (!*v.place.host)
		env_say_unix_limits(&v.place);
	return print(o);
}

static int print_unset(struct output *o, struct err *e)
{
	if (env_shell_is_file(o->shell))
		return err_set(e, ERR_USAGE, "--unset: a file cannot unset a variable");
	return unset_all(o, e) != 0 ? -1 : print(o);
}

static int choose_shell(const char *given, enum env_shell *out, struct err *e)
{
	const char *shell = getenv("SHELL");

	if (given)
		return env_shell_find(given, out, e);
	if (!env_shell_guess(shell, out)) {
		*out = ENV_SH;
		if (shell && *shell)
			fprintf(stderr,
				"awsocks: what $SHELL (%.80s) understands is not known here: these "
				"are the words of sh; --shell says otherwise\n",
				shell);
	}
	return 0;
}

struct asked {
	struct env_request request;
	const char *shell, *tool;
	bool unset;
};

static int run(const struct asked *a, const struct args *args, struct err *e)
{
	struct output o = { 0 };
	struct env_vars v;
	int rc;

	if (args->count)
		return err_set(e, ERR_USAGE,
			       "env: '%.60s': no such argument (to run a command: "
			       "awsocks exec -- COMMAND)",
			       args->positional[0]);
	if (a->tool && (a->unset || a->shell))
		return err_set(e, ERR_USAGE, "--for goes with neither --shell nor --unset");
	if (a->tool)
		return env_vars_find(&a->request, &v, e) != 0 ? -1 : env_for(a->tool, &v, e);
	if (choose_shell(a->shell, &o.shell, e) != 0)
		return -1;
	buf_init(&o.text, OUTPUT_MAX);
	rc = learn_usual(&o, e);
	if (rc == 0)
		rc = a->unset ? print_unset(&o, e) : print_vars(&o, &a->request, e);
	buf_free(&o.text);
	return rc;
}

int cmd_env(int argc, char **argv)
{
	struct asked a = { 0 };
	struct arg_opt own[sizeof(env_options) / sizeof(env_options[0])];
	struct args args;
	struct err e;
	int status;

	memcpy(own, env_options, sizeof(own));
	own[0].value = &a.shell;
	own[1].value = &a.request.where.listener;
	own[2].value = &a.request.where.to;
	own[3].value = &a.request.all_proxy;
	own[4].flag = &a.request.extra;
	own[5].flag = &a.request.no_ssh;
	own[6].flag = &a.unset;
	own[7].value = &a.tool;
	if (args_parse(&args, argc, argv, own, &e) != 0)
		return command_fail(&e);
	a.request.where.control = settings_get(&args.settings, OPT_ID_control);
	status = args.help ? command_help("env") : run(&a, &args, &e);
	args_free(&args);
	return status < 0 ? command_fail(&e) : status;
}
