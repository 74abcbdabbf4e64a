/* Usage: vsockback FD CID PORT PATH [LATE]: FD is one end of a socket pair, QEMU has the other. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vsock/vsock.h"

enum { POLL_MAX = 64 };

_Noreturn void die(const char *format, ...)
{
	va_list ap;

	(void)fputs("vsockback: ", stderr);
	va_start(ap, format);
	(void)vfprintf(stderr, format, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (!*text || *end || v > UINT32_MAX)
		die("'%s': a number expected", text);
	return (unsigned)v;
}

static void clear(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		die("eventfd: %s", strerror(errno));
}

static bool turn(struct vhost *h, struct vsock *v)
{
	struct pollfd p[1 + RINGS + POLL_MAX] = { { .fd = h->fd, .events = POLLIN } };
	size_t n = 1 + RINGS;

	for (unsigned i = 0; i < RINGS; i++)
		p[1 + i] = (struct pollfd){ .fd = h->ring[i].kick, .events = POLLIN };
	n += vsock_poll(v, p + n, POLL_MAX);
	if (poll(p, n, -1) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
	for (unsigned i = 0; i < RINGS; i++)
		if (p[1 + i].revents & POLLIN)
			clear(p[1 + i].fd);
	if (p[0].revents && !vhost_message(h))
		return false;
	vsock_work(v);
	vhost_call(h);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct vhost h;
	struct vsock *v;

	if (argc < 5 || argc > 6)
		die("usage: vsockback FD CID PORT PATH [LATE]");
	vhost_init(&h, (int)number(argv[1]), number(argv[2]));
	o.port = number(argv[3]);
	o.path = argv[4];
	o.late = argc > 5 ? number(argv[5]) : 0;
	v = vsock_new(&h, &o);
	while (turn(&h, v))
		;
	free(v);
	return 0;
}
