#ifndef BASE_SECRET_H
#define BASE_SECRET_H
/*
 * A text that no log line may show: no format prints a struct, and its memory
 * is wiped when it is freed.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct secret {
	char *text; /* NUL-terminated; NULL when unset */
	size_t len;
};

/* Copies; frees and wipes what was there. text == NULL unsets. */
MUST_CHECK int secret_set(struct secret *, const char *text, struct err *);
MUST_CHECK int secret_setn(struct secret *, const char *text, size_t n, struct err *);
void secret_free(struct secret *);
/* Time does not depend on where they differ. */
bool secret_equal(const void *a, size_t na, const void *b, size_t nb);
#endif
