#ifndef NET_SOCK_PIPE_H
#define NET_SOCK_PIPE_H
/*
 * Pipes that splice(2) moves bytes through, and a small pool of empty ones, so that a busy
 * connection makes no system calls for its pipe. Linux only; knows no loop, so that the static
 * bridge has it too. Of one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SOCK_PIPES_MAX = 32 };

struct sock_pipes;
/* max: how many empty pipes are kept, at most SOCK_PIPES_MAX. NULL: out of memory. */
struct sock_pipes *sock_pipes_new(size_t max);
void sock_pipes_free(struct sock_pipes *); /* NULL is allowed */

/* An empty one, which never blocks. The pool may be NULL: always a new one. false: errno, and both
 * are -1. */
bool sock_pipe_take(struct sock_pipes *, int pipe[static 2]);
/* The end of its use: an empty one may be kept, any other is closed. Both are -1 then. */
void sock_pipe_give(struct sock_pipes *, int pipe[static 2], bool empty);
/* As splice(2) between a pipe and a socket, not blocking; never EINTR. */
ssize_t sock_pipe_move(int from, int to, size_t n);
#endif
