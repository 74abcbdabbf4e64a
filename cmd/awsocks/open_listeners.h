#ifndef CMD_AWSOCKS_OPEN_LISTENERS_H
#define CMD_AWSOCKS_OPEN_LISTENERS_H
/*
 * The listeners that a setup asks for: those of --listen (which count when it was
 * given, or when config.yaml has none), then those of config.yaml.
 */
#include "cmd/awsocks/setup.h"

struct activation;
struct app;
struct rule_slots;

/* The directories of Unix sockets, as the listeners' groups want them. Before the fence. */
MUST_CHECK int prepare_listeners(const struct setup *, struct err *);
/* Their rules, users and sockets. given: what was passed to this process, from which they take.
 * What is wrong is told with its place. */
MUST_CHECK int open_listeners(struct app *, struct rule_slots *, const struct setup *,
			      struct activation *given, struct err *);
/* Reads the users again, of files and of config.yaml: all, or none is used when one is bad.
 * Passwords that were right have to be checked anew. */
MUST_CHECK int reload_users(struct app *, const struct setup *, struct err *);
/* Reads them and tells what is wrong (`awsocks check`). */
void check_users(const struct setup *, problem_fn *report, void *arg);
/* The file that --users names; "": none. */
MUST_CHECK int users_option_path(const struct setup *, char out[static PATH_TEXT], struct err *);
#endif
