/* What mem.h offers on top of the three replaceable calls. */
#include <string.h>

#include "base/mem.h"

char *mem_strndup(const char *s, size_t n)
{
	char *copy = mem_alloc(n + 1);

	if (copy)
		memcpy(copy, s, n);
	return copy;
}

char *mem_strdup(const char *s)
{
	return s ? mem_strndup(s, strlen(s)) : NULL;
}

void mem_wipe(void *p, size_t n)
{
	memset(p, 0, n);
	__asm__ volatile(""
			 :
			 : "r"(p)
			 : "memory"); /* someone may look: the zeroes must be written */
}

void mem_free_str(char *s)
{
	if (s)
		mem_wipe(s, strlen(s));
	mem_free(s);
}
