#ifndef CMD_AWSOCKS_OPEN_LISTENERS_H
#define CMD_AWSOCKS_OPEN_LISTENERS_H
/*
 * The listeners that a setup asks for: those of --listen (which count when it was
 * given, or when config.yaml has none), then those of config.yaml.
 */
#include "cmd/awsocks/setup.h"

struct app;
struct rule_slots;

/* Their rules, users and sockets. What is wrong is told with its place. */
MUST_CHECK int open_listeners(struct app *, struct rule_slots *, const struct setup *,
			      struct err *);
/* Reads the files of users again: all of them, or none is used when one is bad. Passwords that
 * were right have to be checked anew. */
MUST_CHECK int reload_users(struct app *, const struct setup *, struct err *);
/* Reads them and tells what is wrong (`awsocks check`). */
void check_users(const struct setup *, problem_fn *report, void *arg);
/* The file that --users names; "": none. */
MUST_CHECK int users_option_path(const struct setup *, char out[static PATH_TEXT], struct err *);
#endif
