#include "base/suggest.h"

#include <string.h>

enum { WORD_MAX = 40 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Insertions, deletions and replacements from a to b (Levenshtein), row by row. */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[WORD_MAX + 1];

	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}

const char *suggest(const char *word, const char *(*next)(const void *arg, size_t i),
		    const void *arg)
{
	const char *known, *best = NULL;
	unsigned least = ~0u;

	if (strlen(word) > WORD_MAX)
		return NULL;
	for (size_t i = 0; (known = next(arg, i)) != NULL; i++) {
		size_t len = strlen(known);
		unsigned d;

		if (len > WORD_MAX)
			continue;
		d = distance(word, known);
		if (d < least && d <= (len + 2) / 3) {
			least = d;
			best = known;
		}
	}
	return best;
}

static const char *next_of(const void *arg, size_t i)
{
	return ((const char *const *)arg)[i];
}

const char *suggest_of(const char *word, const char *const *known)
{
	return suggest(word, next_of, known);
}
