#ifndef CMD_AWSOCKS_CONFINE_H
#define CMD_AWSOCKS_CONFINE_H
/*
 * --sandbox, as start needs it: the process that starts programs, a private
 * directory, the fence (fence.h), and their end.
 */
#include "cmd/awsocks/fence.h"
#include "net/loop.h"
#include "net/spawner.h"

struct confine {
	struct spawner *spawner; /* NULL: no fence, programs are started by ourselves */
	struct fence_report report;
	char private_dir[80]; /* 0700, for Unix sockets; "": none */
};

/* All of it, as the settings say; to be called while there is one thread only, and without
 * descriptors that programs must not see. The struct must stay where it is. */
MUST_CHECK int confine_start(struct confine *, const struct setup *, struct err *);
/* The loop whose programs the spawner starts. */
MUST_CHECK int confine_attach(struct confine *, struct loop *, struct err *);
/* Before the loop is freed. The private directory is removed (by the spawner, which can). */
void confine_end(struct confine *);
#endif
