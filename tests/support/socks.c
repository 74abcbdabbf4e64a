#include "tests/support/socks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

int sock_cloexec(int fd)
{
	must(fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0, "FD_CLOEXEC");
	return fd;
}

void unix_pair(int fd[static 2])
{
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0, "socketpair");
	(void)sock_cloexec(fd[0]);
	(void)sock_cloexec(fd[1]);
}

int tcp_unheard(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = sock_cloexec(socket(AF_INET, SOCK_STREAM, 0));

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
	must(getsockname(fd, (struct sockaddr *)&a, &len) == 0, "getsockname");
	*port = ntohs(a.sin_port);
	return fd;
}

int tcp_listen(uint16_t *port, int backlog)
{
	int fd = tcp_unheard(port);

	must(listen(fd, backlog) == 0, "listen");
	return fd;
}

void pair_open(int fd[static 2])
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	uint16_t port;
	int l = tcp_listen(&port, 1);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons(port);
	fd[0] = sock_cloexec(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(fd[0], (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	fd[1] = accept(l, NULL, NULL);
	must(fd[1] >= 0, "accept");
	close(l);
}

void sock_reset(int fd)
{
	struct linger rst = { .l_onoff = 1, .l_linger = 0 };

	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst)) == 0, "SO_LINGER");
	close(fd);
}

/* One word of the stream: splitmix64 of its number. */
static uint64_t word(uint64_t seed, uint64_t i)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15u + i * 0xbf58476d1ce4e5b9u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void pattern_fill(uint64_t seed, uint64_t at, uint8_t *p, size_t n)
{
	uint64_t w;
	size_t skip, part;

	for (; n; n -= part, p += part, at += part) {
		w = word(seed, at / 8);
		skip = at % 8;
		part = n < 8 - skip ? n : 8 - skip;
		memcpy(p, (uint8_t *)&w + skip, part);
	}
}

bool pattern_is(uint64_t seed, uint64_t at, const uint8_t *p, size_t n)
{
	uint8_t want[4096];
	size_t part;

	for (; n; n -= part, p += part, at += part) {
		part = n < sizeof(want) ? n : sizeof(want);
		pattern_fill(seed, at, want, part);
		if (memcmp(want, p, part) != 0)
			return false;
	}
	return true;
}
