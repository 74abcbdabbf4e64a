/*
 * SO_PEERCRED, unix(7): as it was when the peer connected. /proc/PID/exe may be read only by who
 * might also trace that process (proc(5)), which inside the fence nobody may: then the name in
 * /proc/PID/comm has to do, which is 15 bytes at most and of the process's own choice.
 */
#include <fcntl.h>
#include <string.h>
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

static bool short_name(long pid, char *out, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	(void)str_fmt(path, sizeof(path), "/proc/%ld/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, out, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return *out != '\0';
}

bool peer_program(long pid, char *out, size_t size)
{
	char link[64];
	ssize_t n;

	(void)str_fmt(link, sizeof(link), "/proc/%ld/exe", pid);
	n = readlink(link, out, size - 1);
	if (n <= 0)
		return short_name(pid, out, size);
	out[n] = '\0';
	return true;
}
