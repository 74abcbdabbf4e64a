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
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock_relay.h"

enum { POOL_MAX = 32, PIPE_SIZE = 1024 * 1024 };

struct pool {
	size_t n;
	int pipe[POOL_MAX][2];
};

static void pool_free(void *arg)
{
	struct pool *p = arg;
	size_t i;

	for (i = 0; i < p->n; i++) {
		close(p->pipe[i][0]);
		close(p->pipe[i][1]);
	}
	mem_free(p);
}

static struct pool *pool_of(struct loop *l)
{
	if (!l->bulk) {
		l->bulk = mem_alloc(sizeof(struct pool));
		l->bulk_free = l->bulk ? pool_free : NULL;
	}
	return l->bulk;
}

static bool pipe_get(struct loop *l, struct flow *f)
{
	struct pool *p = pool_of(l);

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
	if (!loop_may_use_fd(l, f->pipe[1])) {
		close(f->pipe[0]);
		close(f->pipe[1]);
		f->pipe[0] = f->pipe[1] = -1;
		return false;
	}
	(void)fcntl(f->pipe[1], F_SETPIPE_SZ, PIPE_SIZE); /* the smaller one works too */
	return true;
}

void flow_bulk_free(struct loop *l, struct flow *f)
{
	struct pool *p = l->bulk;

	if (f->pipe[0] < 0)
		return;
	if (!f->in_pipe && p && p->n < POOL_MAX) {
		p->pipe[p->n][0] = f->pipe[0];
		p->pipe[p->n][1] = f->pipe[1];
		p->n++;
	} else {
		close(f->pipe[0]);
		close(f->pipe[1]);
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

enum flow_step flow_drain(struct loop *l, struct flow *f, struct sock_end *to)
{
	ssize_t n = move(f->pipe[0], to->fd, f->in_pipe);

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
	n = move(from->fd, f->pipe[1], FLOW_BULK_MAX);
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
