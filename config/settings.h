#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H
/*
 * What one source says: a list of (option, text, origin), checked one by one
 * when it is added. Sources: argv, the environment, and maps of config.yaml.
 */
#include <stdbool.h>
#include <stddef.h>

#include "config/options.h"

struct setting {
	const struct opt *opt;
	char *text;
	char origin[OPT_ORIGIN];
};
struct settings {
	enum opt_level level;
	struct setting *item;
	size_t count, size;
};
void settings_free(struct settings *);
/* Copies. ERR_USAGE when the option does not take that value. */
MUST_CHECK int settings_add(struct settings *, const struct opt *, const char *text,
			    const char *origin, struct err *);
/* The last text given for it, or NULL. */
const char *settings_get(const struct settings *, enum opt_id);

/* ---- argv ---- */

/* An option of one subcommand only. */
struct arg_opt {
	const char *name; /* NULL ends the table */
	char ch;
	const char *arg;    /* NULL: a flag */
	const char **value; /* set to the text (borrowed from argv); with `arg` */
	bool *flag;         /* without */
	const char *help;
};
struct args {
	struct settings settings;
	const char **positional; /* borrowed from argv */
	size_t count;
	bool help; /* --help or -h was given: nothing behind it was read */
};
/* argv[0] is skipped. `--x v`, `--x=v`, `-x v`, `-xv`, `--flag`, `--flag=false`, `--no-flag`; what
 * follows `--` is positional. `own` may be NULL. On failure nothing is to be freed. */
MUST_CHECK int args_parse(struct args *, int argc, char *const *argv, const struct arg_opt *own,
			  struct err *);
void args_free(struct args *);

/* ---- environment ---- */

/* AWSOCKS_ROUTE_DEFAULT=... for --route-default; lists are split at commas and blanks (an item
 * that begins with re: at blanks only). environ-like array, ends in NULL. A name of no option that
 * is nearly one is told to warn(), if given. */
MUST_CHECK int settings_from_env(struct settings *, char *const *env,
				 void (*warn)(void *arg, const char *text), void *arg,
				 struct err *);
#endif
