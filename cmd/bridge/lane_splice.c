/*
 * Linux: socket --splice--> pipe --splice--> socket. A lane has a pipe only while that holds bytes;
 * empty ones wait in a small pool, so that an idle connection holds no descriptor of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/bridge/lane.h"

enum { POOL = 16, PIPE_SIZE = 1024 * 1024, BULK = 512 * 1024 };

struct lane_pipes {
	size_t n;
	int pipe[POOL][2];
};

static void close_pipe(const int pipe[static 2])
{
	close(pipe[0]);
	close(pipe[1]);
}

void lane_pipes_free(struct lane_pipes *p)
{
	for (size_t i = 0; p && i < p->n; i++)
		close_pipe(p->pipe[i]);
	mem_free(p);
}

static bool take_pipe(struct lane_pipes *p, struct lane *f)
{
	if (p && p->n) {
		p->n--;
		f->pipe[0] = p->pipe[p->n][0];
		f->pipe[1] = p->pipe[p->n][1];
		return true;
	}
	if (pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
		f->pipe[0] = f->pipe[1] = -1;
		return false;
	}
	(void)fcntl(f->pipe[1], F_SETPIPE_SZ, PIPE_SIZE); /* the smaller one works too */
	return true;
}

void lane_bulk_free(struct lane_pipes **pool, struct lane *f)
{
	struct lane_pipes *p = *pool;

	if (f->pipe[0] < 0)
		return;
	if (!f->in_pipe && p && p->n < POOL) {
		p->pipe[p->n][0] = f->pipe[0];
		p->pipe[p->n][1] = f->pipe[1];
		p->n++;
	} else {
		close_pipe(f->pipe);
	}
	f->pipe[0] = f->pipe[1] = -1;
	f->in_pipe = 0;
}

static ssize_t move(int from, int to, size_t n)
{
	ssize_t moved;

	do
		moved = splice(from, NULL, to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (moved < 0 && errno == EINTR);
	return moved;
}

enum lane_step lane_drain(struct lane_pipes **pool, struct lane *f, int to)
{
	ssize_t n = move(f->pipe[0], to, f->in_pipe);

	if (n < 0 && errno != EAGAIN)
		return LANE_BROKEN;
	if (n > 0) {
		f->in_pipe -= (uint32_t)n;
		f->moved += (uint64_t)n;
	}
	if (f->in_pipe)
		return LANE_WANTS_OUT;
	lane_bulk_free(pool, f);
	return LANE_MORE;
}

int lane_bulk(struct lane_pipes **pool, struct lane *f, int from, int to, enum lane_step *step)
{
	ssize_t n;
	int sys;

	if (!*pool)
		*pool = mem_alloc(sizeof(**pool)); /* without it: no pool, new pipes each time */
	f->full = false;
	if (!take_pipe(*pool, f)) /* out of descriptors: slower, but it works */
		return 1;
	n = move(from, f->pipe[1], BULK);
	if (n > 0) {
		f->in_pipe = (uint32_t)n;
		f->full = true;
		*step = lane_drain(pool, f, to);
		return 0;
	}
	sys = errno;
	lane_bulk_free(pool, f);
	f->eof = n == 0;
	*step = n == 0 ? LANE_ENDED : sys == EAGAIN ? LANE_WANTS_IN : LANE_BROKEN;
	errno = sys;
	return 0;
}
