#include "cmd/awsocks/word_option.h"

#include <string.h>

#include "base/str.h"

bool word_option(int argc, char **argv, int *at, const char *name, const char **value)
{
	const char *word = argv[*at];
	size_t n = strlen(name);

	if (!str_starts(word, name))
		return false;
	if (word[n] == '=') {
		*value = word + n + 1;
		return true;
	}
	if (word[n] || *at + 1 >= argc)
		return false;
	*value = argv[++*at];
	return true;
}
