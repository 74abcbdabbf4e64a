#ifndef LOCALAWS_FORM_H
#define LOCALAWS_FORM_H
/* A decoded application/x-www-form-urlencoded text: names and values. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { FORM_PAIRS_MAX = 512 };
struct form {
	char *memory;
	struct {
		const char *name, *value;
	} at[FORM_PAIRS_MAX];
	size_t count;
};
/* 0: to be freed by form_free(). */
MUST_CHECK int form_parse(struct form *, const char *p, size_t n, struct err *);
const char *form_get(const struct form *, const char *name); /* NULL: not there */
void form_free(struct form *);
#endif
