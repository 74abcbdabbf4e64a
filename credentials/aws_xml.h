#ifndef CREDENTIALS_AWS_XML_H
#define CREDENTIALS_AWS_XML_H
/*
 * A Query API's XML reply as a tree: elements and texts, no attributes, no
 * namespaces. Behind it: expat. Document types are refused, depth and number
 * of elements bounded.
 */
#include <stddef.h>

#include "base/err.h"

struct xml {
	char *name;
	char *text; /* of an element without children, blanks at the ends cut; else "" */
	struct xml **child;
	size_t count;
};

/* *out is the caller's. ERR_PROTO: not well-formed; ERR_LIMIT; ERR_NOMEM. */
MUST_CHECK int xml_parse(const char *p, size_t n, struct xml **out, struct err *);
void xml_free(struct xml *); /* wipes; NULL allowed */
/* The element at "A/B/C" below `at` (whose own name is not in the path), the first of
 * each name; NULL: not there. `at` may be NULL. */
const struct xml *xml_at(const struct xml *at, const char *path);
const char *xml_text(const struct xml *at, const char *path); /* NULL: not there */
#endif
