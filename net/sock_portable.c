/* Elsewhere SO_REUSEPORT lets sockets share a port, but one of them gets all connections. */
#include <errno.h>

#include "net/sock.h"

int sock_share_port(int fd)
{
	(void)fd;
	errno = ENOTSUP;
	return -1;
}
