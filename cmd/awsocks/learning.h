#ifndef CMD_AWSOCKS_LEARNING_H
#define CMD_AWSOCKS_LEARNING_H
/*
 * --learn FILE: the file that is written of what proxy/learn.h collects; every LEARNING_MS while
 * there is something new, on a reload, and at the end. Each time anew and whole, on the thread
 * pool. A file that was not written by --learn is never touched; that of the last run
 * becomes FILE.1.
 */
#include "base/err.h"
#include "net/loop.h"

struct cJSON;
struct learn;
struct learning;

enum { LEARNING_MS = 5000 };

/* path is borrowed. ERR_CONFIG: there is something else at path or PATH.1; ERR_*: the file cannot
 * be written. */
MUST_CHECK int learning_open(struct learning **, const char *path, struct err *);
struct learn *learning_table(struct learning *); /* for app_opts */
/* From here on it is written by itself. */
void learning_start(struct learning *, struct loop *);
/* Now, if there is something new. */
void learning_write(struct learning *);
/* No more by itself. */
void learning_stop(struct learning *);
void learning_describe(struct learning *, struct cJSON *into);
/* When the loop has been freed and nobody learns any more: writes for the last time. NULL allowed.
 */
void learning_close(struct learning *);
#endif
