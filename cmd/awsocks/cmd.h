#ifndef CMD_AWSOCKS_CMD_H
#define CMD_AWSOCKS_CMD_H
/*
 * The subcommands. Each gets its own argv (argv[0] is its name) and returns the
 * exit status (sysexits.h).
 */
#include "base/err.h"
#include "config/settings.h"

typedef int command_fn(int argc, char **argv);

struct command {
	const char *name;
	command_fn *run;           /* NULL: not built yet */
	const char *args;          /* of the usage line */
	const char *brief;         /* one line; NULL: hidden */
	const char *more;          /* further text of `help NAME`; may be NULL */
	const struct arg_opt *own; /* its own options, for `help NAME`; may be NULL */
	bool general;              /* takes the options of options.def */
};
extern const struct command commands[]; /* ends with name == NULL */
const struct command *command_find(const char *name);

command_fn cmd_bwrap_args, cmd_cal, cmd_check, cmd_connect, cmd_credentials, cmd_demo, cmd_doctor,
	cmd_env, cmd_exec, cmd_help, cmd_login, cmd_man, cmd_mfa, cmd_passwd, cmd_reload, cmd_route,
	cmd_ssh_pass, cmd_start, cmd_status, cmd_stop, cmd_targets, cmd_trust, cmd_version, cmd_vm;

/* "awsocks: MESSAGE" on standard error; returns the exit status of the code. */
int command_fail(const struct err *);
/* Ends the process and waits for no thread; what was printed goes out first. For when
 * loop_free() says that work goes on. */
_Noreturn void command_leave(int status);
/* `awsocks help NAME` on standard output. */
int command_help(const char *name);
#endif
