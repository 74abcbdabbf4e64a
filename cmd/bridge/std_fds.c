#include <fcntl.h>
#include <unistd.h>

#include "cmd/bridge/cmd_bridge.h"

/* Where there is no /dev: the reading end of a pipe that nobody writes to. Like /dev/null opened
 * for reading: reading ends at once, writing fails. */
static int nothing(void)
{
	int fd[2], null = open("/dev/null", O_RDONLY);

	if (null >= 0 || pipe(fd) != 0)
		return null;
	close(fd[1]);
	return fd[0];
}

void standard_descriptors_fill(void)
{
	for (int i = 0; i < 3; i++) {
		int fd;

		if (fcntl(i, F_GETFD) >= 0)
			continue;
		fd = nothing();
		if (fd < 0 || fd == i)
			continue;
		(void)dup2(fd, i);
		close(fd);
	}
}
