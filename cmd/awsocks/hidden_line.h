#ifndef AWSOCKS_HIDDEN_LINE_H
#define AWSOCKS_HIDDEN_LINE_H
/* One line from standard input, for what should not stand in an argument list. */
#include <stddef.h>

#include "base/err.h"

/* From a terminal it is not shown, and prompt stands before it (on standard error); from anything
 * else it is read as it comes. Without its end; the caller wipes it. Blocking, for short-lived
 * commands. ERR_USAGE: nothing came, or too much; ERR_IO. */
MUST_CHECK int hidden_line(const char *prompt, char *out, size_t size, struct err *);
#endif
