/* `awsocks env`: what it is asked for, and where the proxy is; env_text.h has the words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/awsocks/env.h"
#include "cmd/awsocks/env_text.h"
#include "cmd/awsocks/own.h"

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

static int print(const struct buf *text)
{
	bool ok = fwrite(buf_ptr(text), 1, buf_len(text), stdout) == buf_len(text) &&
		  fflush(stdout) == 0;

	return ok ? 0 : err_exit_status(ERR_IO);
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

/* Into text; what the user should know goes to standard error. */
static int fill(const struct asked *a, struct buf *text, struct err *e)
{
	enum env_shell shell;
	struct env_vars v;

	if (choose_shell(a->shell, &shell, e) != 0)
		return -1;
	if (a->unset)
		return env_text_unset(text, shell, e);
	if (env_vars_find(&a->request, &v, e) != 0 || env_text_set(text, shell, &v.opts, e) != 0)
		return -1;
	if (!*v.place.host)
		env_say_unix_limits(&v.place);
	return 0;
}

static int run(const struct asked *a, const struct args *args, struct err *e)
{
	struct env_vars v;
	struct buf text;
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
	buf_init(&text, ENV_TEXT_MAX);
	rc = fill(a, &text, e);
	if (rc == 0)
		rc = print(&text);
	buf_free(&text);
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
