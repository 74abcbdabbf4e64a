#ifndef CMD_BRIDGE_OPTIONS_H
#define CMD_BRIDGE_OPTIONS_H
/* What `bridge` is asked for. Pure; the static program has no other parser than this one. */
#include <stdbool.h>

#include "base/err.h"
#include "cmd/awsocks/proxy_vars.h"
#include "cmd/bridge/bridge.h"

struct bridge_args {
	struct bridge_opts bridge;
	bool env;                    /* sets the command's variables, */
	struct proxy_vars_opts vars; /* these but host, port and program */
	bool die_with_parent;
	const char *log_level; /* NULL: warn with a command, info without */
	char **command;        /* NULL: none; ends in NULL */
	bool help;
};

/* argv[0] is skipped; nothing is copied. files: how many the process may open, from which the
 * default of --max-connections comes. */
MUST_CHECK int bridge_args_parse(struct bridge_args *, int argc, char **argv, unsigned long files,
				 struct err *);
/* The usage line's arguments, and the options with their meaning, for help. */
extern const char bridge_args_usage[], bridge_args_help[];
/* "500ms", "30s", "5m", "1h", into milliseconds. */
MUST_CHECK int bridge_duration(const char *text, unsigned *ms, struct err *);
#endif
