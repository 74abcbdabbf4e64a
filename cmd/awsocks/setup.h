#ifndef CMD_AWSOCKS_SETUP_H
#define CMD_AWSOCKS_SETUP_H
/*
 * From argv, environment and config.yaml to one struct options per profile: the
 * part that start, route and check share.
 */
#include <stdbool.h>

#include "cmd/awsocks/paths.h"
#include "config/file.h"
#include "config/options.h"
#include "config/settings.h"

struct setup_profile {
	char name[64]; /* "" for the nameless one */
	struct options options;
	const struct yaml *routing; /* NULL: none */
};
struct setup {
	struct args args;
	struct settings env;
	struct config_file *config; /* NULL: there is none */
	char config_path[PATH_TEXT];
	size_t dropped_in; /* of config's listeners: those that listeners.d added, the last ones */
	struct setup_profile *profile; /* those asked for first, then all others of config.yaml */
	size_t count, asked;
};

/* argv, environment and config file. A missing config file is an error only if it was named.
 * report(): every problem of the file (may be NULL). On failure nothing is to be freed. */
MUST_CHECK int setup_load(struct setup *, int argc, char *const *argv, const struct arg_opt *own,
			  problem_fn *report, void *arg, struct err *);
/* config.yaml and listeners.d of that setup as they are now: ->config and what belongs to it,
 * nothing else. setup_free() when it succeeds. */
MUST_CHECK int setup_files_now(const struct setup *, struct setup *now, struct err *);
/* Builds ->profile. Without names: the profile `default` if there is one, otherwise the
 * nameless one, which has the defaults only. setup_free() in any case. */
MUST_CHECK int setup_profiles(struct setup *, const char *const *names, size_t n, struct err *);
/* Options of the asked profiles whose part is not built yet. */
MUST_CHECK int setup_unbuilt(const struct setup *, struct err *);
/* A path that config.yaml gives, relative to where config.yaml is. */
MUST_CHECK int setup_path(const struct setup *, const char *path, char out[static PATH_TEXT],
			  struct err *);
/* Where the running awsocks' control socket is: `given`, else as the environment and config.yaml
 * say, else in the runtime directory. A config.yaml that cannot be read is passed over. */
MUST_CHECK int setup_control_path(const char *given, char out[static PATH_TEXT], struct err *);
/* How many listeners config.yaml itself has. */
size_t setup_own_listeners(const struct setup *);
/* The directory of the config.yaml that counts, whether there is one or not: `named`, which may be
 * NULL, else the environment, else the usual place. */
MUST_CHECK int setup_config_dir(const char *named, char out[static PATH_TEXT], struct err *);
/* Adds the listeners of every listeners.d/NAME.yaml beside config.yaml to s->config, in the order
 * of the names; makes an empty configuration when there is none. `awsocks cal setup` writes them.
 */
MUST_CHECK int setup_drop_ins(struct setup *, const char *dir, problem_fn *report, void *arg,
			      struct err *);
void setup_free(struct setup *);
#endif
