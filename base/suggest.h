#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H
/* "did you mean ...?": the known word nearest to a mistyped one. */
#include <stddef.h>

/* next(arg, i) gives the i-th known word, NULL after the last. The result is one of
 * them, or NULL when none is near (at most a third of its letters differ). */
const char *suggest(const char *word, const char *(*next)(const void *arg, size_t i),
		    const void *arg);
/* The same over an array that ends in NULL. */
const char *suggest_of(const char *word, const char *const *known);
#endif
