#include "net/self.h"

#include <uv.h>

bool self_path(char *out, size_t size)
{
	return uv_exepath(out, &size) == 0;
}
