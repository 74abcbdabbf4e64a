#ifndef BASE_MEM_H
#define BASE_MEM_H
/*
 * Allocation that may fail: one client's shortage must not end the others.
 * The only place that calls malloc(); tests replace it to fail each
 * allocation in turn (tests/support/mem_fail.h).
 */
#include <stddef.h>

void *mem_alloc(size_t n);                  /* zeroed; NULL when it fails */
void *mem_resize(void *p, size_t n);        /* as realloc(); p is still yours when it fails */
void mem_free(void *p);                     /* NULL is allowed */
char *mem_strdup(const char *s);            /* NULL in, NULL out */
char *mem_strndup(const char *s, size_t n); /* exactly n bytes and a NUL */
void mem_wipe(void *p, size_t n);           /* zeroes, not optimised away */
void mem_free_str(char *s);                 /* wipes the text, then frees */
#endif
