#include "net/sock_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

enum { PIPE_SIZE = 1024 * 1024 };

struct sock_pipes {
	size_t n, max;
	int pipe[SOCK_PIPES_MAX][2];
};

struct sock_pipes *sock_pipes_new(size_t max)
{
	struct sock_pipes *p = mem_alloc(sizeof(*p));

	if (p) {
		p->n = 0;
		p->max = max;
	}
	return p;
}

static void close_pipe(const int pipe[static 2])
{
	close(pipe[0]);
	close(pipe[1]);
}

void sock_pipes_free(struct sock_pipes *p)
{
	for (size_t i = 0; p && i < p->n; i++)
		close_pipe(p->pipe[i]);
	mem_free(p);
}

bool sock_pipe_take(struct sock_pipes *p, int pipe[static 2])
{
	if (p && p->n) {
		p->n--;
		pipe[0] = p->pipe[p->n][0];
		pipe[1] = p->pipe[p->n][1];
		return true;
	}
	if (pipe2(pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
		pipe[0] = pipe[1] = -1;
		return false;
	}
	(void)fcntl(pipe[1], F_SETPIPE_SZ, PIPE_SIZE); /* the smaller one works too */
	return true;
}

void sock_pipe_give(struct sock_pipes *p, int pipe[static 2], bool empty)
{
	if (empty && p && p->n < p->max) {
		p->pipe[p->n][0] = pipe[0];
		p->pipe[p->n][1] = pipe[1];
		p->n++;
	} else {
		close_pipe(pipe);
	}
	pipe[0] = pipe[1] = -1;
}

ssize_t sock_pipe_move(int from, int to, size_t n)
{
	ssize_t moved;

	do
		moved = splice(from, NULL, to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (moved < 0 && errno == EINTR);
	return moved;
}
