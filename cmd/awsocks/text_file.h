#ifndef CMD_AWSOCKS_TEXT_FILE_H
#define CMD_AWSOCKS_TEXT_FILE_H
/* Small files, read and written whole. */
#include <stddef.h>

#include "base/err.h"

enum { TEXT_FILE_MAX = 1024 * 1024 };

/* The caller frees *text (NUL-terminated; mem_free). Regular files of at most TEXT_FILE_MAX bytes
 * only; ERR_IO with errno in e->sys when it cannot be opened or read. */
MUST_CHECK int text_file_read(const char *path, char **text, size_t *n, struct err *);
/* Whole or not at all (a temporary file beside it, then rename), mode 0600. */
MUST_CHECK int text_file_write(const char *path, const char *text, struct err *);
#endif
