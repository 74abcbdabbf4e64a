/*
 * Linux spreads connections over all listening sockets of one address whose
 * SO_REUSEPORT is on (socket(7)). The first is bound without it and gets it when it
 * listens: a port that somebody has already, with or without that option, is
 * an error as ever, and never silently shared.
 */
#include <sys/socket.h>

#include "net/sock.h"

int sock_share_port(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int));
}
