#include "cmd/localaws/version.h"

#include <stdlib.h>
#include <string.h>

static unsigned long next(const char **at)
{
	unsigned long n;

	if (!**at)
		return 0;
	n = strtoul(*at, NULL, 10);
	*at += strcspn(*at, ".");
	*at += **at == '.';
	return n;
}

int version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		unsigned long x = next(&a), y = next(&b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

bool version_four_numbers(const char *text)
{
	for (int i = 0; i < 4; i++) {
		size_t n = strspn(text, "0123456789");

		if (n == 0 || n > 9 || text[n] != (i < 3 ? '.' : '\0'))
			return false;
		text += n + 1;
	}
	return true;
}
