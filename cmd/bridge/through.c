/*
 * `connect HOST PORT`: a SOCKS5 handshake, then a pair of standard input and output and the socket.
 * The handshake may block, there is nothing else to do; the relay may not, since standard input
 * and output are somebody else's and may stand still in either direction.
 */
#include "cmd/bridge/through.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/bridge/ask.h"
#include "cmd/bridge/ev.h"
#include "cmd/bridge/pair.h"
#include "net/sock.h"

enum { LISTENER_LIMIT_MS = 5000, REPLY_LIMIT_MS = 60000 };

int through_parse(const char *text, struct addr *out, struct err *e)
{
	const char *behind = strstr(text, "://");

	return addr_parse(behind ? behind + 3 : text, out, e);
}

/* -1: not in time, or the system's error. */
static int wait_until(int fd, short events, uint64_t end_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do {
		uint64_t now = clock_mono_ms(&clock_system);

		n = poll(&p, 1, now < end_ms ? (int)(end_ms - now) : 0);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n > 0 ? 0 : -1;
}

static int dial(const struct addr *a, struct err *e)
{
	uint64_t end_ms = clock_mono_ms(&clock_system) + LISTENER_LIMIT_MS;
	int fd = sock_open(a->ss.ss_family), sys = 0;
	socklen_t n = sizeof(sys);
	char name[ADDR_TEXT];

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->ss, a->len) != 0) {
		if (errno != EINPROGRESS)
			sys = errno;
		else if (wait_until(fd, POLLOUT, end_ms) != 0 ||
			 getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &n) != 0)
			sys = errno;
	}
	if (fd >= 0 && sys == 0)
		return fd;
	sys = fd < 0 ? errno : sys;
	if (fd >= 0)
		close(fd);
	addr_format(a, name);
	return err_sys(e, sys, "the awsocks listener %s", name);
}

/* To the last byte of the answer, and not one further. */
static int read_answer(int fd, const char *host, uint16_t port, struct err *e)
{
	uint64_t end_ms = clock_mono_ms(&clock_system) + REPLY_LIMIT_MS;
	uint8_t in[512];
	size_t n = 0, used;
	int rc = 0;

	while (rc == 0) {
		ssize_t got;

		if (wait_until(fd, POLLIN, end_ms) != 0)
			return err_set(e, ERR_TIMEOUT,
				       "%s:%u: no answer from the proxy within %d s", host, port,
				       REPLY_LIMIT_MS / 1000);
		got = read(fd, in + n, 1); /* a few bytes, once */
		if (got == 0)
			return err_set(e, ERR_CLOSED, "the proxy closed the connection");
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0)
			return err_sys(e, errno, "the proxy");
		n++;
		rc = ask_answer(in, n, host, port, &used, e);
	}
	return rc < 0 ? -1 : 0;
}

static int handshake(int fd, const char *host, uint16_t port, struct err *e)
{
	uint8_t request[ASK_REQUEST];
	size_t n = ask_request(host, port, request);

	if (sock_send(fd, request, n) != (ssize_t)n) /* it fits a socket's buffer */
		return err_sys(e, errno, "the proxy");
	return read_answer(fd, host, port, e);
}

struct relay {
	struct ev *ev;
	int sys;
};

static void on_ended(void *arg, int sys)
{
	struct relay *r = arg;

	r->sys = sys;
	ev_stop(r->ev);
}

static int relay(struct ev *ev, struct lane_shared *shared, int fd, struct err *e)
{
	struct pair_fds stdio = { STDIN_FILENO, STDOUT_FILENO }, socket = { fd, fd };
	struct relay r = { .ev = ev };
	struct pair pair;
	int rc;

	if (pair_start(&pair, ev, shared, LANE_STDIO, stdio, socket, on_ended, &r, e) != 0) {
		close(fd);
		return -1;
	}
	rc = ev_run(ev, e);
	pair_close(&pair, false);
	/* Whoever reads has left: no news to anybody. */
	if (rc == 0 && r.sys && r.sys != EPIPE)
		return err_sys(e, r.sys, "connection");
	return rc;
}

int through_listener(const struct addr *listener, const char *host, uint16_t port, struct err *e)
{
	struct lane_shared *shared = NULL;
	struct ev *ev = NULL;
	int fd = dial(listener, e), rc = -1;

	if (fd < 0)
		return -1;
	(void)signal(SIGPIPE, SIG_IGN);
	if (handshake(fd, host, port, e) != 0) {
		close(fd);
		return -1;
	}
	if (ev_new(&ev, e) == 0 && lane_shared_new(&shared, e) == 0)
		rc = relay(ev, shared, fd, e);
	else
		close(fd);
	lane_shared_free(shared);
	ev_free(ev);
	return rc;
}
