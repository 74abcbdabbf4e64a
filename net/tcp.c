/*
 * A connected socket as a stream. It holds no bytes: what is read goes from
 * the loop's shared buffer straight to the handler, as far as there is
 * credit; what is written goes to the kernel, and what that does not take is
 * still the caller's.
 *
 *     kernel --recv--> shared buffer --data()--> handler    (while credit)
 *     kernel <--send-- stream_write()                       (short: writable() follows)
 *
 * The watch is an edge one, so `readable` and `writable` remember what the
 * system said. All handlers run from step(), which runs from the watch or
 * from a post, never from a stream_ call. While a handler runs, `busy` keeps
 * the memory: stream_release_fd() may end the stream within one.
 *
 * A failed write does not end the stream at once: what the peer had sent
 * before it went away (an HTTP answer, say) is still read and delivered.
 */
#include "net/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock.h"
#include "stream/stream_impl.h"

enum { LINGER_MS = 1000, LINGER_BYTES = 1024 * 1024 };

struct tcp {
	struct stream stream;
	struct loop *loop;
	struct loop_watch watch;
	struct loop_post post;
	struct loop_timer linger;
	size_t credit; /* while lingering: bytes still thrown away */
	int broken;    /* errno; 0: whole */
	bool over;     /* broken, and nothing is left to read */
	bool readable, writable;
	bool hup;        /* no further edge will tell of the end: read on until it */
	bool want_write; /* the last write was short */
	bool eof;        /* told */
	bool shut;
	bool closing, aborting, lingering;
	bool busy, orphan; /* in a handler; released meanwhile */
};

static void step(void *arg);

static struct tcp *tcp_of(struct stream *s)
{
	return CONTAINER_OF(s, struct tcp, stream);
}

static void later(struct tcp *t)
{
	loop_post(t->loop, &t->post, step, t);
}

/* The next read of a stream that has much to say. */
static void more(struct tcp *t)
{
	loop_post_more(t->loop, &t->post, step, t);
}

static void set_interest(struct tcp *t)
{
	unsigned want = 0;

	if (t->lingering || (t->credit && !t->eof))
		want |= WATCH_READ;
	if (t->want_write)
		want |= WATCH_WRITE;
	watch_set(t->loop, &t->watch, want);
}

/* ---- the end ---- */

static void end(struct tcp *t, const struct err *why)
{
	struct linger rst = { .l_onoff = 1, .l_linger = 0 };

	if (t->aborting)
		(void)setsockopt(t->watch.fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	timer_disarm(t->loop, &t->linger);
	watch_close(t->loop, &t->watch);
	if (t->stream.handler && t->stream.handler->closed)
		t->stream.handler->closed(t->stream.arg, why);
	loop_unpost(&t->post); /* it may have been closed once more in there */
	mem_free(t);
}

static void end_broken(struct tcp *t)
{
	struct err e;

	(void)err_sys(&e, t->broken, "connection");
	end(t, &e);
}

static void linger_over(void *arg)
{
	end(arg, NULL);
}

/* Throws away what the peer still sends. True: its end, an error or our patience was reached. */
static bool drained(struct tcp *t)
{
	ssize_t n;

	for (;;) {
		n = recv(t->watch.fd, t->loop->shared, LOOP_SHARED, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return !t->lingering;
		if (n <= 0 || (size_t)n >= t->credit)
			return true;
		t->credit -= (size_t)n;
		if (t->lingering)
			continue;
		t->lingering = true;
		if (!t->shut)
			(void)shutdown(t->watch.fd, SHUT_WR);
		timer_arm(t->loop, &t->linger, LINGER_MS, linger_over, t);
	}
}

/* Closing a socket that holds unread bytes resets the connection, and the
 * peer may lose our last words (a refusal, say). So the rest of what it sends
 * is read and dropped first, within limits. */
static void step_closing(struct tcp *t)
{
	if (!t->lingering)
		t->credit = LINGER_BYTES;
	t->want_write = false;
	if (t->aborting || t->eof || t->broken || drained(t))
		end(t, NULL);
	else
		set_interest(t);
}

/* ---- reading and telling ---- */

static void read_failed(struct tcp *t, int sys)
{
	if (sys == EINTR)
		return;
	t->readable = false;
	if (sys != EAGAIN && !t->broken)
		t->broken = sys;
	t->over = t->broken != 0;
}

/* Reads once. The handler may have closed or released the stream afterwards. */
static void read_some(struct tcp *t)
{
	size_t want = t->credit < LOOP_SHARED ? t->credit : LOOP_SHARED;
	ssize_t n = recv(t->watch.fd, t->loop->shared, want, MSG_DONTWAIT);

	if (n > 0) {
		t->credit -= (size_t)n;
		if ((size_t)n < want)
			t->readable = t->hup;
		t->stream.handler->data(t->stream.arg, t->loop->shared, (size_t)n);
	} else if (n < 0) {
		read_failed(t, errno);
	} else if (t->broken) {
		t->over = true;
	} else {
		t->eof = true;
		t->readable = false;
		if (t->stream.handler->eof)
			t->stream.handler->eof(t->stream.arg);
	}
}

/* After the end of the peer's direction only an error can follow. */
static void probe(struct tcp *t)
{
	char c;

	t->readable = false;
	if (recv(t->watch.fd, &c, 1, MSG_DONTWAIT) < 0)
		read_failed(t, errno);
}

static bool may_read(const struct tcp *t)
{
	return t->readable && t->credit && !t->eof;
}

static void run_handlers(struct tcp *t)
{
	if (t->want_write && t->writable) {
		t->want_write = false;
		if (t->stream.handler->writable)
			t->stream.handler->writable(t->stream.arg);
	}
	if (t->orphan || t->closing)
		return;
	if (may_read(t))
		read_some(t);
	else if (t->eof && t->readable)
		probe(t);
}

static void step(void *arg)
{
	struct tcp *t = arg;

	if (t->closing) {
		step_closing(t);
		return;
	}
	t->busy = true;
	run_handlers(t);
	t->busy = false;
	if (t->orphan) {
		mem_free(t);
		return;
	}
	if (t->closing) {
		later(t);
		return;
	}
	if (t->over) {
		end_broken(t);
		return;
	}
	if (may_read(t) || (t->want_write && t->writable))
		more(t); /* others have their turn first */
	set_interest(t);
}

static void ready(void *arg, unsigned bits)
{
	struct tcp *t = arg;

	if (bits & WATCH_READ)
		t->readable = true;
	if (bits & WATCH_WRITE)
		t->writable = true;
	if (bits & WATCH_HUP)
		t->hup = true;
	step(t);
}

/* ---- the stream's operations ---- */

static void tcp_credit(struct stream *s, size_t n)
{
	struct tcp *t = tcp_of(s);

	if (t->closing)
		return;
	t->credit = n < SIZE_MAX - t->credit ? t->credit + n : SIZE_MAX;
	if (t->busy)
		return;
	if (t->readable)
		more(t);
	else
		set_interest(t);
}

/* The peer takes nothing any more. What it had sent is read to its end before closed(). */
static void write_failed(struct tcp *t, int sys)
{
	t->broken = sys;
	t->over = t->eof;
	t->readable = true;
	t->want_write = false;
	later(t);
}

static size_t tcp_write(struct stream *s, const uint8_t *p, size_t n)
{
	struct tcp *t = tcp_of(s);
	ssize_t sent;

	if (t->broken || t->shut || t->closing)
		return n; /* dropped: closed() is on its way, or nobody listens */
	do
		sent = sock_send(t->watch.fd, p, n);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) {
		write_failed(t, errno);
		return n;
	}
	if (sent < 0)
		sent = 0;
	if ((size_t)sent == n)
		return n;
	t->writable = false;
	t->want_write = true;
	set_interest(t);
	return (size_t)sent;
}

static void tcp_shutdown(struct stream *s)
{
	struct tcp *t = tcp_of(s);

	if (t->shut || t->closing)
		return;
	t->shut = true;
	t->want_write = false;
	(void)shutdown(t->watch.fd, SHUT_WR);
}

static void tcp_close(struct stream *s)
{
	struct tcp *t = tcp_of(s);

	if (t->closing)
		return;
	t->closing = true;
	if (!t->busy)
		later(t);
}

static void tcp_abort(struct stream *s)
{
	struct tcp *t = tcp_of(s);

	t->aborting = true;
	if (t->lingering)
		later(t);
	tcp_close(s);
}

/* Ends the stream as far as its owner sees it; the watch is left to the caller. */
static void leave(struct tcp *t)
{
	loop_unpost(&t->post);
	if (t->busy)
		t->orphan = true;
	else
		mem_free(t);
}

static int tcp_release_fd(struct stream *s)
{
	struct tcp *t = tcp_of(s);
	int fd = t->watch.fd;

	if (t->broken || t->closing)
		return -1;
	watch_del(t->loop, &t->watch);
	leave(t);
	return fd;
}

static const struct stream_ops tcp_ops = {
	.credit = tcp_credit,
	.write = tcp_write,
	.shutdown = tcp_shutdown,
	.close = tcp_close,
	.abort = tcp_abort,
	.release_fd = tcp_release_fd,
};

bool tcp_stream_movable(struct stream *s)
{
	return s->ops == &tcp_ops && !tcp_of(s)->broken && !tcp_of(s)->closing;
}

void tcp_stream_move(struct stream *s, struct loop_watch *to, unsigned events, watch_fn *fn,
		     void *arg, struct tcp_seen *seen)
{
	struct tcp *t = tcp_of(s);

	assert(tcp_stream_movable(s));
	*seen = (struct tcp_seen){ .readable = t->readable || t->hup,
				   .writable = t->writable,
				   .hup = t->hup,
				   .eof = t->eof,
				   .shut = t->shut };
	watch_move(t->loop, &t->watch, to, events, fn, arg);
	leave(t);
}

static struct tcp *tcp_new(struct loop *l, struct err *e)
{
	struct tcp *t = mem_alloc(sizeof(*t));

	if (!t) {
		(void)err_set(e, ERR_NOMEM, "stream");
		return NULL;
	}
	t->stream.ops = &tcp_ops;
	t->loop = l;
	t->writable = true;
	return t;
}

struct stream *tcp_stream_from_watch(struct loop *l, struct loop_watch *from, unsigned seen,
				     struct err *e)
{
	struct tcp *t = tcp_new(l, e);

	if (!t)
		return NULL;
	t->readable = (seen & WATCH_READ) != 0;
	t->hup = (seen & WATCH_HUP) != 0;
	watch_move(l, from, &t->watch, 0, ready, t);
	return &t->stream;
}

struct stream *tcp_stream_adopt(struct loop *l, int fd, struct err *e)
{
	struct tcp *t = tcp_new(l, e);

	if (t && watch_add(l, &t->watch, fd, WATCH_EDGE, ready, t, e) == 0)
		return &t->stream;
	close(fd);
	mem_free(t);
	return NULL;
}

struct stream *tcp_stream_new(struct loop *l, int fd, struct err *e)
{
	int one = 1, sys;

	if (sock_nonblock(fd) != 0) {
		sys = errno;
		close(fd);
		(void)err_sys(e, sys, "socket %d", fd);
		return NULL;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* not on Unix sockets */
	return tcp_stream_adopt(l, fd, e);
}

int tcp_stream_ends(struct stream *s, struct addr *local, struct addr *peer, struct err *e)
{
	int fd = tcp_of(s)->watch.fd;

	assert(s->ops == &tcp_ops);
	*local = *peer = (struct addr){ .len = sizeof(local->ss) };
	if (getsockname(fd, (struct sockaddr *)&local->ss, &local->len) != 0 ||
	    getpeername(fd, (struct sockaddr *)&peer->ss, &peer->len) != 0)
		return err_sys(e, errno, "connection");
	return 0;
}

int tcp_make_pair(int fd[static 2], struct err *e)
{
	return sock_pair(fd) == 0 ? 0 : err_sys(e, errno, "socket pair");
}
