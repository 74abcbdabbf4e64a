#ifndef NET_SPAWNER_IMPL_H
#define NET_SPAWNER_IMPL_H
/*
 * What the two ends of the spawner's socket say (SOCK_SEQPACKET: a message
 * comes whole or not at all, and both ends are the same program).
 *
 *   START  spawn_head, [cwd NUL] argv[0] NUL argv[1] NUL ...   + three descriptors
 *   KILL   spawn_head
 *                                      spawn_answer, one or two for each START
 */
#include <stdint.h>

#include "net/spawner.h"

enum spawn_op { SPAWN_OP_START = 1, SPAWN_OP_KILL };
struct spawn_head {
	uint32_t op, id, kind, argc;
	uint32_t own_group, has_cwd;
};

enum spawn_reply { SPAWN_REPLY_STARTED = 1, SPAWN_REPLY_ENDED, SPAWN_REPLY_FAILED, SPAWN_REPLY_NO };
enum { SPAWN_TEXT = 320 };
enum { SPAWN_END_MS = 2000 /* so long spawner_free() waits for the end of the process */ };
struct spawn_answer {
	uint32_t reply, id;
	int32_t value;  /* pid; exit status; errno */
	int32_t signal; /* that ended it, or 0 */
	char text[SPAWN_TEXT];
};

/* The spawner's life, from the fork to _exit(). Takes fd. */
void spawner_child(int fd, pid_t parent, const struct spawner_opts *) __attribute__((noreturn));
#endif
