#ifndef BASE_BUF_H
#define BASE_BUF_H
/*
 * A byte queue with a ceiling: the owner says at birth how big it may get.
 * Memory grows on demand, is released when the queue is empty and was large,
 * and is wiped before it is freed.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
	uint8_t *mem;
	size_t start, len, size, ceiling;
};

void buf_init(struct buf *, size_t ceiling);
void buf_free(struct buf *);
/* ERR_LIMIT when it would pass the ceiling (nothing is added then), ERR_NOMEM. */
MUST_CHECK int buf_add(struct buf *, const void *p, size_t n, struct err *);
MUST_CHECK int buf_addf(struct buf *, struct err *, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Room for n more bytes behind the contents, to be filled by the caller and
 * then counted by buf_commit(); NULL as buf_add() fails. */
uint8_t *buf_reserve(struct buf *, size_t n, struct err *);
void buf_commit(struct buf *, size_t n);
void buf_drop(struct buf *, size_t n); /* n <= buf_len() */
void buf_clear(struct buf *);          /* drops all; memory stays */

static inline size_t buf_len(const struct buf *b)
{
	return b->len;
}
static inline size_t buf_room(const struct buf *b)
{
	return b->ceiling - b->len;
}
static inline const uint8_t *buf_ptr(const struct buf *b)
{
	return b->mem ? b->mem + b->start : (const uint8_t *)"";
}
#endif
