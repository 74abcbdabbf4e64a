#ifndef CREDENTIALS_SECRET_FILE_H
#define CREDENTIALS_SECRET_FILE_H
/*
 * Small files with secrets in them that other programs read and write too
 * (the AWS CLI's caches). All of this blocks: for the thread pool.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf;

enum { SECRET_FILE_MAX = 256 * 1024 };

/* Adds the whole file to *b (buf_free() wipes it). modified_ms (may be NULL): wall clock. ERR_IO
 * with e->sys == ENOENT: there is none. */
MUST_CHECK int secret_file_read(const char *path, struct buf *b, int64_t *modified_ms,
				struct err *);
/* Readers see the old file or all of the new one, also after a crash: it is written beside the
 * old one (mode 0600), synced and renamed. Missing directories are made (0700). */
MUST_CHECK int secret_file_write(const char *path, const char *text, size_t n, struct err *);
#endif
