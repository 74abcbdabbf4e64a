#include "net/tcp_pair.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/listen.h"
#include "net/sock.h"

enum { STRANGERS = 16 };

static bool same_end(const struct addr *a, const struct addr *b)
{
	return addr_same_host(a, b) && addr_port(a) == addr_port(b);
}

/* Loopback answers connect() at once; whoever else was quicker is not let in. */
static int accept_own(int listener, int near, struct err *e)
{
	struct addr own = { .len = sizeof(own.ss) }, peer;
	int fd;

	if (getsockname(near, (struct sockaddr *)&own.ss, &own.len) != 0)
		return err_sys(e, errno, "pair of sockets");
	for (int i = 0; i < STRANGERS; i++) {
		fd = sock_accept(listener, &peer);
		if (fd >= 0 && same_end(&own, &peer))
			return fd;
		if (fd < 0)
			return err_sys(e, errno, "pair of sockets");
		close(fd);
	}
	return err_set(e, ERR_IO, "pair of sockets: others connect to it");
}

int tcp_pair(int pair[static 2], struct err *e)
{
	struct listen_bound at;
	struct addr any;

	if (addr_parse("127.0.0.1:0", &any, e) != 0 || listen_bind(&at, &any, 0, e) != 0)
		return -1;
	pair[1] = -1;
	pair[0] = sock_open(AF_INET);
	if (pair[0] < 0 || (connect(pair[0], (struct sockaddr *)&at.addr.ss, at.addr.len) != 0 &&
			    errno != EINPROGRESS))
		(void)err_sys(e, errno, "pair of sockets");
	else
		pair[1] = accept_own(at.fd, pair[0], e);
	listen_drop(&at);
	if (pair[1] >= 0)
		return 0;
	if (pair[0] >= 0)
		close(pair[0]);
	return -1;
}
