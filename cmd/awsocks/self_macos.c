#include <mach-o/dyld.h>
#include <stdint.h>

#include "cmd/awsocks/self.h"

bool self_path(char *out, size_t size)
{
	uint32_t n = (uint32_t)size;

	return _NSGetExecutablePath(out, &n) == 0;
}
