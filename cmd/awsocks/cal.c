/* `awsocks cal SUBCOMMAND`: coding-agent VMs (docs/CAL.md). */
#include "cmd/awsocks/cal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/cal_script.h"
#include "cmd/awsocks/cal_text.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/setup.h"

enum { OPTIONS = 17 };

const struct arg_opt cal_options[] = {
	{ "vm", 0, "NAME", NULL, NULL, "The VM that is meant, by CAL's name for it." },
	{ "way", 0, "WAY", NULL, NULL,
	  "gateway (nothing runs in the VM), bridge (awsocks-bridge there), or ssh (ssh -L)." },
	{ "socks", 0, "MODE", NULL, NULL,
	  "auto: only where github.com is not reached without it; on; off." },
	{ "listen", 0, "ADDRESS", NULL, NULL, "Where awsocks listens for this VM." },
	{ "name", 0, "NAME", NULL, NULL, "Of that listener; cal-VM unless given." },
	{ "vm-address", 0, "ADDRESS", NULL, NULL,
	  "Who may use it: the VM's address or network; the gateway's /24 unless given." },
	{ "socks-port", 0, "PORT", NULL, NULL, "In the VM, for bridge and ssh; 1080." },
	{ "http-port", 0, "PORT", NULL, NULL, "In the VM, for bridge and ssh; 8080." },
	{ "gateway", 0, "ADDRESS", NULL, NULL, "This host as the VM sees it; 192.168.64.1." },
	{ "host-user", 0, "NAME", NULL, NULL, "Who the VM logs in as, with --way ssh." },
	{ "ssh-port", 0, "PORT", NULL, NULL, "Of this host's sshd; 22." },
	{ "key", 0, "FILE", NULL, NULL,
	  "The VM's public key to install (- is standard input); means --way ssh." },
	{ "host-key", 0, "FILE", NULL, NULL,
	  "The public key of this host's sshd, when it is not /etc/ssh/ssh_host_*_key.pub." },
	{ "ssh", 0, "DESTINATION", NULL, NULL,
	  "Run the VM's part there by ssh, as in admin@192.168.64.2, and take its key." },
	{ "print", 0, NULL, NULL, NULL, "The script for the VM on standard output." },
	{ "env", 0, "NAMES", NULL, NULL, "Environments, for the banner." },
	{ "safe-mode", 0, NULL, NULL, NULL, "The banner says Safe Mode." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

/* The places of the values, in the order of cal_options. */
static void fill(struct arg_opt own[static OPTIONS + 1], struct cal_ask *a)
{
	const char **values[OPTIONS] = {
		&a->vm,
		&a->given[CAL_WAY],
		&a->given[CAL_SOCKS],
		&a->given[CAL_LISTEN],
		&a->given[CAL_NAME],
		&a->given[CAL_ADDRESS],
		&a->given[CAL_SOCKS_PORT],
		&a->given[CAL_HTTP_PORT],
		&a->given[CAL_GATEWAY],
		&a->given[CAL_HOST_USER],
		&a->given[CAL_SSH_PORT],
		&a->key,
		&a->host_key,
		&a->ssh,
		NULL,
		&a->environments,
		NULL,
	};

	memcpy(own, cal_options, sizeof(cal_options));
	for (size_t i = 0; i < OPTIONS; i++) {
		own[i].value = values[i];
		if (!own[i].arg)
			own[i].flag = strcmp(own[i].name, "print") == 0 ? &a->print : &a->safe_mode;
	}
}

void cal_report(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

/* ---- the VM's side ---- */

bool cal_in_vm(void)
{
	const char *home = getenv("HOME");
	char path[PATH_TEXT];

	return home && str_fmt(path, sizeof(path), "%s/.cal-socks-config", home) &&
	       access(path, R_OK) == 0;
}

static int run_lines(const char *const *lines, const char *call, struct err *e)
{
	struct buf b;

	buf_init(&b, CAL_SCRIPT_MAX);
	if (cal_text_add(&b, lines, e) == 0 && buf_addf(&b, e, "%s\n", call) == 0 &&
	    buf_add(&b, "", 1, e) == 0) {
		(void)fflush(NULL);
		(void)execl("/bin/sh", "sh", "-c", (const char *)buf_ptr(&b), (char *)NULL);
		(void)err_sys(e, errno, "/bin/sh");
	}
	buf_free(&b);
	return -1;
}

int cal_run_shell(const char *call, struct err *e)
{
	return run_lines(cal_shell, call, e);
}

static int in_vm(const char *call, const char *word, struct err *e)
{
	if (cal_in_vm())
		return cal_run_shell(call, e);
	return err_set(e, ERR_USAGE,
		       "cal %s is for a VM that was set up (there is no ~/.cal-socks-config here); "
		       "on the host: awsocks cal setup --vm NAME, awsocks start",
		       word);
}

/* ---- subcommands ---- */

static int run_start(const struct cal_ask *a, struct err *e)
{
	(void)a;
	return in_vm("start_socks", "start", e);
}

static int run_stop(const struct cal_ask *a, struct err *e)
{
	(void)a;
	return in_vm("stop_socks", "stop", e);
}

static int run_restart(const struct cal_ask *a, struct err *e)
{
	(void)a;
	return in_vm("restart_socks", "restart", e);
}

static int run_status(const struct cal_ask *a, struct err *e)
{
	return cal_in_vm() && !a->vm ? cal_run_shell("socks_status", e) : cal_host_status(a, e);
}

static int run_env(const struct cal_ask *a, struct err *e)
{
	if (a->vm)
		return cal_host_env(a, e);
	return in_vm("_cal_load && _cal_env", "env", e);
}

static int run_uninstall(const struct cal_ask *a, struct err *e)
{
	return cal_in_vm() && !a->vm ? run_lines(cal_remove, "", e) : cal_uninstall(a, e);
}

static int run_shell(const struct cal_ask *a, struct err *e)
{
	(void)a;
	for (const char *const *line = cal_shell; *line; line++)
		if (fputs(*line, stdout) < 0)
			return err_sys(e, errno, "standard output");
	return 0;
}

static const struct sub {
	const char *name;
	int (*run)(const struct cal_ask *, struct err *);
	bool needs_vm;
} subs[] = {
	{ "setup", cal_setup, true },    { "start", run_start, false },
	{ "stop", run_stop, false },     { "restart", run_restart, false },
	{ "status", run_status, false }, { "env", run_env, false },
	{ "shell", run_shell, false },   { "uninstall", run_uninstall, false },
	{ "banner", cal_banner, false },
};

static const struct sub *find(const char *name)
{
	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++)
		if (strcmp(subs[i].name, name) == 0)
			return &subs[i];
	return NULL;
}

static int run(struct cal_ask *a, struct err *e)
{
	const struct sub *s = a->args.count == 1 ? find(a->args.positional[0]) : NULL;

	if (!s)
		return err_set(e, ERR_USAGE,
			       "usage: awsocks cal setup|start|stop|restart|status|env|shell|"
			       "uninstall|banner [--vm NAME] [options]");
	if (s->needs_vm && !a->vm)
		return err_set(e, ERR_USAGE, "cal %s: which VM? Give --vm NAME", s->name);
	if (a->vm && cal_check_vm(a->vm, e) != 0)
		return -1;
	a->control = settings_get(&a->args.settings, OPT_ID_control);
	if (setup_config_dir(settings_get(&a->args.settings, OPT_ID_config), a->dir, e) != 0)
		return -1;
	return s->run(a, e);
}

int cmd_cal(int argc, char **argv)
{
	struct cal_ask a = { .vm = NULL };
	struct arg_opt own[OPTIONS + 1];
	struct err e = { 0 };
	int status;

	fill(own, &a);
	if (args_parse(&a.args, argc, argv, own, &e) != 0)
		return command_fail(&e);
	if (a.args.help)
		status = command_help("cal");
	else
		status = run(&a, &e) == 0 ? 0 : command_fail(&e);
	args_free(&a.args);
	return fflush(stdout) == 0 ? status : err_exit_status(ERR_IO);
}
