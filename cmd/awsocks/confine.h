#ifndef CMD_AWSOCKS_CONFINE_H
#define CMD_AWSOCKS_CONFINE_H
/*
 * --sandbox, as start needs it: the process that starts programs, the fence
 * (fence.h), and their end.
 */
#include "cmd/awsocks/fence.h"
#include "net/loop.h"
#include "net/spawner.h"

struct vm_setup;

struct confine {
	struct spawner *spawner; /* NULL: programs are started by ourselves */
	struct fence_report report;
	char ssh_dir[PRIVATE_TEXT]; /* for ssh's sockets and keys; "": no profile uses it */
	char known_hosts[PATH_TEXT], helper[PATH_TEXT]; /* with it */
	struct vm_setup *vm;                            /* its driver NULL: no VM */
};

/* ->vm is set before. The process that starts programs: they get this one's limits and environment
 * as they are now. To be called while there is one thread only, and without descriptors that
 * programs must not see. */
MUST_CHECK int confine_start(struct confine *, const struct setup *, struct err *);
/* Then the fence, as the settings say; still in the only thread. */
MUST_CHECK int confine_close(struct confine *, const struct setup *, struct err *);
/* The loop whose programs the spawner starts. */
MUST_CHECK int confine_attach(struct confine *, struct loop *, struct err *);
/* Before the loop is freed. ssh's directory goes. */
void confine_end(struct confine *);
#endif
