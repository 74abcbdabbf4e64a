/*
 * awsocks-bridge: what a sandbox or a VM needs of awsocks, in one static program that runs where
 * nothing else is.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/str.h"
#include "cmd/bridge/cmd_bridge.h"
#include "cmd/bridge/options.h"
#include "cmd/bridge/through.h"

static const char usage[] =
	"awsocks-bridge " AWSOCKS_VERSION ": the end of awsocks inside sandboxes and VMs\n"
	"\n"
	"usage: awsocks-bridge bridge --to ADDR [--listen ADDR]... [--env] [options] [-- "
	"COMMAND...]\n"
	"       awsocks-bridge connect [--to ADDR] HOST PORT\n"
	"       awsocks-bridge version\n"
	"\n"
	"ADDR is IP:PORT or unix:/PATH. bridge --help tells the rest. connect is for ssh's\n"
	"ProxyCommand; without --to it takes $AWSOCKS.\n";

static int fail(const struct err *e)
{
	fprintf(stderr, "awsocks: %s\n", e->msg);
	return err_exit_status(e->code);
}

static int say(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? err_exit_status(ERR_IO) : 0;
}

static int find_listener(const char *to, struct addr *at, struct err *e)
{
	const char *env = getenv("AWSOCKS");

	if (to)
		return through_parse(to, at, e) == 0 ? 0 : err_wrap(e, "--to");
	if (env && *env)
		return through_parse(env, at, e) == 0 ? 0 : err_wrap(e, "AWSOCKS");
	return err_set(e, ERR_USAGE, "connect: which listener? (--to ADDR, or AWSOCKS)");
}

static int parse_connect(int argc, char **argv, const char **to, const char *word[static 2],
			 struct err *e)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (str_starts(argv[i], "--to="))
			*to = argv[i] + strlen("--to=");
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
			*to = argv[++i];
		else if (n < 2 && argv[i][0] != '-')
			word[n++] = argv[i];
		else if (strcmp(argv[i], "--") != 0)
			return err_set(e, ERR_USAGE, "connect: unexpected '%.60s'", argv[i]);
	}
	return n == 2 ? 0 : err_set(e, ERR_USAGE, "connect: HOST and PORT expected");
}

static int cmd_connect(int argc, char **argv)
{
	const char *to = NULL, *word[2] = { NULL, NULL };
	struct addr at;
	uint64_t port;
	struct err e;

	if (parse_connect(argc, argv, &to, word, &e) != 0)
		return fail(&e);
	if (!*word[0] || strlen(word[0]) > 255) {
		(void)err_set(&e, ERR_USAGE, "connect: host name of 1 to 255 bytes expected");
		return fail(&e);
	}
	if (str_number(word[1], 1, 65535, &port, &e) != 0) {
		(void)err_wrap(&e, "connect: port");
		return fail(&e);
	}
	if (find_listener(to, &at, &e) != 0 ||
	    through_listener(&at, word[0], (uint16_t)port, &e) != 0)
		return fail(&e);
	return 0;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";
	struct err e;

	standard_descriptors_fill();
	if (strcmp(word, "bridge") == 0)
		return cmd_bridge(argc - 1, argv + 1);
	if (strcmp(word, "connect") == 0)
		return cmd_connect(argc - 1, argv + 1);
	if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0)
		return say("awsocks-bridge " AWSOCKS_VERSION "\n");
	if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return say(usage);
	(void)err_set(&e, ERR_USAGE, "no command '%.40s': awsocks-bridge help lists them", word);
	return fail(&e);
}
