#ifndef VM_UNPACK_H
#define VM_UNPACK_H
/*
 * Files that may be packed: kernels of arm64 (gzip), modules (xz, gzip, zstd). By their first
 * bytes, not their names. The programs xz, gzip and zstd do it.
 */
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* The program for what begins so ("gzip", "xz", "zstd"), or NULL. */
const char *unpack_program(const void *p, size_t n);
/* All of it, unpacked, behind what is in the buffer, which has a ceiling. ERR_CONFIG names the
 * program that is missing, ERR_LIMIT: more than the ceiling. */
MUST_CHECK int unpack_file(const char *path, struct buf *, struct err *);
/* The first n bytes as they are; *got may be fewer. */
MUST_CHECK int unpack_head(const char *path, void *into, size_t n, size_t *got, struct err *);
#endif
