#ifndef CMD_AWSOCKS_IN_PROCESS_H
#define CMD_AWSOCKS_IN_PROCESS_H
/*
 * What the two ways of `awsocks connect` that need no running awsocks share: options of their own,
 * and signals that end the connection, not the process at once. ssh ends its ProxyCommand by
 * SIGHUP, and the session has to be terminated first.
 */
#include "base/err.h"
#include "net/loop.h"

struct connect_args;
struct setup;

/* Reads the options in args->rest, environment and config.yaml, and calls serve() with them, for
 * the first profile. Messages below warnings stay away unless asked for: what starts it (ssh)
 * shares standard error with the user. */
MUST_CHECK int in_process(const struct connect_args *,
			  int (*serve)(const struct setup *, const struct connect_args *,
				       struct err *),
			  struct err *);

enum { END_SIGNALS = 3 };
struct end_signals {
	struct loop_signal *at[END_SIGNALS];
};
/* fn(arg) at SIGHUP, SIGINT and SIGTERM. One that cannot be had ends the process, as by default. */
void end_signals_open(struct end_signals *, struct loop *, loop_fn *fn, void *arg);
void end_signals_close(struct end_signals *);
#endif
