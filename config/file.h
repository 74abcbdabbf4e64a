#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H
/*
 * config.yaml: `defaults:`, `profiles:` and `listeners:`, parsed and checked as a
 * whole. Reading the file is the caller's business.
 */
#include <stdint.h>

#include "base/problems.h"
#include "config/settings.h"
#include "config/users.h"

enum config_guard { GUARD_AUTO = 0, GUARD_ON, GUARD_OFF }; /* auto: on unless plain loopback TCP */

struct config_profile {
	char *name;
	unsigned line;
	struct settings settings;   /* LEVEL_PROFILE */
	const struct yaml *routing; /* its rules, for router_add_tree(); NULL: none; the file's */
};
struct config_texts {
	char **item;
	size_t count;
};
/* One of `listeners:` (design, section 7). */
struct config_listener {
	unsigned line;
	char *file; /* NULL: the configuration itself; a file of listeners.d that it stands in */
	char *address, *name, *rules; /* name and rules may be NULL */
	char *group;                  /* of a Unix socket: a name or number; NULL: our own */
	struct config_texts allow_from;
	long *allow_uid;
	size_t allow_uid_count;
	int mode;                               /* of a Unix socket; -1: not given */
	uint64_t max_connections, max_per_peer; /* 0: not given */
	enum config_guard guard;
	bool check_sni;
	struct config_users users;
	char *users_file; /* instead of them; may be NULL */
};
struct config_file {
	char *name;                 /* as in messages */
	struct settings defaults;   /* LEVEL_DEFAULTS */
	const struct yaml *routing; /* of defaults: for profiles without their own */
	struct config_profile *profile;
	size_t profile_count;
	struct config_listener *listener;
	size_t listener_count;
	struct yaml *tree;
};

/* Every problem goes to report(), if given; *e has the first. Rules under `routing:` are not
 * looked into. The caller frees *out. */
MUST_CHECK int config_parse(const char *text, size_t n, const char *name, struct config_file **out,
			    problem_fn *report, void *arg, struct err *e);
void config_free(struct config_file *);
const struct config_profile *config_profile(const struct config_file *, const char *name);
#endif
