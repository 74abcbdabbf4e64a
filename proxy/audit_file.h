#ifndef PROXY_AUDIT_FILE_H
#define PROXY_AUDIT_FILE_H
/*
 * The file under the audit log: whole lines, appended, in a file that is given up for a new
 * one by SIGHUP (reopened) or by its size (renamed to PATH.1, PATH.2 ... by ourselves).
 *
 * Nothing here ends the program. What cannot be written is counted, said once in the log, and
 * said again with the number of lines lost when writing works. A line that the disk
 * takes only half of is finished before the next one.
 */
#include <stdint.h>

#include "base/err.h"

struct audit_file;
struct clock;

enum { AUDIT_LINE_MAX = 32 * 1024 }; /* bytes of a line */

struct audit_opts {
	const char *path; /* a file (created 0600, appended to), or "-": standard output */
	const struct clock *clock;
	uint64_t max_size; /* bytes after which it is rotated; 0: never. Not of "-" or a FIFO */
	unsigned keep;     /* how many rotated ones are kept, PATH.1 being the newest; 0: 1 */
};
struct audit_counts {
	uint64_t lines, lost, rotated;
};

MUST_CHECK int audit_file_open(struct audit_file **, const struct audit_opts *, struct err *);
/* After the file was renamed. When it fails the old one stays in use. */
MUST_CHECK int audit_file_reopen(struct audit_file *, struct err *);
/* One line with its end, of at most AUDIT_LINE_MAX bytes. From any thread. */
void audit_file_write(struct audit_file *, const void *line, size_t n);
/* Instead of a line that could not even be made. */
void audit_file_lost(struct audit_file *, const char *why);
const char *audit_file_path(const struct audit_file *);
struct audit_counts audit_file_counts(struct audit_file *);
void audit_file_close(struct audit_file *); /* NULL is allowed */
#endif
