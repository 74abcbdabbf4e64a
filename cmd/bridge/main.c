/*
 * awsocks-bridge: what a sandbox or a VM needs of awsocks, in one static program that runs where
 * nothing else is.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cmd/bridge/alone.h"
#include "cmd/bridge/cmd_bridge.h"

static const char usage[] =
	"awsocks-bridge " AWSOCKS_VERSION ": the end of awsocks inside sandboxes and VMs\n"
	"\n"
	"usage: awsocks-bridge bridge --to ADDR [--listen ADDR]... [--env] [options] [-- "
	"COMMAND...]\n"
	"       awsocks-bridge connect [--to ADDR] [--user-file FILE] HOST PORT\n"
	"       awsocks-bridge env [--to ADDR] [--shell SHELL] [--all-proxy KIND] [--all] "
	"[--no-ssh]\n"
	"       awsocks-bridge env --unset\n"
	"       awsocks-bridge version\n"
	"\n"
	"ADDR is IP:PORT or unix:/PATH. bridge --help tells the rest. connect is for ssh's\n"
	"ProxyCommand; NAME:PASSWORD, where a listener asks for them, is the first line of FILE, "
	"or\n"
	"AWSOCKS_PROXY_USER. Without --to it takes $AWSOCKS, and env that or 127.0.0.1:1080.\n";

static int fail(const struct err *e)
{
	fprintf(stderr, "awsocks: %s\n", e->msg);
	return err_exit_status(e->code);
}

static int say(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? err_exit_status(ERR_IO) : 0;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";
	struct err e;

	standard_descriptors_fill();
	if (strcmp(word, "bridge") == 0)
		return cmd_bridge(argc - 1, argv + 1);
	if (strcmp(word, "connect") == 0)
		return alone_connect(argc - 1, argv + 1, &e) == 0 ? 0 : fail(&e);
	if (strcmp(word, "env") == 0)
		return alone_env(argc - 1, argv + 1, &e) == 0 ? 0 : fail(&e);
	if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0)
		return say("awsocks-bridge " AWSOCKS_VERSION "\n");
	if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return say(usage);
	(void)err_set(&e, ERR_USAGE, "no command '%.40s': awsocks-bridge help lists them", word);
	return fail(&e);
}
