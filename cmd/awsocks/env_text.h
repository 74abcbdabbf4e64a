#ifndef CMD_AWSOCKS_ENV_TEXT_H
#define CMD_AWSOCKS_ENV_TEXT_H
/*
 * The variables of proxy_vars.h in the words of a shell or file (env_shell.h), besides what this
 * process's own environment has. For `awsocks env`, and for the static awsocks-bridge: so nothing
 * but base/.
 */
#include "base/buf.h"
#include "cmd/awsocks/env_shell.h"
#include "cmd/awsocks/proxy_vars.h"

enum { ENV_TEXT_MAX = 64 * 1024 };

/* Sets them, and takes away those that name another proxy. */
MUST_CHECK int env_text_set(struct buf *, enum env_shell, const struct proxy_vars_opts *,
			    struct err *);
/* Takes them all away. ERR_USAGE for a file. */
MUST_CHECK int env_text_unset(struct buf *, enum env_shell, struct err *);
#endif
