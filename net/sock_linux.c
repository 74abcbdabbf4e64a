#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/sock.h"

enum { KEEP_IDLE_S = 60, KEEP_EVERY_S = 15, KEEP_PROBES = 4 };

int sock_open(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int sock_open_udp(int family)
{
	return socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

void sock_keep_alive(int fd)
{
	int on = 1, idle_s = KEEP_IDLE_S, every_s = KEEP_EVERY_S, probes = KEEP_PROBES;

	/* Without it a dead peer is only noticed later: no reason to fail. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}
