#include "cmd/agent/relay.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cmd/agent/wire.h"
#include "net/sock.h"
#include "stream/stream.h"

enum { READS = 2, CREDIT = RELAY_BLOCK, DRAIN_MS = 30000 };

struct relay {
	struct relays *of;
	struct list node;
	struct ev_watch watch;
	int fd;                /* -1: closed */
	struct stream *stream; /* NULL: gone, and what it had said still goes out */
	struct ev_timer drained_by;
	struct buf out;                        /* for the socket */
	uint8_t *kept;                         /* of the socket, for the stream; NULL: nothing */
	size_t kept_at, kept_len;              /* of its bytes */
	bool socket_end, stream_end, told_end; /* told_end: the socket has been shut for writing */
	bool draining;
};

void relay_close_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void close_socket(struct relay *r, bool reset)
{
	if (r->fd < 0)
		return;
	ev_unwatch(r->of->ev, &r->watch);
	if (reset)
		relay_close_reset(r->fd);
	else
		close(r->fd);
	r->fd = -1;
}

static uint8_t *block_new(struct relays *all)
{
	uint8_t *p = all->spare;

	all->spare = NULL;
	return p ? p : mem_alloc(RELAY_BLOCK);
}

static void drop_kept(struct relay *r)
{
	if (r->of->spare)
		mem_free(r->kept);
	else
		r->of->spare = r->kept;
	r->kept = NULL;
	r->kept_at = r->kept_len = 0;
}

/* The socket has failed, or cannot be served. closed() follows. */
static void break_off(struct relay *r)
{
	close_socket(r, true);
	drop_kept(r);
	buf_clear(&r->out);
	stream_abort(r->stream);
}

static void want(struct relay *r)
{
	unsigned in = !r->kept && !r->socket_end ? EV_READ : 0;

	if (r->fd >= 0)
		ev_want(r->of->ev, &r->watch, in | (buf_len(&r->out) ? EV_WRITE : 0));
}

/* Both directions have ended, and all has gone. */
static void settle(struct relay *r)
{
	if (r->fd < 0 || !r->told_end || !r->socket_end || r->kept)
		return;
	close_socket(r, false);
	stream_close(r->stream);
}

/* ---- to the socket ---- */

static void pass_end_on(struct relay *r)
{
	if (r->fd < 0 || !r->stream_end || r->told_end || buf_len(&r->out))
		return;
	r->told_end = true;
	(void)shutdown(r->fd, SHUT_WR);
	settle(r);
}

/* How much it takes now; -1: it is broken off. */
static ssize_t send_some(struct relay *r, const uint8_t *p, size_t n)
{
	ssize_t done;

	do
		done = sock_send(r->fd, p, n);
	while (done < 0 && errno == EINTR);
	if (done >= 0) {
		r->of->up += (uint64_t)done;
		return done;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	break_off(r);
	return -1;
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct relay *r = arg;
	ssize_t done;

	if (r->fd < 0)
		return;
	done = buf_len(&r->out) ? 0 : send_some(r, p, n);
	if (done < 0)
		return;
	if ((size_t)done < n && buf_add(&r->out, p + done, n - (size_t)done, NULL) != 0) {
		break_off(r);
		return;
	}
	want(r);
	stream_credit(r->stream, (size_t)done);
}

static void flush(struct relay *r)
{
	ssize_t done;

	while (buf_len(&r->out)) {
		done = send_some(r, buf_ptr(&r->out), buf_len(&r->out));
		if (done <= 0)
			return;
		buf_drop(&r->out, (size_t)done);
		stream_credit(r->stream, (size_t)done);
	}
	pass_end_on(r);
}

static void on_eof(void *arg)
{
	struct relay *r = arg;

	r->stream_end = true;
	pass_end_on(r);
}

/* ---- from the socket ---- */

static void end_of_socket(struct relay *r)
{
	r->socket_end = true;
	stream_shutdown(r->stream);
	settle(r);
}

/* False: some of it was kept, or there is no memory to keep it in. */
static bool give(struct relay *r, uint8_t *p, size_t n)
{
	struct wire *w = r->of->wire;
	size_t taken = w ? wire_send(w, r->stream, p, n) : stream_write(r->stream, p, n);

	r->of->down += n;
	if (taken == n)
		return true;
	r->kept = block_new(r->of);
	if (!r->kept) {
		break_off(r);
		return false;
	}
	r->kept_len = n - taken;
	memcpy(r->kept, p + taken, r->kept_len);
	return false;
}

/* False: enough for now. */
static bool read_block(struct relay *r)
{
	uint8_t *p = r->of->block + FRAME_HEAD;
	ssize_t n = recv(r->fd, p, LINK_PIECE, MSG_DONTWAIT);

	if (n > 0)
		return give(r, p, (size_t)n) && n == LINK_PIECE;
	if (n == 0)
		end_of_socket(r);
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		break_off(r);
	return false;
}

static void read_some(struct relay *r)
{
	for (int i = 0; i < READS && r->fd >= 0 && !r->kept && !r->socket_end; i++)
		if (!read_block(r))
			return;
}

static void on_writable(void *arg)
{
	struct relay *r = arg;
	size_t taken;

	if (r->fd < 0 || !r->kept)
		return;
	taken = stream_write(r->stream, r->kept + r->kept_at, r->kept_len);
	r->kept_at += taken;
	r->kept_len -= taken;
	if (r->kept_len)
		return;
	drop_kept(r);
	want(r);
}

/* ---- both ---- */

static void relay_free(struct relay *r, bool reset)
{
	close_socket(r, reset);
	ev_disarm(r->of->ev, &r->drained_by);
	drop_kept(r);
	buf_free(&r->out);
	list_del(&r->node);
	if (r->draining)
		r->of->drains--;
	mem_free(r);
}

static void on_drain_limit(void *arg)
{
	relay_free(arg, true);
}

/* The stream has gone; what it has said goes out, and nothing is read any more. */
static void on_drain(void *arg, unsigned what)
{
	struct relay *r = arg;
	ssize_t n = sock_send(r->fd, buf_ptr(&r->out), buf_len(&r->out));

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n < 0) {
		relay_free(r, true);
		return;
	}
	r->of->up += (uint64_t)n;
	buf_drop(&r->out, (size_t)n);
	if (buf_len(&r->out) == 0)
		relay_free(r, false);
}

/* The link counts them no more, so nothing else bounds what they hold. */
static void queue_drain(struct relay *r)
{
	struct relays *all = r->of;

	list_del(&r->node);
	list_add_tail(&all->draining, &r->node);
	r->draining = true;
	if (++all->drains > RELAY_DRAINS)
		relay_free(CONTAINER_OF(all->draining.next, struct relay, node), true);
}

static bool drain(struct relay *r)
{
	ev_unwatch(r->of->ev, &r->watch);
	if (ev_watch(r->of->ev, &r->watch, r->fd, EV_WRITE, on_drain, r, NULL) != 0)
		return false;
	ev_arm(r->of->ev, &r->drained_by, DRAIN_MS, on_drain_limit, r);
	queue_drain(r);
	return true;
}

static void on_socket(void *arg, unsigned what)
{
	struct relay *r = arg;
	socklen_t size = sizeof(int);
	int sys = 0;

	/* Nothing was wanted of it: a reset is seen here and nowhere else. */
	if (what == EV_GONE) {
		if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &sys, &size) != 0 || sys)
			break_off(r);
		return;
	}
	if (what & EV_WRITE)
		flush(r);
	if (r->fd >= 0 && what & EV_READ)
		read_some(r);
	want(r);
}

static void on_closed(void *arg, const struct err *why)
{
	struct relay *r = arg;
	bool clean = !why && r->stream_end;

	r->stream = NULL;
	if (clean && r->fd >= 0 && buf_len(&r->out) && drain(r))
		return;
	relay_free(r, !clean || buf_len(&r->out));
}

static const struct stream_handler handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};
static void ignore_closed(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}
static const struct stream_handler nobody = { .closed = ignore_closed };

void relays_init(struct relays *all, struct ev *ev)
{
	*all = (struct relays){ .ev = ev };
	list_init(&all->all);
	list_init(&all->draining);
}

void relays_end(struct relays *all)
{
	LIST_EACH (it, &all->all)
		break_off(CONTAINER_OF(it, struct relay, node));
	LIST_EACH (it, &all->draining)
		relay_free(CONTAINER_OF(it, struct relay, node), true);
	mem_free(all->spare);
	all->spare = NULL;
}

void relay_start(struct relays *all, int fd, struct stream *stream)
{
	struct relay *r = mem_alloc(sizeof(*r));

	if (r)
		*r = (struct relay){ .of = all, .fd = fd, .stream = stream };
	if (!r || ev_watch(all->ev, &r->watch, fd, EV_READ, on_socket, r, NULL) != 0) {
		mem_free(r);
		relay_close_reset(fd);
		stream_attach(stream, &nobody, NULL);
		stream_abort(stream);
		return;
	}
	buf_init(&r->out, CREDIT);
	list_add_tail(&all->all, &r->node);
	stream_attach(stream, &handler, r);
	stream_credit(stream, CREDIT);
}
