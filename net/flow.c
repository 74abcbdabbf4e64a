/*
 * One direction of a socket relay. Small data goes by recv and send through
 * the loop's shared buffer, which costs the fewest system calls; when a read
 * has filled the buffer, flow_bulk() of the platform takes over.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock.h"
#include "net/sock_relay.h"

void flow_init(struct flow *f)
{
	*f = (struct flow){ .pipe = { -1, -1 } };
}

void flow_free(struct loop *l, struct flow *f)
{
	mem_free(f->kept);
	f->kept = NULL;
	f->kept_len = 0;
	flow_bulk_free(l, f);
}

int flow_keep(struct flow *f, const uint8_t *p, size_t n)
{
	if (n == 0)
		return 0;
	f->kept = mem_alloc(n);
	if (!f->kept)
		return -1;
	memcpy(f->kept, p, n);
	f->kept_at = 0;
	f->kept_len = (uint32_t)n;
	return 0;
}

/* Bytes taken (0: not now), or -1 with errno. */
static ssize_t offer(struct flow *f, struct sock_end *to, const uint8_t *p, size_t n)
{
	ssize_t taken;

	if (!to->writable)
		return 0;
	do
		taken = sock_send(to->fd, p, n);
	while (taken < 0 && errno == EINTR);
	if (taken < 0 && errno != EAGAIN && errno != ENOBUFS)
		return -1;
	if (taken < 0)
		taken = 0;
	if ((size_t)taken < n)
		to->writable = false;
	f->moved += (uint64_t)taken;
	return taken;
}

static enum flow_step send_kept(struct flow *f, struct sock_end *to)
{
	ssize_t taken = offer(f, to, f->kept + f->kept_at, f->kept_len);

	if (taken < 0)
		return FLOW_OUT_BROKEN;
	f->kept_at += (uint32_t)taken;
	f->kept_len -= (uint32_t)taken;
	if (f->kept_len)
		return FLOW_BLOCKED;
	mem_free(f->kept);
	f->kept = NULL;
	return FLOW_MOVED;
}

enum flow_step flow_copy(struct flow *f, struct sock_end *from, struct sock_end *to, uint8_t *buf,
			 size_t size)
{
	ssize_t n = recv(from->fd, buf, size, MSG_DONTWAIT), taken;

	if (n == 0)
		return FLOW_EOF;
	if (n < 0) {
		if (errno == EINTR)
			return FLOW_MOVED;
		if (errno != EAGAIN)
			return FLOW_IN_BROKEN;
		from->readable = false;
		return FLOW_BLOCKED;
	}
	f->full = n >= LOOP_SHARED;
	if ((size_t)n < size) /* that emptied the socket; more will make a new edge */
		from->readable = from->hup;
	taken = offer(f, to, buf, (size_t)n);
	if (taken < 0)
		return FLOW_OUT_BROKEN;
	if (taken == n)
		return FLOW_MOVED;
	if (flow_keep(f, buf + taken, (size_t)(n - taken)) == 0)
		return FLOW_BLOCKED;
	errno = ENOMEM; /* they are lost: both sides must know, at once */
	return FLOW_IN_BROKEN;
}

enum flow_step flow_step(struct loop *l, struct flow *f, struct sock_end *from, struct sock_end *to)
{
	if (f->kept_len)
		return to->writable ? send_kept(f, to) : FLOW_BLOCKED;
	if (f->in_pipe)
		return to->writable ? flow_drain(l, f, to) : FLOW_BLOCKED;
	if (!from->readable)
		return FLOW_BLOCKED;
	/* With nowhere to put it, it may as well stay in the kernel. */
	if (!to->writable)
		return FLOW_BLOCKED;
	if (f->full)
		return flow_bulk(l, f, from, to);
	return flow_copy(f, from, to, l->shared, LOOP_SHARED);
}
