#ifndef CMD_BRIDGE_SIGNALS_H
#define CMD_BRIDGE_SIGNALS_H
/*
 * Signals as something to read, and the parent's death as one of them. One file a system:
 * signalfd and PR_SET_PDEATHSIG on Linux, kqueue on macOS.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { SIGNALS_IGNORED = 3, SIGNALS_PARENT_DIED = -1 };

struct signals {
	int fd; /* readable when there is one */
	pid_t parent;
	sigset_t mask;                             /* as it was */
	sigset_t taken;                            /* those that are read (macOS) */
	struct sigaction ignored[SIGNALS_IGNORED]; /* SIGPIPE, SIGTTIN, SIGTTOU, as they were */
	struct sigaction child;                    /* SIGCHLD, as it was */
};

struct signal_seen {
	int number; /* or SIGNALS_PARENT_DIED */
	/* Of the terminal, which told the whole foreground group: whoever is in it has it. */
	bool from_terminal;
};

/* TERM, INT, HUP, QUIT, USR1, USR2, CHLD; with a command also TSTP and WINCH (without one TSTP
 * stops us as ever); but none that is ignored already. SIGPIPE is ignored from now on, and so are
 * SIGTTIN and SIGTTOU: a line for a terminal that belongs to somebody else must not stop the
 * bridge. */
MUST_CHECK int signals_open(struct signals *, bool with_command, bool watch_parent, struct err *);
/* False: no more now. */
bool signals_next(struct signals *, struct signal_seen *);
/* As they were, for a program that is to be run. */
void signals_restore(const struct signals *);
/* In a child: it is killed when its parent dies. */
void signals_die_with(pid_t parent);
#endif
