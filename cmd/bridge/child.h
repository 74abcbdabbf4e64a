#ifndef CMD_BRIDGE_CHILD_H
#define CMD_BRIDGE_CHILD_H
/*
 * The command that the bridge serves. It is in the bridge's own process group, and so in the
 * terminal's foreground when that is, with the bridge's standard descriptors: for the terminal and
 * the shell the two are one job. When the command stops (Ctrl-Z), the bridge stops too, so that the
 * shell sees it; when it is continued, so is the command.
 */
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "cmd/bridge/signals.h"

struct child {
	pid_t pid;    /* 0: none runs */
	bool stopped; /* and so were we */
	int status;   /* its exit status once it has ended; 128 + the signal that ended it */
};

/* Searched in PATH. files: the limit of open files that it gets. It is killed when we end. Its
 * exit status is 127 when there is no such program, 126 when it cannot be run: *e tells. */
MUST_CHECK int child_start(struct child *, char **argv, const struct signals *,
			   const struct rlimit *files, struct err *);
/* On SIGCHLD. True: it has ended. Returns late when it has stopped: as soon as we go on. */
bool child_ended(struct child *);
void child_signal(const struct child *, int number);
#endif
