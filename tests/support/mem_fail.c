/*
 * base/mem.c for tests. Every block has its size in front of it, so that a free
 * can tell whether the block was wiped; a resize always moves, so that a stale
 * pointer is found by the sanitizers.
 */
#include "tests/support/mem_fail.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

size_t mem_held, mem_unwiped, mem_secrets_freed;
const char *mem_secret;

static struct {
	bool on, failed;
	size_t turn, count; /* the turn'th allocation fails; allocations so far */
} plan;

union head {
	size_t size;
	max_align_t align;
};

bool mem_fail_next(void)
{
	if (plan.on && !plan.failed) {
		mem_fail_stop();
		return false;
	}
	plan.turn++;
	plan.count = 0;
	plan.failed = false;
	plan.on = true;
	return true;
}

void mem_fail_stop(void)
{
	plan.on = plan.failed = false;
	plan.turn = plan.count = 0;
}

void *mem_alloc(size_t n)
{
	union head *h;

	if (plan.on && ++plan.count == plan.turn) {
		plan.failed = true;
		return NULL;
	}
	h = n < SIZE_MAX - sizeof(*h) ? calloc(1, sizeof(*h) + n) : NULL;
	if (!h)
		return NULL;
	h->size = n;
	mem_held++;
	return h + 1;
}

void mem_free(void *p)
{
	union head *h = p;
	const uint8_t *bytes = p;

	if (!p)
		return;
	h--;
	for (size_t i = 0; i < h->size; i++)
		if (bytes[i]) {
			mem_unwiped++;
			break;
		}
	if (mem_secret && memmem(bytes, h->size, mem_secret, strlen(mem_secret)))
		mem_secrets_freed++;
	mem_held--;
	free(h);
}

void *mem_resize(void *p, size_t n)
{
	union head *old = p;
	void *fresh = mem_alloc(n);

	if (!p || !fresh)
		return fresh;
	old--;
	memcpy(fresh, p, old->size < n ? old->size : n);
	mem_free(p);
	return fresh;
}
