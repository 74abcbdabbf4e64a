/*
 * The descriptors are left blocking, because a terminal or pipe is shared with
 * others. Readiness makes that safe: one read() after "readable" returns
 * what is there, and a write() of at most PIPE_BUF bytes after "writable"
 * fits (pipe(7)). Sockets, which ssh uses, are written with MSG_DONTWAIT, as
 * much as they take. What cannot be watched (a regular file) is always ready
 * and is served once a turn.
 */
#include "net/stdio_stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop.h"
#include "stream/stream_impl.h"

enum { READ_SIZE = 16 * 1024 };

struct end {
	struct loop_watch watch;
	struct loop_post always; /* instead of a watch */
	int fd;
	bool watchable, socket, active;
	loop_fn *fn;
};

struct stdio_stream {
	struct stream base;
	struct loop *loop;
	struct end in, out;
	size_t credit;
	bool eof, shut, closing, want_write, together;
	struct loop_post closed, no_more;
	struct err why;
};

/* Asks for (or stops) readiness of one end. */
static void end_set(struct stdio_stream *s, struct end *end, unsigned events, bool active)
{
	end->active = active;
	if (end->watchable)
		watch_set(s->loop, &end->watch, active ? events : 0);
	else if (active)
		loop_post(s->loop, &end->always, end->fn, s);
	else
		loop_unpost(&end->always);
}

static void finish(void *arg)
{
	struct stdio_stream *s = arg;
	const struct stream_handler *h = s->base.handler;
	void *handler_arg = s->base.arg;
	struct err why = s->why;

	mem_free(s);
	if (h)
		h->closed(handler_arg, why.code ? &why : NULL);
}

static void close_now(struct stdio_stream *s)
{
	if (s->closing)
		return;
	s->closing = true;
	watch_del(s->loop, &s->in.watch);
	watch_del(s->loop, &s->out.watch);
	loop_unpost(&s->in.always);
	loop_unpost(&s->out.always);
	loop_unpost(&s->no_more);
	loop_post(s->loop, &s->closed, finish, s);
}

static void read_some(void *arg)
{
	struct stdio_stream *s = arg;
	uint8_t data[READ_SIZE];
	ssize_t n = read(s->in.fd, data, s->credit < sizeof(data) ? s->credit : sizeof(data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		end_set(s, &s->in, WATCH_READ, true);
		return;
	}
	if (n < 0) {
		(void)err_sys(&s->why, errno, "read standard input");
		close_now(s);
		return;
	}
	if (n == 0) {
		s->eof = true;
		end_set(s, &s->in, WATCH_READ, false);
		s->base.handler->eof(s->base.arg);
		return;
	}
	s->credit -= (size_t)n;
	end_set(s, &s->in, WATCH_READ, s->credit > 0);
	s->base.handler->data(s->base.arg, data, (size_t)n);
}

static void write_more(void *arg)
{
	struct stdio_stream *s = arg;

	end_set(s, &s->out, WATCH_WRITE, false);
	s->want_write = false;
	s->base.handler->writable(s->base.arg);
}

static void on_ready(void *arg, unsigned ready)
{
	struct stdio_stream *s = arg;

	(void)ready;
	if (s->in.active)
		read_some(s);
}

static void on_out_ready(void *arg, unsigned ready)
{
	struct stdio_stream *s = arg;

	(void)ready;
	if (s->out.active)
		write_more(s);
}

static void op_credit(struct stream *stream, size_t n)
{
	struct stdio_stream *s = (struct stdio_stream *)stream;

	s->credit += n;
	if (!s->eof && !s->closing && !s->in.active)
		end_set(s, &s->in, WATCH_READ, true);
}

static bool writable_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1;
}

/* Bytes that went out now without blocking; -1 with errno. */
static ssize_t write_some(struct end *out, const uint8_t *p, size_t n)
{
	if (out->socket)
		return send(out->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(out->fd, p, n < PIPE_BUF ? n : PIPE_BUF);
}

static size_t op_write(struct stream *stream, const uint8_t *p, size_t n)
{
	struct stdio_stream *s = (struct stdio_stream *)stream;
	ssize_t done;

	if (s->closing || s->shut || s->want_write)
		return 0;
	/* A blocking descriptor may only be written when known to be ready. */
	if (!s->out.socket && s->out.watchable && !writable_now(s->out.fd)) {
		s->want_write = true;
		end_set(s, &s->out, WATCH_WRITE, true);
		return 0;
	}
	done = write_some(&s->out, p, n);
	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		(void)err_sys(&s->why, errno, "write standard output");
		close_now(s);
		return 0;
	}
	if (done < 0)
		done = 0;
	if ((size_t)done < n) {
		s->want_write = true;
		end_set(s, &s->out, WATCH_WRITE, true);
	}
	return (size_t)done;
}

static void on_no_more(void *arg)
{
	struct stdio_stream *s = arg;

	if (s->eof)
		return;
	s->eof = true;
	end_set(s, &s->in, WATCH_READ, false);
	s->base.handler->eof(s->base.arg);
}

static void op_shutdown(struct stream *stream)
{
	struct stdio_stream *s = (struct stdio_stream *)stream;

	if (s->shut || s->closing)
		return;
	s->shut = true;
	watch_del(s->loop, &s->out.watch);
	loop_unpost(&s->out.always);
	if (s->out.socket)
		(void)shutdown(s->out.fd, SHUT_WR);
	close(s->out.fd);
	if (s->together)
		loop_post(s->loop, &s->no_more, on_no_more, s);
}

static void op_close(struct stream *stream)
{
	close_now((struct stdio_stream *)stream);
}

static const struct stream_ops ops = {
	.credit = op_credit,
	.write = op_write,
	.shutdown = op_shutdown,
	.close = op_close,
};

static int end_open(struct stdio_stream *s, struct end *end, int fd, unsigned events,
		    watch_fn *ready, loop_fn *fn, struct err *e)
{
	struct stat st;

	end->fd = fd;
	end->fn = fn;
	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "descriptor %d", fd);
	end->socket = S_ISSOCK(st.st_mode);
	end->watchable = !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
	if (!end->watchable)
		return 0;
	/* Asked for at once: what wants nothing is not offered to the system, which is to say. */
	if (watch_add(s->loop, &end->watch, fd, events, ready, s, e) == 0) {
		watch_set(s->loop, &end->watch, 0);
		return 0;
	}
	/* /dev/null and its kin cannot be watched either: always ready. */
	end->watchable = false;
	return e->sys == EPERM ? 0 : -1;
}

struct stream *stdio_stream_new(struct loop *loop, int in, int out, struct err *e)
{
	struct stdio_stream *s = mem_alloc(sizeof(*s));
	struct err local = { 0 };

	if (!s) {
		(void)err_set(e, ERR_NOMEM, "standard input and output");
		return NULL;
	}
	s->base.ops = &ops;
	s->loop = loop;
	if (end_open(s, &s->in, in, WATCH_READ, on_ready, read_some, &local) == 0 &&
	    end_open(s, &s->out, out, WATCH_WRITE, on_out_ready, write_more, &local) == 0)
		return &s->base;
	if (e)
		*e = local;
	watch_del(loop, &s->in.watch);
	watch_del(loop, &s->out.watch);
	mem_free(s);
	return NULL;
}

void stdio_stream_end_together(struct stream *stream)
{
	((struct stdio_stream *)stream)->together = true;
}
