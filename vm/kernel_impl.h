#ifndef VM_KERNEL_IMPL_H
#define VM_KERNEL_IMPL_H
/* Parts of vm/kernel.h that tests and fetch-kernel use too. */
#include <stdbool.h>

#include "vm/kernel.h"

/* Where a system has its kernels. */
struct kernel_places {
	const char *boot, *modules; /* "/boot", "/lib/modules" */
	const char *running;        /* uname -r; NULL: not for this guest */
};
MUST_CHECK int kernel_find_in(const struct kernel_places *, const struct vm_image_opts *,
			      struct vm_kernel *, struct err *);
/* Which is newer: runs of digits as numbers ("6.1.0-9" < "6.1.0-10"). */
int kernel_compare(const char *a, const char *b);
/* How this system calls the processor of a guest that it runs natively: "aarch64", also for
 * "arm64". */
const char *kernel_arch(const char *machine);
/* The modules of a kernel: as asked for, beside it, or in places->modules. false: nowhere. */
bool kernel_modules_of(const struct kernel_places *, const struct vm_image_opts *,
		       struct vm_kernel *);
#endif
