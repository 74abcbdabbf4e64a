/* LOCAL_PEERCRED and LOCAL_PEERPID, unix(4) of macOS. */
#include <libproc.h>
#include <sys/socket.h>
#include <sys/ucred.h>
#include <sys/un.h>

#include "proxy/peer.h"

bool peer_id(int fd, long *uid, long *pid)
{
	struct xucred who;
	pid_t process;
	socklen_t n = sizeof(who), m = sizeof(process);

	if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERCRED, &who, &n) ||
	    who.cr_version != XUCRED_VERSION ||
	    getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &process, &m))
		return false;
	*uid = (long)who.cr_uid;
	*pid = (long)process;
	return true;
}

bool peer_program(long pid, char *out, size_t size)
{
	return proc_pidpath((int)pid, out, (uint32_t)size) > 0;
}
