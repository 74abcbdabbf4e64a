#ifndef SSM_SSH_COMMAND_H
#define SSM_SSH_COMMAND_H
/*
 * OpenSSH's command line for a master, and what its complaints mean. Pure.
 *
 * What comes from ~/.ssh/config cannot change what matters: ssh takes the first value it sees
 * of an option, and the command line is first.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { SSH_ARGS_MAX = 96, SSH_ARG_TEXT = 8192 };

struct ssh_login {
	const char *instance; /* i-0abc: the name under which its host key is pinned */
	const char *user;     /* NULL: as ~/.ssh/config says, else this user's name */
	const char *identity; /* key file; NULL: none is named */
	bool own_keys;        /* ~/.ssh/config and whatever keys ssh finds; else `identity` alone */
	bool no_agent;        /* the identity is a file, and no agent is asked */
	bool compression;
	const char *known_hosts; /* file */
	const char *control;     /* path of the control socket to be made */
	const char *helper;      /* our own program, */
	const char *carrier;     /* and the socket that it connects to for ssh */
};

struct ssh_args {
	const char *argv[SSH_ARGS_MAX]; /* ends with NULL */
	char text[SSH_ARG_TEXT];        /* theirs */
	size_t count, used;
};

/* -1: ERR_CONFIG, a value that cannot stand in a command line. */
MUST_CHECK int ssh_command(struct ssh_args *, const struct ssh_login *, struct err *);
/* Where a command line may lead: the helper is this program, sockets lie in dir. */
struct ssh_bounds {
	const char *helper, *dir, *known_hosts;
};
/* Is this a command line that ssh_command() makes, within these bounds? Then 0. For those who start
 * it on request of somebody whom they do not trust. */
MUST_CHECK int ssh_command_check(const char *const *argv, const struct ssh_bounds *, struct err *);

/* Why it ended, from what it said on standard error (n bytes, not trusted). false: sshd did not say
 * so, and somebody else may know better. */
bool ssh_complaint(const char *text, size_t n, const struct ssh_login *, struct err *);
#endif
