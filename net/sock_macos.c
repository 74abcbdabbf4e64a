/* No accept4(), no SOCK_CLOEXEC: two more calls each. SIGPIPE is switched off per socket. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sock.h"

enum { KEEP_IDLE_S = 60, KEEP_EVERY_S = 15, KEEP_PROBES = 4 };

/* Closes fd when it fails. */
static int prepare(int fd)
{
	int one = 1, sys;

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && ioctl(fd, FIONBIO, &one) == 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one));
		return fd;
	}
	sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

int sock_open(int family)
{
	return prepare(socket(family, SOCK_STREAM, 0));
}

int sock_open_udp(int family)
{
	return prepare(socket(family, SOCK_DGRAM, 0));
}

int sock_accept(int fd, struct addr *peer)
{
	peer->len = sizeof(peer->ss);
	return prepare(accept(fd, (struct sockaddr *)&peer->ss, &peer->len));
}

ssize_t sock_send(int fd, const void *p, size_t n)
{
	return send(fd, p, n, MSG_DONTWAIT); /* SO_NOSIGPIPE, and the loop ignores SIGPIPE */
}

int sock_nonblock(int fd)
{
	int one = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one));
	return ioctl(fd, FIONBIO, &one);
}

int sock_pair(int fd[static 2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		return -1;
	fd[0] = prepare(fd[0]);
	fd[1] = prepare(fd[1]);
	if (fd[0] >= 0 && fd[1] >= 0)
		return 0;
	if (fd[0] >= 0)
		close(fd[0]);
	if (fd[1] >= 0)
		close(fd[1]);
	return -1;
}

void sock_keep_alive(int fd)
{
	int on = 1, idle_s = KEEP_IDLE_S, every_s = KEEP_EVERY_S, probes = KEEP_PROBES;

	/* Without it a dead peer is only noticed later: no reason to fail. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPALIVE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}
