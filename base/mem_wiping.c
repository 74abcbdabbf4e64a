/* Each block begins with its size: no system tells it in the same way. */
#include "base/mem_wiping.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct head {
	alignas(max_align_t) size_t n;
};

void *mem_wiping_alloc(size_t n)
{
	struct head *h = n < SIZE_MAX - sizeof(*h) ? malloc(sizeof(*h) + n) : NULL;

	if (!h)
		return NULL;
	h->n = n;
	return h + 1;
}

void *mem_wiping_zeroed(size_t count, size_t size)
{
	void *p = !size || count <= SIZE_MAX / size ? mem_wiping_alloc(count * size) : NULL;

	return p ? memset(p, 0, count * size) : NULL;
}

void mem_wiping_free(void *p)
{
	struct head *h = p;

	if (!h)
		return;
	h--;
	mem_wipe(p, h->n);
	free(h);
}

/* Never in place by realloc(), which would leave the old block as it was. */
void *mem_wiping_resize(void *p, size_t n)
{
	size_t have = p ? ((struct head *)p - 1)->n : 0;
	void *other;

	if (p && n <= have && have - n <= have / 2)
		return p;
	other = mem_wiping_alloc(n);
	if (other && p) {
		memcpy(other, p, have < n ? have : n);
		mem_wiping_free(p);
	}
	return other;
}

char *mem_wiping_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = mem_wiping_alloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}
