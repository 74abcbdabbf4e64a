#ifndef NET_FILE_WATCH_H
#define NET_FILE_WATCH_H
/*
 * Tells when a file has changed: written in place, replaced by rename (as
 * editors do), created or removed.
 */
#include "base/err.h"
#include "net/loop.h"

struct file_watch;

/* changed(arg) from the loop, once for a burst of changes. The file need not
 * exist, its directory must. NULL: *e tells. */
struct file_watch *file_watch_open(struct loop *, const char *path, loop_fn *changed, void *arg,
				   struct err *);
const char *file_watch_path(const struct file_watch *);
void file_watch_close(struct file_watch *); /* NULL allowed */
#endif
