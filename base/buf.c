#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_SIZE = 256, KEEP_SIZE = 64 * 1024 };

void buf_init(struct buf *b, size_t ceiling)
{
	*b = (struct buf){ .ceiling = ceiling };
}

void buf_free(struct buf *b)
{
	if (b->mem)
		mem_wipe(b->mem, b->size);
	mem_free(b->mem);
	buf_init(b, b->ceiling);
}

static int grow(struct buf *b, size_t need, struct err *e)
{
	size_t size = b->size ? b->size : FIRST_SIZE;
	uint8_t *mem;

	while (size < need)
		size *= 2;
	mem = mem_alloc(size);
	if (!mem)
		return err_set(e, ERR_NOMEM, "buffer of %zu bytes", size);
	if (b->len)
		memcpy(mem, b->mem + b->start, b->len);
	if (b->mem)
		mem_wipe(b->mem, b->size);
	mem_free(b->mem);
	b->mem = mem;
	b->size = size;
	b->start = 0;
	return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n, struct err *e)
{
	if (n > b->ceiling - b->len) {
		(void)err_set(e, ERR_LIMIT, "buffer over its %zu bytes", b->ceiling);
		return NULL;
	}
	if (b->start + b->len + n > b->size) {
		if (b->len + n > b->size) {
			if (grow(b, b->len + n, e) != 0)
				return NULL;
		} else if (b->len) {
			memmove(b->mem, b->mem + b->start, b->len);
		}
		b->start = 0;
	}
	return b->mem ? b->mem + b->start + b->len : (uint8_t *)b;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(b->start + b->len + n <= b->size);
	b->len += n;
}

int buf_add(struct buf *b, const void *p, size_t n, struct err *e)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	to = buf_reserve(b, n, e);
	if (!to)
		return -1;
	memcpy(to, p, n);
	b->len += n;
	return 0;
}

int buf_addf(struct buf *b, struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;
	uint8_t *to;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return err_set(e, ERR_INTERNAL, "cannot format text");
	to = buf_reserve(b, (size_t)n + 1, e);
	if (!to)
		return -1;
	va_start(ap, fmt);
	vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	b->start += n;
	if (b->len)
		return;
	b->start = 0;
	if (b->size > KEEP_SIZE)
		buf_free(b);
}

void buf_clear(struct buf *b)
{
	b->start = 0;
	b->len = 0;
}
