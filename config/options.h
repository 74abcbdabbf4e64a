#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H
/*
 * Settings: one table (options.def) for argv, environment, YAML, --help and the
 * manual.
 *
 * Each source gives a struct settings (config/settings.h); options_build() lays
 * them over the built-in defaults, the weakest first, and every value keeps
 * where it came from, for messages.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum opt_kind {
	OPT_BOOL = 0,
	OPT_TEXT,
	OPT_NUMBER,
	OPT_DURATION, /* milliseconds; "500ms", "30s", "5m", "1h" */
	OPT_SIZE,     /* bytes; "1024", "16k", "4M", "1G" (powers of 1024) */
	OPT_CHOICE,   /* index into the spec's words: the enums below */
	OPT_LIST,
	OPT_KIND_COUNT
};
enum opt_group {
	GROUP_GENERAL = 0,
	GROUP_TARGET,
	GROUP_LISTENING,
	GROUP_ROUTING,
	GROUP_SESSIONS,
	GROUP_VM,
	GROUP_LOGGING,
	GROUP_COUNT
};
/* The stronger the higher. */
enum opt_level { LEVEL_BUILTIN = 0, LEVEL_DEFAULTS, LEVEL_PROFILE, LEVEL_ENV, LEVEL_ARGV };

enum { MODE_DIRECT = 0, MODE_VM };
enum { TRANSPORT_PORT = 0, TRANSPORT_SSH, TRANSPORT_AUTO };
enum { SSH_DOCUMENT_AUTO = 0, SSH_DOCUMENT_SSH, SSH_DOCUMENT_PORT };
enum { WHILE_BYPASS_DEFAULT = 0, WHILE_HOLD, WHILE_BYPASS_ALL }; /* as enum policy_init */
enum { FALLBACK_AUTO = 0, FALLBACK_ALL, FALLBACK_OFF };          /* as enum policy_fallback */
enum { FALLBACK_ON_UNREACHABLE = 0, FALLBACK_ON_DIAL_FAILURE };
enum { LOG_FORMAT_TEXT = 0, LOG_FORMAT_JSON };
enum { AWS_THROUGH_VM = 0, AWS_THROUGH_HOST };
enum { VM_START_START = 0, VM_START_ON_DEMAND };
enum { VM_BY_AUTO = 0, VM_BY_QEMU, VM_BY_VFKIT, VM_BY_PROCESS };
enum { VM_WITH_AUTO = 0, VM_WITH_KVM, VM_WITH_HVF, VM_WITH_TCG }; /* as enum vm_accel */

enum { OPT_ORIGIN = 160 };

struct opt_item {
	char *text;
	char origin[OPT_ORIGIN];
	unsigned order; /* of being given, over all options of a level */
};
struct opt_list {
	struct opt_item *item;
	size_t count;
};
struct opt_origin {
	enum opt_level level;
	unsigned order;
	char text[OPT_ORIGIN]; /* "--region", "AWSOCKS_REGION", "config.yaml:12", "built-in" */
};

typedef bool opt_type_BOOL;
typedef char *opt_type_TEXT; /* NULL: not set */
typedef uint64_t opt_type_NUMBER;
typedef uint64_t opt_type_DURATION;
typedef uint64_t opt_type_SIZE;
typedef unsigned opt_type_CHOICE;
typedef struct opt_list opt_type_LIST;

enum opt_id {
#define OPT(field, kind, name, ch, arg, def, spec, group, unbuilt, help) OPT_ID_##field,
#include "config/options.def"
#undef OPT
	OPT_ID_COUNT
};

struct options {
#define OPT(field, kind, name, ch, arg, def, spec, group, unbuilt, help) opt_type_##kind field;
#include "config/options.def"
#undef OPT
	struct opt_origin origin[OPT_ID_COUNT];
};

struct opt {
	const char *name;
	char ch; /* short form, or 0 */
	enum opt_kind kind;
	enum opt_group group;
	const char *arg, *def, *spec, *unbuilt, *help;
	size_t offset;
};
extern const struct opt opt_table[OPT_ID_COUNT];
extern const char *const opt_group_names[GROUP_COUNT];

/* By name ("no-lazy" too, for booleans: *negated); NULL: there is none. */
const struct opt *opt_find(const char *name, bool *negated);
const char *opt_suggest(const char *name); /* the nearest name, or NULL */
static inline enum opt_id opt_id(const struct opt *d)
{
	return (enum opt_id)(d - opt_table);
}

struct settings;
/* Zeroes *o, sets the built-in defaults, then each layer (the weakest first; NULL
 * entries are skipped). A list given in a layer replaces that of the weaker ones. On failure
 * nothing is to be freed. */
MUST_CHECK int options_build(struct options *, const struct settings *const *layers, size_t n,
			     struct err *);
void options_free(struct options *);
/* A value by itself: does the option take it? */
MUST_CHECK int opt_check(const struct opt *, const char *text, struct err *);

/* An option whose part is not built yet is set: ERR_USAGE, "--mode vm is not built yet in
 * this version". Never ignored. */
MUST_CHECK int options_unbuilt(const struct options *, struct err *);

/* What the given options were set to (lists and texts), in the order they were given, the
 * strongest level first; at most `max` of them. Borrowed from the options. */
struct opt_given {
	const struct opt *opt;
	const char *text, *origin;
	enum opt_level level;
};
size_t options_in_order(const struct options *, const enum opt_id *ids, size_t n,
			struct opt_given *out, size_t max);
#endif
