/*
 * `awsocks vm SUBCOMMAND`: the VM of the running awsocks,
 * over its control socket. fetch-kernel needs none: cmd/awsocks/vm_fetch.c.
 */
#include <cjson/cJSON.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/vm_fetch.h"
#include "cmd/awsocks/vm_print.h"
#include "cmd/awsocks/word_option.h"

/* Longer than any boot may take, with each accelerator in turn. */
enum { LOOK_EVERY_MS = 100, LIMIT_S = 180 };

const struct arg_opt vm_options[] = {
	{ "json", 0, NULL, NULL, NULL, "status: one JSON object." },
	{ "control", 0, "PATH", NULL, NULL,
	  "The running awsocks' control socket, as for awsocks status." },
	{ "arch", 0, "ARCH", NULL, NULL,
	  "fetch-kernel: x86_64 or aarch64; this machine's unless given." },
	{ "to", 0, "DIR", NULL, NULL,
	  "fetch-kernel: put it into DIR/ARCH/VERSION, not into kernel/ of the state directory." },
	{ "source", 0, "SOURCE", NULL, NULL,
	  "fetch-kernel: apt, or debian (a package of Debian's archive whose SHA-256 this program "
	  "knows). Without: apt, and debian where that fails." },
	{ "deb", 0, "FILE", NULL, NULL, "fetch-kernel: a kernel package that is here already." },
	{ "sha256", 0, "HEX", NULL, NULL, "fetch-kernel: what it must be, with --deb." },
	{ "force", 0, NULL, NULL, NULL, "fetch-kernel: also when it is there already." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

struct vm_words {
	bool json;
	const char *control;
	char path[PATH_TEXT];
};

static int parse(int argc, char **argv, struct vm_words *w, struct err *e)
{
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0 && strcmp(argv[1], "status") == 0)
			w->json = true;
		else if (word_option(argc, argv, &i, "--control", &w->control))
			continue;
		else
			return err_set(e, ERR_USAGE, "vm %s: unknown argument '%.60s'", argv[1],
				       argv[i]);
	}
	return setup_control_path(w->control, w->path, e);
}

/* *vm is a part of *reply, which is the caller's. */
static int ask(const struct vm_words *w, const char *what, struct cJSON **reply,
	       const struct cJSON **vm, struct err *e)
{
	if (control_tell(w->path, "vm", what, reply, e) != 0)
		return -1;
	*vm = cJSON_GetObjectItemCaseSensitive(*reply, "vm");
	return 0;
}

static bool is_state(const struct cJSON *vm, const char *name)
{
	return strcmp(member_text(vm, "state"), name) == 0;
}

/* 1: it is as it was asked to be, 0: on the way, -1: it will not be. */
static int settled(const struct cJSON *vm, bool start, struct err *e)
{
	if (is_state(vm, start ? "running" : "stopped"))
		return 1;
	if (start && is_state(vm, "failed"))
		return err_set(e, ERR_HOSTUNREACH, "the VM does not start: %s",
			       member_text(vm, "reason"));
	if (start && is_state(vm, "stopped"))
		return err_set(e, ERR_CLOSED, "the VM was stopped");
	if (!start && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(vm, "halted")))
		return err_set(e, ERR_CLOSED, "the VM was started again meanwhile");
	return 0;
}

/* Asks for it, and then how it goes: a person waits. */
static int change(const struct vm_words *w, const char *what, struct err *e)
{
	struct cJSON *reply;
	const struct cJSON *vm;
	bool start = strcmp(what, "start") == 0;
	int done = 0;

	for (int i = 0; done == 0 && i < LIMIT_S * 1000 / LOOK_EVERY_MS; i++) {
		if (i)
			(void)poll(NULL, 0, LOOK_EVERY_MS);
		if (ask(w, i ? "status" : what, &reply, &vm, e) != 0)
			return -1;
		/* The first answer is from before it began. */
		done = i || !start || is_state(vm, "running") ? settled(vm, start, e) : 0;
		if (done > 0)
			vm_print(vm);
		cJSON_Delete(reply);
	}
	if (done == 0)
		return err_set(e, ERR_TIMEOUT, "vm %s: not done within %d s", what, LIMIT_S);
	return done > 0 ? 0 : -1;
}

static int show(const struct vm_words *w, const char *what, struct err *e)
{
	struct cJSON *reply;
	const struct cJSON *vm;
	char *text = NULL;

	if (ask(w, what, &reply, &vm, e) != 0)
		return -1;
	if (strcmp(what, "console") == 0) {
		(void)fputs(member_text(vm, "console"), stdout);
	} else if (w->json) {
		text = cJSON_PrintUnformatted(vm);
		printf("%s\n", text ? text : "{}");
		cJSON_free(text);
	} else {
		vm_print(vm);
	}
	cJSON_Delete(reply);
	return fflush(stdout) == 0 ? 0 : err_set(e, ERR_IO, "standard output");
}

static int run(int argc, char **argv, struct err *e)
{
	struct vm_words w = { 0 };
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "status") != 0 && strcmp(what, "start") != 0 &&
	    strcmp(what, "stop") != 0 && strcmp(what, "console") != 0)
		return err_set(e, ERR_USAGE,
			       "usage: awsocks vm status|start|stop|console|fetch-kernel "
			       "(awsocks help vm)");
	if (parse(argc, argv, &w, e) != 0)
		return -1;
	if (strcmp(what, "start") == 0 || strcmp(what, "stop") == 0)
		return change(&w, what, e);
	return show(&w, what, e);
}

int cmd_vm(int argc, char **argv)
{
	struct err e = { 0 };

	if (argc > 1 && strcmp(argv[1], "fetch-kernel") == 0)
		return cmd_vm_fetch(argc - 1, argv + 1);
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return command_help("vm");
	return run(argc, argv, &e) == 0 ? 0 : command_fail(&e);
}
