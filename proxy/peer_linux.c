/* SO_PEERCRED, unix(7): as it was when the peer connected. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
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

bool peer_program(long pid, char *out, size_t size)
{
	char link[64];
	ssize_t n;

	(void)str_fmt(link, sizeof(link), "/proc/%ld/exe", pid);
	n = readlink(link, out, size - 1);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}
