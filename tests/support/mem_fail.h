#ifndef TESTS_SUPPORT_MEM_FAIL_H
#define TESTS_SUPPORT_MEM_FAIL_H
/*
 * Makes each allocation of a piece of code fail in turn, and counts what is
 * still held afterwards.
 *
 *     while (mem_fail_next()) {              the 1st, 2nd, 3rd ... fails
 *             struct thing *t = thing_new(&e);
 *
 *             if (!t)
 *                     assert_int_equal(e.code, ERR_NOMEM);
 *             thing_free(t);
 *             assert_int_equal(mem_held, 0);
 *     }
 *
 * The last turn is the first in which nothing failed, so the success is tested
 * too. A test that begins the loop with something held compares with that.
 *
 * How: this file defines mem_alloc, mem_resize and mem_free, and its object
 * stands before libawsocks.a on the link line of every unit test NAME_nomem_test,
 * so that base/mem.o is never taken out of the archive. Libraries (cJSON,
 * OpenSSL) allocate as ever.
 */
#include <stdbool.h>
#include <stddef.h>

/* Begins a turn; false when the turn before came through without a failure
 * (the next call begins anew with the first allocation). */
bool mem_fail_next(void);
/* Ends the loop early, so that allocations after it succeed again. */
void mem_fail_stop(void);

extern size_t mem_held;    /* blocks allocated and not freed */
extern size_t mem_unwiped; /* blocks freed with something else than zeroes in them */
/* A text that no block may hold when it is freed; NULL: none. Those that did are counted. */
extern const char *mem_secret;
extern size_t mem_secrets_freed;
#endif
