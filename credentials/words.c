/*
 * One block holds the pointers and, behind them, the texts: no word is longer
 * than its spelling, and there are at most as many words as every second byte
 * allows.
 */
#include "credentials/words.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"

/* Copies the word at *from to *to without its quotes; both move on. */
static int one_word(const char **from, char **to, struct err *e)
{
	const char *p = *from;
	char *o = *to, quote = 0;

	for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
		if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else if (*p == '\\' && quote != '\'') {
			if (!p[1])
				return err_set(e, ERR_CONFIG, "nothing follows the last backslash");
			if (quote && p[1] != '"' && p[1] != '\\')
				*o++ = '\\';
			*o++ = *++p;
		} else {
			*o++ = *p;
		}
	}
	if (quote)
		return err_set(e, ERR_CONFIG, "a quote (%c) is not closed", quote);
	*o++ = '\0';
	*from = p;
	*to = o;
	return 0;
}

int words_split(const char *text, char ***words, size_t *count, struct err *e)
{
	size_t n = strlen(text), room = n / 2 + 2;
	char **list = mem_alloc(room * sizeof(*list) + n + 2), *to;

	*words = NULL;
	*count = 0;
	if (!list)
		return err_set(e, ERR_NOMEM, "words");
	to = (char *)(list + room);
	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		list[*count] = to;
		if (one_word(&text, &to, e) != 0) {
			mem_free(list);
			*count = 0;
			return -1;
		}
		++*count;
	}
	list[*count] = NULL;
	*words = list;
	return 0;
}
