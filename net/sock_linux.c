#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/sock.h"

int sock_open(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int sock_accept(int fd, struct addr *peer)
{
	peer->len = sizeof(peer->ss);
	return accept4(fd, (struct sockaddr *)&peer->ss, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

ssize_t sock_send(int fd, const void *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int sock_nonblock(int fd)
{
	return ioctl(fd, FIONBIO, &(int){ 1 }); /* one call where fcntl() needs two */
}

int sock_pair(int fd[static 2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd);
}
