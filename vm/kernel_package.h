#ifndef VM_KERNEL_PACKAGE_H
#define VM_KERNEL_PACKAGE_H
/*
 * A kernel out of Debian packages: of the hundreds of megabytes only what a VM needs.
 *
 *     vmlinuz                 modules/modules.order .dep .builtin
 *     modules/kernel/.../virtio_net.ko   and the others that vm/modules.h loads
 */
#include "base/err.h"
#include "vm/kernel.h"

struct kernel_package {
	const char *arch;        /* of the guest */
	const char *const *debs; /* files; kernel and modules may be in different ones */
	size_t count;
	const char *dir; /* empty, private; the files are put into it */
};
/* version: of what was unpacked. ERR_CONFIG: it is not what it should be, and what is missing;
 * ERR_IO: disk full, and the like. */
MUST_CHECK int kernel_package_unpack(const struct kernel_package *, char version[static 128],
				     struct err *);
#endif
