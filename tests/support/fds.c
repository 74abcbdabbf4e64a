#include "tests/support/fds.h"

#include <fcntl.h>
#include <unistd.h>

size_t fds_open(void)
{
	size_t n = 0;
	int fd;

	for (fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}
