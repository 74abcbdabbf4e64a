/*
 * awsocks [start] ..., or awsocks SUBCOMMAND ...: the table of subcommands and
 * the way into each. No subcommand, an option in its place, or a word that is
 * none (a profile) means start.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/suggest.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/lib_memory.h"
#include "cmd/bridge/cmd_bridge.h"

static const char *next_command(const void *arg, size_t i)
{
	(void)arg;
	return commands[i].name;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct err e;

	if (c && argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return command_help(c->name);
	if (c && c->run)
		return c->run(argc, argv);
	(void)err_set(&e, ERR_UNSUPPORTED, "%s is not built yet in this version",
		      c ? c->name : "start");
	return command_fail(&e);
}

/* A mistyped command, or a profile to start. */
static int other_word(int argc, char **argv)
{
	const char *near = suggest(argv[1], next_command, NULL);
	struct err e;

	if (!near)
		return run(command_find("start"), argc, argv);
	(void)err_set(
		&e, ERR_USAGE,
		"no command '%.40s': did you mean '%s'? (a profile of that name: awsocks start "
		"%.40s)",
		argv[1], near, argv[1]);
	return command_fail(&e);
}

/* Becomes, or starts, a program of the user's: that gets mask, limits and signals as the user has
 * them. These commands have no secrets. */
static bool runs_program(const struct command *c)
{
	return c && (strcmp(c->name, "exec") == 0 || strcmp(c->name, "bridge") == 0);
}

/* Secrets are in memory. `start` also sees to it that nobody can look into it. */
static void keep_to_ourselves(void)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes: write() says EFBIG instead */
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct command *c = *word && *word != '-' ? command_find(word) : NULL;

	lib_memory_hook();
	/* A socket that got the number of one the caller closed would get our log. */
	standard_descriptors_fill();
	if (!runs_program(c))
		keep_to_ourselves();
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return cmd_help(1, argv + 1);
	if (strcmp(word, "--version") == 0)
		return cmd_version(1, argv + 1);
	if (*word && *word != '-')
		return c ? run(c, argc - 1, argv + 1) : other_word(argc, argv);
	return run(command_find("start"), argc, argv);
}
