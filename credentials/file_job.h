#ifndef CREDENTIALS_FILE_JOB_H
#define CREDENTIALS_FILE_JOB_H
/*
 * A small file with a secret in it, read or replaced on the thread pool:
 * tokens, and the cache files that are shared with the AWS CLI.
 */
#include <stddef.h>

#include "base/err.h"

struct file_job;
struct loop;

enum { FILE_JOB_MAX = 256 * 1024 };

/* text: NUL-terminated, n bytes, until return (wiped then); "" for a file that was written. NULL:
 * *why tells, ERR_IO with errno in `sys`. Once, from the loop. */
typedef void file_job_fn(void *arg, const char *text, size_t n, const struct err *why);

/* A regular file of at most FILE_JOB_MAX bytes. NULL: *e tells. */
struct file_job *file_job_read(struct loop *, const char *path, file_job_fn *, void *arg,
			       struct err *e);
/* Replaces it (0600): a temporary file beside it, fsync, rename. Directories on the way are made
 * (0700). */
struct file_job *file_job_write(struct loop *, const char *path, const char *text, file_job_fn *,
				void *arg, struct err *e);
void file_job_cancel(struct file_job *); /* then the callback never comes; NULL allowed */

/* The same at once, for what runs on the thread pool already. *text is the caller's
 * (mem_wipe, mem_free). */
MUST_CHECK int file_text_read(const char *path, char **text, size_t *n, struct err *e);
MUST_CHECK int file_text_replace(const char *path, const char *text, struct err *e);
#endif
