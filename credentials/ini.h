#ifndef CREDENTIALS_INI_H
#define CREDENTIALS_INI_H
/*
 * The format of ~/.aws/config and ~/.aws/credentials as a tree of sections,
 * keys and one-level maps. Source: "Shared config and credentials files" of
 * the AWS SDKs and Tools Reference Guide, and what the AWS CLI's reader does.
 */
#include <stddef.h>

#include "base/err.h"

struct ini_key {
	char *name;  /* lower-cased */
	char *value; /* "" for a map; lines of a continued value are joined with '\n' */
	unsigned line;
	struct ini_key *map; /* `s3 =` with indented `k = v` lines under it */
	size_t map_count;
};

struct ini_section {
	char *name; /* as it stands between the brackets, blanks at the ends cut */
	unsigned line;
	struct ini_key *keys;
	size_t count;
};

/* What was accepted though the AWS CLI reads it otherwise or not at all. */
struct ini_warning {
	unsigned line;
	char text[160];
};

enum { INI_FILE_MAX = 1024 * 1024, INI_SECTIONS_MAX = 4096, INI_KEYS_MAX = 512, INI_WARNINGS = 32 };

struct ini {
	struct ini_section *sections;
	size_t count;
	struct ini_warning *warnings; /* the first INI_WARNINGS of them */
	size_t warning_count;
};

/* `name` stands in messages ("name:line: ..."). *out is the caller's. ERR_CONFIG: not
 * of this format; ERR_LIMIT: over the sizes above; ERR_NOMEM. */
MUST_CHECK int ini_parse(const char *text, size_t n, const char *name, struct ini **out,
			 struct err *);
void ini_free(struct ini *); /* wipes; NULL allowed */
const struct ini_section *ini_section(const struct ini *, const char *name); /* NULL: none */
const struct ini_key *ini_key(const struct ini_section *, const char *name); /* both may be NULL */
#endif
