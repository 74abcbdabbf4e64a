#ifndef CMD_AWSOCKS_BACKGROUND_H
#define CMD_AWSOCKS_BACKGROUND_H
/*
 * --daemon and --log-file: where start's words go, and who waits for it.
 *
 *   background_begin()  --log-file is opened as standard error; --daemon: a child goes on in a
 *                       session of its own, with /dev/null for what is left, and the parent waits
 *   background_ready()  the parent ends with status 0
 *   background_fail()   the parent says why, and ends with the status that the child ends with
 *
 * Until it is ready, log lines go to who started it too: a warning of the start is not only in a
 * file. Processes that are made later (the spawner, its children) have nothing of the
 * terminal, so that what waits for the end of a pipe (`awsocks --daemon | cat`) does not wait for
 * them.
 */
#include <stdbool.h>

#include "base/err.h"

struct background {
	const char *log_file; /* NULL: none */
	int told;             /* who is told of the start; -1: nobody, or over */
	int ready;            /* --daemon: where the parent waits; -1 */
	bool is_parent;
};

/* Before there are threads, loops and children. In the parent it returns when the start is over:
 * ->is_parent is set, and *status the exit status. -1: *e tells. */
MUST_CHECK int background_begin(struct background *, bool detach, const char *log_file, int *status,
				struct err *);
/* false: the parent has gone meanwhile (Ctrl-C): nobody wants it any more. */
bool background_ready(struct background *);
void background_fail(struct background *, const struct err *);
/* After the log file was renamed. */
MUST_CHECK int background_reopen(const struct background *, struct err *);
#endif
