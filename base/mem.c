#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t n)
{
	return calloc(1, n ? n : 1);
}

void *mem_resize(void *p, size_t n)
{
	return realloc(p, n ? n : 1);
}

void mem_free(void *p)
{
	free(p);
}
