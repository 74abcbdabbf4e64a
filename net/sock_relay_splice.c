/*
 * Linux: bulk moves from socket to pipe to socket with splice(2) and never
 * enters user space. A flow has a pipe only while that holds bytes; empty ones
 * wait in a small pool of the loop, so that an idle connection holds no
 * descriptor and a busy one makes no system calls for its pipe.
 *
 *     socket --splice--> pipe --splice--> socket
 *
 * A pipe has room for many packets (slots), but at most FLOW_BULK_MAX bytes
 * are put in: that is what a stalled reader may cost. When the source has run
 * dry, flow.c's plain way begins anew: splicing the little that is there when
 * data comes again would pass many small pieces on, each with its own packet,
 * acknowledgement and wake-up (a fifth more processor time on one stream).
 */
#include <errno.h>

#include "net/loop_impl.h"
#include "net/sock_pipe.h"
#include "net/sock_relay.h"

static void pool_free(void *arg)
{
	sock_pipes_free(arg);
}

static struct sock_pipes *pool_of(struct loop *l)
{
	if (!l->bulk) {
		l->bulk = sock_pipes_new(SOCK_PIPES_MAX);
		l->bulk_free = l->bulk ? pool_free : NULL;
	}
	return l->bulk;
}

static bool pipe_get(struct loop *l, struct flow *f)
{
	if (!sock_pipe_take(pool_of(l), f->pipe))
		return false;
	if (loop_may_use_fd(l, f->pipe[1]))
		return true;
	sock_pipe_give(NULL, f->pipe, true);
	return false;
}

void flow_bulk_free(struct loop *l, struct flow *f)
{
	if (f->pipe[0] < 0)
		return;
	sock_pipe_give(l->bulk, f->pipe, !f->in_pipe);
	f->in_pipe = 0;
}

enum flow_step flow_drain(struct loop *l, struct flow *f, struct sock_end *to)
{
	ssize_t n = sock_pipe_move(f->pipe[0], to->fd, f->in_pipe);

	if (n < 0 && errno != EAGAIN)
		return FLOW_OUT_BROKEN;
	if (n > 0) {
		f->in_pipe -= (uint32_t)n;
		f->moved += (uint64_t)n;
	}
	if (f->in_pipe) {
		to->writable = false;
		return FLOW_BLOCKED;
	}
	flow_bulk_free(l, f);
	return FLOW_MOVED;
}

enum flow_step flow_bulk(struct loop *l, struct flow *f, struct sock_end *from, struct sock_end *to)
{
	ssize_t n;
	int sys;

	if (!pipe_get(l, f)) { /* out of descriptors: slower, but it works */
		f->full = false;
		return flow_copy(f, from, to, l->shared, LOOP_SHARED);
	}
	n = sock_pipe_move(from->fd, f->pipe[1], FLOW_BULK_MAX);
	if (n > 0) {
		f->in_pipe = (uint32_t)n;
		return flow_drain(l, f, to);
	}
	sys = errno;
	flow_bulk_free(l, f);
	errno = sys;
	if (n == 0)
		return FLOW_EOF;
	if (sys != EAGAIN)
		return FLOW_IN_BROKEN;
	from->readable = false;
	f->full = false;
	return FLOW_BLOCKED;
}
