#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* glibc's calloc() before 2.41 passes by the blocks that its thread has just freed, and gets each
 * from the heap. Large ones may come from the system and be zero already: calloc() knows. */
enum { SMALL = 4096 };

void *mem_alloc(size_t n)
{
	void *p;

	if (n > SMALL)
		return calloc(1, n);
	p = malloc(n ? n : 1);
	return p ? memset(p, 0, n) : NULL;
}

void *mem_resize(void *p, size_t n)
{
	return realloc(p, n ? n : 1);
}

void mem_free(void *p)
{
	free(p);
}
