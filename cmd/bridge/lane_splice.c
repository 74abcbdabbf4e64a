/*
 * Linux: socket --splice--> pipe --splice--> socket. A lane has a pipe only while that holds bytes;
 * empty ones wait in a small pool, so that an idle connection holds no descriptor of it.
 */
#include <errno.h>

#include "cmd/bridge/lane.h"
#include "net/sock_pipe.h"

enum { POOL = 16, BULK = 512 * 1024 };

void lane_pipes_free(struct sock_pipes *p)
{
	sock_pipes_free(p);
}

void lane_bulk_free(struct sock_pipes **pool, struct lane *f)
{
	if (f->pipe[0] < 0)
		return;
	sock_pipe_give(*pool, f->pipe, !f->in_pipe);
	f->in_pipe = 0;
}

enum lane_step lane_drain(struct sock_pipes **pool, struct lane *f, int to)
{
	ssize_t n = sock_pipe_move(f->pipe[0], to, f->in_pipe);

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

int lane_bulk(struct sock_pipes **pool, struct lane *f, int from, int to, enum lane_step *step)
{
	ssize_t n;
	int sys;

	if (!*pool)
		*pool = sock_pipes_new(POOL); /* without it: no pool, new pipes each time */
	f->full = false;
	if (!sock_pipe_take(*pool, f->pipe)) /* out of descriptors: slower, but it works */
		return 1;
	n = sock_pipe_move(from, f->pipe[1], BULK);
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
