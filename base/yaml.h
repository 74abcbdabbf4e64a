#ifndef BASE_YAML_H
#define BASE_YAML_H
/*
 * A YAML text as a tree whose every node knows its line and column, so that
 * an error can name the place. Behind it: libyaml. One document; aliases,
 * anchors, tags, merge keys and duplicate keys are refused; depth and size are bounded.
 */
#include <stddef.h>

#include "base/err.h"

enum yaml_kind { YAML_SCALAR = 0, YAML_LIST, YAML_MAP };

struct yaml {
	enum yaml_kind kind;
	unsigned line, column; /* from 1 */
	char *text;            /* scalar; "" for an empty one */
	bool quoted;           /* scalar written in quotes: never a number, bool or null */
	struct yaml **item;    /* list items, or map values */
	struct yaml **key;     /* map keys (scalars) */
	size_t count;
};

/* `name` stands in error messages ("name:line:column: ..."). An empty text gives an
 * empty map. *out is the caller's. */
MUST_CHECK int yaml_parse(const char *text, size_t n, const char *name, struct yaml **out,
			  struct err *);
/* (libyaml itself has a yaml_free, which a program must not replace.) */
void yaml_tree_free(struct yaml *);
const struct yaml *yaml_get(const struct yaml *map, const char *key); /* NULL: not there */
#endif
