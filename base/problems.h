#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H
/*
 * What is wrong with a file that people write: every problem is told with its
 * place ("name:line:column: ..."), the first one is kept as the error.
 */
#include <stdbool.h>

#include "base/err.h"
#include "base/yaml.h"

typedef void problem_fn(void *arg, const char *text);

struct problems {
	const char *name;   /* of the file */
	problem_fn *report; /* NULL: nobody listens */
	void *arg;
	struct err first; /* ERR_NONE: no problem so far; out of memory goes before all others */
};

void problem_code(struct problems *, const struct yaml *at, enum err_code, const char *what);
void problem(struct problems *, const struct yaml *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4))); /* ERR_CONFIG */
void problem_err(struct problems *, const struct yaml *at, const struct err *);
void problem_no_memory(struct problems *, const struct yaml *at);
/* A key that `where` does not have, and the one of `known` (ends in NULL) that may be meant. */
void problem_unknown_key(struct problems *, const struct yaml *key, const char *where,
			 const char *const *known);

/* Values as these files use them. */
bool yaml_is_null(const struct yaml *); /* nothing, ~ or null, not in quotes */
/* A text, or a list of texts: the i-th; NULL after the last, and for null. */
const struct yaml *yaml_nth(const struct yaml *, size_t i);
/* Is it such a thing? If not, that is told. */
bool yaml_is_texts(struct problems *, const struct yaml *, const char *what);
#endif
