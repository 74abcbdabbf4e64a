#ifndef CMD_AWSOCKS_ENV_SHELL_H
#define CMD_AWSOCKS_ENV_SHELL_H
/*
 * How each shell, and each kind of file, says that a variable has a value. Pure. Whatever the
 * value is, what reads it gets that value and runs nothing of it.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum env_shell {
	ENV_SH = 0, /* sh, bash, zsh, ksh, dash */
	ENV_FISH,
	ENV_CSH, /* for eval `...` and for eval "`...`" */
	ENV_POWERSHELL,
	ENV_LAUNCHCTL, /* sh commands for what launchd starts in this session */
	ENV_JSON,      /* from here on they are files, not commands: see env_shell_is_file() */
	ENV_DOTENV,    /* .env of docker compose, node, python-dotenv */
	ENV_SYSTEMD,   /* a unit's drop-in */
	ENV_DOCKER,    /* docker run --env-file: no quotes at all */
	ENV_SHELL_COUNT
};

/* By the name that --shell takes. ERR_USAGE names those there are. */
MUST_CHECK int env_shell_find(const char *name, enum env_shell *, struct err *);
/* By what $SHELL has ("/usr/bin/fish"); false: not a shell that is known here. */
bool env_shell_guess(const char *path, enum env_shell *);
/* Files are read elsewhere, where this process's environment says nothing, and cannot unset. */
static inline bool env_shell_is_file(enum env_shell s)
{
	return s >= ENV_JSON;
}

/* One line, or one member of the object. ERR_USAGE: that kind of file cannot say such a value (a
 * line end); ERR_NOMEM, ERR_LIMIT as buf_add(). */
MUST_CHECK int env_shell_set(struct buf *, enum env_shell, const char *name, const char *value,
			     struct err *);
/* Nothing for files. */
MUST_CHECK int env_shell_unset(struct buf *, enum env_shell, const char *name, struct err *);
/* What stands before all variables and behind them. */
MUST_CHECK int env_shell_begin(struct buf *, enum env_shell, struct err *);
MUST_CHECK int env_shell_end(struct buf *, enum env_shell, struct err *);
/* One word of sh: in single quotes, unless it needs none. */
MUST_CHECK int env_shell_word(struct buf *, const char *word, struct err *);
#endif
