#ifndef CREDENTIALS_WORDS_H
#define CREDENTIALS_WORDS_H
/*
 * A line cut into words as a POSIX shell does it, and nothing else a shell
 * does: no variables, no globs, no operators (POSIX.1-2017, XCU 2.2). For
 * credential_process and for names in section headers.
 */
#include <stddef.h>

#include "base/err.h"

/* *words: count texts and a NULL behind them, one block, the caller's (mem_free).
 * ERR_CONFIG: a quote is not closed, or nothing follows a backslash. */
MUST_CHECK int words_split(const char *text, char ***words, size_t *count, struct err *);
#endif
