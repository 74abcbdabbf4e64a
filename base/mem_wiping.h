#ifndef BASE_MEM_WIPING_H
#define BASE_MEM_WIPING_H
/*
 * For libraries that let their allocator be replaced: what they free is wiped
 * first, since requests, keys and tokens pass through their buffers.
 */
#include <stddef.h>

void *mem_wiping_alloc(size_t n); /* as malloc() */
void *mem_wiping_zeroed(size_t count, size_t size);
void *mem_wiping_resize(void *p, size_t n);
void mem_wiping_free(void *p);
char *mem_wiping_strdup(const char *s);
#endif
