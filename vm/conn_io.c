/*
 * The descriptor: whole pieces in and out, a few a turn, so that a busy link leaves the loop's
 * other users their time. What the pipe did not take of a piece waits here; nothing else does, for
 * the link makes a piece only when it is asked for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/tcp.h"
#include "vm/conn_impl.h"

enum { TURN_PIECES = 8 };

static void ready(void *arg, unsigned bits)
{
	struct vm_conn *c = arg;

	if (bits & WATCH_READ)
		conn_read(c);
	if (!c->ended)
		conn_flush(c);
}

static void capture(struct vm_conn *c, const uint8_t *p, size_t n)
{
	if (c->capture < 0 || write(c->capture, p, n) == (ssize_t)n)
		return;
	log_warn("vm", "the capture of the link is cut short");
	close(c->capture);
	c->capture = -1;
}

static int capture_open(struct vm_conn *c, struct err *e)
{
	c->capture = -1;
	if (!c->opts.capture)
		return 0;
	c->capture = open(c->opts.capture, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return c->capture < 0 ? err_sys(e, errno, "capture %s", c->opts.capture) : 0;
}

static int prepare(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return err_sys(e, errno, "link: descriptor %d", fd);
	return 0;
}

int conn_io_open(struct vm_conn *c, int fd, struct err *e)
{
	if (prepare(fd, e) != 0 || capture_open(c, e) != 0)
		return -1;
	c->in = mem_alloc(CONN_PIECE);
	c->out = mem_alloc(CONN_PIECE);
	if (!c->in || !c->out)
		return err_set(e, ERR_NOMEM, "link");
	return watch_add(c->loop, &c->watch, fd, WATCH_READ, ready, c, e);
}

void conn_io_close(struct vm_conn *c)
{
	if (c->watch.added)
		watch_close(c->loop, &c->watch);
	if (c->capture >= 0)
		close(c->capture);
	c->capture = -1;
	mem_free(c->in);
	mem_free(c->out);
	c->in = c->out = NULL;
	c->out_len = 0;
}

/* ---- in ---- */

static void hung_up(struct vm_conn *c, int sys)
{
	struct err why;

	if (sys)
		(void)err_sys(&why, sys, "the link to the VM");
	else
		(void)err_set(&why, ERR_CLOSED, "the VM has ended the link");
	conn_fail(c, &why);
}

/* The link's own GOODBYE says to the guest what was wrong with its words. */
static void broke_protocol(struct vm_conn *c, struct err *e)
{
	(void)err_wrap(e, "the VM's agent");
	conn_flush(c);
	conn_fail(c, e);
}

/* False: that was all for now. */
static bool read_piece(struct vm_conn *c)
{
	struct err e;
	ssize_t n;

	do
		n = read(c->watch.fd, c->in, CONN_PIECE);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		hung_up(c, n < 0 ? errno : 0);
		return false;
	}
	capture(c, c->in, (size_t)n);
	c->bytes_in += (uint64_t)n;
	c->heard_ms = loop_now_ms(c->loop);
	if (link_input(c->link, c->in, (size_t)n, &e) != 0) {
		if (!c->ended)
			broke_protocol(c, &e);
		return false;
	}
	return n == CONN_PIECE;
}

void conn_read(struct vm_conn *c)
{
	int i = 0;

	while (!c->ended && i++ < TURN_PIECES && read_piece(c))
		;
	if (!c->ended)
		link_run(c->link);
}

/* ---- out ---- */

/* False: the pipe is full, or gone. */
static bool write_piece(struct vm_conn *c)
{
	ssize_t n;

	do
		n = write(c->watch.fd, c->out + c->out_at, c->out_len - c->out_at);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN && errno != ENOBUFS) {
		c->deaf = true; /* reading tells of the end, after the guest's last words */
		c->out_len = 0;
		return false;
	}
	if (n < 0)
		return false;
	capture(c, c->out + c->out_at, (size_t)n);
	c->bytes_out += (uint64_t)n;
	c->out_at += (size_t)n;
	if (c->out_at < c->out_len)
		return false;
	c->out_len = 0;
	return true;
}

static bool has_piece(struct vm_conn *c)
{
	if (!c->out_len) {
		c->out_at = 0;
		c->out_len = link_pull(c->link, c->out, CONN_PIECE);
	}
	return c->out_len > 0;
}

static void flush_more(void *arg)
{
	conn_flush(arg);
}

void conn_flush(struct vm_conn *c)
{
	int i = 0;

	while (!c->deaf && i < TURN_PIECES && has_piece(c) && write_piece(c))
		i++;
	watch_set(c->loop, &c->watch, c->out_len ? WATCH_READ | WATCH_WRITE : WATCH_READ);
	if (i == TURN_PIECES)
		loop_post_more(c->loop, &c->more, flush_more, c);
}
