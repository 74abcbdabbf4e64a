/*
 * `awsocks exec -- COMMAND`: becomes the command, with the variables of `awsocks env`.
 *
 * A Unix listener is of use to few tools, so the command gets a port of its own there: that is
 * `awsocks bridge --env -- COMMAND`, in this process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/env.h"
#include "cmd/awsocks/own.h"
#include "cmd/bridge/cmd_bridge.h"

/* As shells and env(1) have it (POSIX XCU 2.8.2). */
enum { CANNOT_RUN = 126, NOT_FOUND = 127 };

const struct arg_opt exec_options[] = {
	{ "listener", 0, "NAME", NULL, NULL, "The listener of that name or address." },
	{ "to", 0, "ADDR", NULL, NULL, "HOST:PORT or unix:/PATH of the proxy; asks nobody." },
	{ "all-proxy", 0, "KIND", NULL, NULL,
	  "What ALL_PROXY gets: http (the default), socks5h, none." },
	{ "all", 0, NULL, NULL, NULL, "Also variables of single tools, as awsocks env --all." },
	{ "no-ssh", 0, NULL, NULL, NULL, "Without GIT_SSH_COMMAND." },
	{ NULL, 0, NULL, NULL, NULL, NULL },
};

static int become(char **command)
{
	int sys;

	execvp(command[0], command);
	sys = errno;
	fprintf(stderr, "awsocks: exec %s: %s\n", command[0], strerror(sys));
	return sys == ENOENT || sys == ENOTDIR ? NOT_FOUND : CANNOT_RUN;
}

/* The command behind a bridge from a port that the system chooses. */
static int run_bridge(const struct env_vars *v, char **command, int count, struct err *e)
{
	const char *kind[] = { "http", "socks5h", "none" };
	char to[HOST_MAX + 16], all_proxy[32], extra[16], ssh[16];
	char *before[] = { (char[]){ "bridge" },
			   (char[]){ "--listen" },
			   (char[]){ "127.0.0.1:0" },
			   (char[]){ "--to" },
			   to,
			   (char[]){ "--env" },
			   all_proxy,
			   extra,
			   ssh,
			   (char[]){ "--" } };
	enum { BEFORE = sizeof(before) / sizeof(before[0]) };
	char **argv;
	int status;

	env_place_format(&v->place, to);
	(void)str_fmt(all_proxy, sizeof(all_proxy), "--all-proxy=%s", kind[v->opts.all_proxy]);
	(void)str_fmt(extra, sizeof(extra), v->opts.extra ? "--all" : "--no-all");
	(void)str_fmt(ssh, sizeof(ssh), v->opts.no_ssh ? "--no-ssh" : "--ssh");
	argv = mem_alloc(((size_t)count + BEFORE + 1) * sizeof(*argv));
	if (!argv)
		return err_set(e, ERR_NOMEM, "exec");
	memcpy(argv, before, sizeof(before));
	memcpy(argv + BEFORE, command, (size_t)count * sizeof(*argv));
	status = cmd_bridge(count + BEFORE, argv);
	mem_free(argv);
	return status;
}

static int run(const struct env_request *q, char **command, int count, struct err *e)
{
	struct env_vars v;

	if (env_vars_find(q, &v, e) != 0)
		return -1;
	if (!*v.place.host)
		return run_bridge(&v, command, count, e);
	return proxy_vars_export(&v.opts, e) != 0 ? -1 : become(command);
}

/* Where the command begins: behind "--", or where it is the first word of all. */
static int split(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0)
			return i + 1;
	return argc > 1 && argv[1][0] != '-' ? 1 : argc;
}

int cmd_exec(int argc, char **argv)
{
	struct env_request q = { 0 };
	struct arg_opt own[sizeof(exec_options) / sizeof(exec_options[0])];
	int at = split(argc, argv), ours = at > 1 ? at : 1, status;
	struct args args;
	struct err e;

	memcpy(own, exec_options, sizeof(own));
	own[0].value = &q.where.listener;
	own[1].value = &q.where.to;
	own[2].value = &q.all_proxy;
	own[3].flag = &q.extra;
	own[4].flag = &q.no_ssh;
	if (args_parse(&args, ours, argv, own, &e) != 0)
		return command_fail(&e);
	q.where.control = settings_get(&args.settings, OPT_ID_control);
	if (args.help)
		status = command_help("exec");
	else if (args.count || at >= argc)
		status = err_set(&e, ERR_USAGE,
				 "usage: awsocks exec [--listener NAME | --to ADDR] -- COMMAND...");
	else
		status = run(&q, argv + at, argc - at, &e);
	args_free(&args);
	return status < 0 ? command_fail(&e) : status;
}
