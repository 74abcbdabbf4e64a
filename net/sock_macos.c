/* No accept4(), no SOCK_CLOEXEC: two more calls each. SIGPIPE is switched off per socket. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sock.h"

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
