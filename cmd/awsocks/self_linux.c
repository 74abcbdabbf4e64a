#include <unistd.h>

#include "cmd/awsocks/self.h"

bool self_path(char *out, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", out, size - 1);

	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}
