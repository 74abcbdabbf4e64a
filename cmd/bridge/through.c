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
#include "base/mem.h"
#include "base/str.h"
#include "cmd/bridge/ask.h"
#include "cmd/bridge/ev.h"
#include "cmd/bridge/pair.h"
#include "cmd/bridge/user.h"
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

/* The next byte. */
static int read_one(int fd, uint8_t *into, uint64_t end_ms, struct err *e)
{
	for (;;) {
		ssize_t got;

		if (wait_until(fd, POLLIN, end_ms) != 0)
			return err_set(e, ERR_TIMEOUT, "no answer from the proxy within %d s",
				       REPLY_LIMIT_MS / 1000);
		got = read(fd, into, 1); /* a few bytes, once */
		if (got > 0)
			return 0;
		if (got == 0)
			return err_set(e, ERR_CLOSED, "the proxy closed the connection");
		if (errno != EAGAIN && errno != EINTR)
			return err_sys(e, errno, "the proxy");
	}
}

static int send_all(int fd, const uint8_t *p, size_t n, struct err *e)
{
	if (sock_send(fd, p, n) != (ssize_t)n) /* it fits a socket's buffer */
		return err_sys(e, errno, "the proxy");
	return 0;
}

static int read_two(int fd, uint8_t in[static 2], uint64_t end_ms, struct err *e)
{
	return read_one(fd, in, end_ms, e) == 0 ? read_one(fd, in + 1, end_ms, e) : -1;
}

/* Greeting and password, each answered. */
static int log_in(int fd, const struct user *u, uint64_t end_ms, struct err *e)
{
	uint8_t in[2], login[ASK_LOGIN];
	int wanted, result;

	if (send_all(fd, ask_greeting, sizeof(ask_greeting), e) != 0 ||
	    read_two(fd, in, end_ms, e) != 0)
		return -1;
	wanted = ask_method(in, e);
	if (wanted <= 0)
		return wanted;
	result = send_all(fd, login, ask_login(u, login), e);
	mem_wipe(login, sizeof(login));
	if (result != 0 || read_two(fd, in, end_ms, e) != 0)
		return -1;
	return ask_admitted(in, e);
}

static int handshake(int fd, struct user *u, const char *host, uint16_t port, struct err *e)
{
	uint64_t end_ms = clock_mono_ms(&clock_system) + REPLY_LIMIT_MS;
	uint8_t request[ASK_REQUEST], in[512] = { 5, 0 };
	size_t size = ask_request(host, port, request), used;
	size_t sent = u->name_n ? ASK_GREETING : 0, n = u->name_n ? 2 : 0;
	int rc = u->name_n ? log_in(fd, u, end_ms, e) : 0;

	user_wipe(u);
	if (rc == 0)
		rc = send_all(fd, request + sent, size - sent, e);
	if (rc != 0)
		return -1;
	/* To the last byte of the answer, and not one further. */
	while (rc == 0) {
		if (read_one(fd, in + n, end_ms, e) != 0)
			return err_wrap(e, "%s:%u", host, port);
		rc = ask_answer(in, ++n, host, port, &used, e);
	}
	return rc < 0 ? -1 : 0;
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

	if (pair_start(&pair, ev, shared, PAIR_STDIO, stdio, socket, on_ended, &r, e) != 0) {
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

int through_listener(const struct addr *listener, struct user *u, const char *host, uint16_t port,
		     struct err *e)
{
	struct lane_shared *shared = NULL;
	struct ev *ev = NULL;
	int fd = dial(listener, e), rc = -1;

	if (fd < 0)
		return -1;
	(void)signal(SIGPIPE, SIG_IGN);
	if (handshake(fd, u, host, port, e) != 0) {
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
