#ifndef BASE_FILE_H
#define BASE_FILE_H
/* Small files, written whole. Blocking: before the loop runs, or on the thread pool. */
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* All n bytes, however many write() takes at a time. 0, or the errno. */
int file_write_all(int fd, const void *p, size_t n);

/* What is left in it, at most `room` bytes: *n == room may be less than all. 0, or the errno. */
int file_read_all(int fd, void *into, size_t room, size_t *n);

/* Puts the bytes in place of what is at path, so that a reader sees the old or the new and a
 * crash leaves one of both: a file beside it of mode 0600, fsync(), rename(). Something there
 * that is no regular file is left alone, with ERR_CONFIG. */
MUST_CHECK int file_replace(const char *path, const void *p, size_t n, struct err *e);
/* The same with permission bits of the caller's choice, whatever the umask. */
MUST_CHECK int file_replace_mode(const char *path, const void *p, size_t n, mode_t mode,
				 struct err *e);
#endif
