#ifndef CMD_AWSOCKS_RULES_H
#define CMD_AWSOCKS_RULES_H
/*
 * Which rules decide for a listener, and reading them (design section 5). The
 * first that exists, alone:
 *   1. the listener's own file
 *   2. --rules and --route-*, in the order given
 *   3. the project file, if it is trusted, then the profile's `routing:`
 * To 2 and 3 come the hosts of sign-ins (login_hosts.h).
 */
#include <stdbool.h>
#include <stddef.h>

#include "cmd/awsocks/setup.h"
#include "routing/policy.h"
#include "routing/router.h"

struct rule_file {
	char path[PATH_TEXT];
	bool watch; /* --rules and a listener's file are read again when they change */
	bool empty; /* not a byte in it */
};
struct rule_set {
	struct router *router;
	struct rule_file *file; /* what was read */
	size_t file_count;
	bool listener_rules; /* case 1 */
};

struct rule_request {
	const struct setup *setup;  /* its first profile's options and routing count */
	const char *listener_rules; /* as config.yaml gives it; NULL: none */
	bool project;               /* a loopback TCP listener: the project file may be used */
	bool login_hosts;           /* not a guarded one: hosts of sign-ins may go direct */
	problem_fn *report;         /* each problem of a file; may be NULL */
	problem_fn *warn;           /* vm-direct ignored, project file not trusted; may be NULL */
	void *arg;
};

/* To reload: load again, and swap when that succeeds. On failure nothing is to be freed. */
MUST_CHECK int rules_load(struct rule_set *, const struct rule_request *, struct err *);
void rules_free(struct rule_set *);
/* The policy that goes with the options, for a listener with or without the host guard. */
struct policy rules_policy(const struct options *, bool guarded);
/* proxy:NAME of a rule that config.yaml does not have, or whose options are not built. */
MUST_CHECK int rules_check_profiles(const struct rule_set *, const struct setup *, struct err *);
#endif
