#ifndef VM_TAR_H
#define VM_TAR_H
/*
 * Reads a tar archive as it comes (POSIX.1-1988 "ustar" with its prefix, and GNU's long names, as
 * Debian's packages have them). Names are handed out as they stand and never become a path here:
 * what is taken, and where it goes, is the callee's choice. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TAR_NAME = 1024, TAR_BLOCK = 512 };

struct tar_handler {
	/* A regular file; name without "./" and '/' in front. true: its bytes are wanted. */
	bool (*file)(void *arg, const char *name, uint64_t size);
	/* Of a wanted one, all that is in it; then once with n == 0. -1 ends the reading. */
	int (*data)(void *arg, const void *p, size_t n, struct err *);
};
struct tar {
	const struct tar_handler *handler;
	void *arg;
	uint8_t block[TAR_BLOCK];
	size_t have;             /* of the header's block */
	uint64_t left, pad;      /* of the entry's contents, and behind them */
	char name[TAR_NAME + 1]; /* a long name, of the next entry; "": none */
	size_t name_len;
	enum { TAR_SKIP = 0, TAR_FILE, TAR_LONG_NAME } what;
	bool ended;
};
void tar_begin(struct tar *, const struct tar_handler *, void *arg);
/* ERR_PROTO: this is no tar archive, or a broken one; or data()'s error. */
MUST_CHECK int tar_input(struct tar *, const void *p, size_t n, struct err *);
/* Has the end been seen? ERR_PROTO: it was cut off. */
MUST_CHECK int tar_end(const struct tar *, struct err *);
#endif
