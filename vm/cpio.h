#ifndef VM_CPIO_H
#define VM_CPIO_H
/*
 * Writes a cpio archive as the kernel unpacks it into its initramfs: "newc", headers of 110 ASCII
 * bytes, names and contents padded to 4 (Documentation/driver-api/early-userspace/buffer-format.rst
 * of Linux). Owner root, time 0: the same input gives the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cpio {
	int fd; /* the caller's, at its end */
	off_t at;
	uint32_t entries;
};
void cpio_begin(struct cpio *, int fd);
/* Names are relative ("m/order"); what is above them must have been added before. ERR_IO, or
 * ERR_LIMIT: more than a header's 8 hexadecimal digits can say. */
MUST_CHECK int cpio_dir(struct cpio *, const char *name, unsigned mode, struct err *);
/* *at: where its contents begin; may be NULL. */
MUST_CHECK int cpio_file(struct cpio *, const char *name, unsigned mode, const void *p, size_t n,
			 off_t *at, struct err *);
/* Behind the last one. c->at is then the archive's length. */
MUST_CHECK int cpio_end(struct cpio *, struct err *);
#endif
