#ifndef CMD_AWSOCKS_ENV_H
#define CMD_AWSOCKS_ENV_H
/* What `awsocks env` and `exec` share: the options that say which variables, and for what. */
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/env_place.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/proxy_vars.h"

struct env_request {
	struct env_where where;
	const char *all_proxy; /* "http", "socks5h" or "none"; NULL: http */
	bool extra, no_ssh;
};
struct env_vars {
	struct env_place place;
	struct proxy_vars_opts opts; /* points into this struct: not to be copied */
	char program[PATH_TEXT];
};

/* Finds the proxy. ERR_USAGE as env_place_find(), and for an all_proxy that is none. */
MUST_CHECK int env_vars_find(const struct env_request *, struct env_vars *, struct err *);
/* On standard error: what a Unix listener cannot do, and what to do instead. */
void env_say_unix_limits(const struct env_place *);

/* `env --for TOOL`: the tool's own settings, on standard output. */
MUST_CHECK int env_for(const char *tool, const struct env_vars *, struct err *);
#endif
