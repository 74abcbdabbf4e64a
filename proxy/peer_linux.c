/* SO_PEERCRED, unix(7): as it was when the peer connected. */
#include <sys/socket.h>

#include "proxy/peer.h"

bool peer_id(int fd, long *uid, long *pid)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) || who.pid <= 0)
		return false;
	*uid = (long)who.uid;
	*pid = (long)who.pid;
	return true;
}
