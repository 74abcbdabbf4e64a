#ifndef VM_KERNEL_H
#define VM_KERNEL_H
/*
 * Finding a kernel for the VM, and getting one. In this order: the one that is named; those that
 * fetch-kernel has unpacked, newest first; /boot/vmlinuz-*-cloud-*, then the running one and the
 * newest of /boot, if they can be read and their modules are there.
 */
#include "base/err.h"
#include "vm/image.h"

struct vm_kernel {
	char file[VM_PATH], modules[VM_PATH], version[128];
};
/* ERR_CONFIG: none; the message says where was looked, what stood in the way of each (mode 0600 of
 * Ubuntu's /boot, missing modules), and `awsocks vm fetch-kernel`. */
MUST_CHECK int vm_kernel_find(const struct vm_image_opts *, struct vm_kernel *, struct err *);
/* "6.1.0-56-cloud-amd64" of an x86 bzImage or an arm64 Image. ERR_CONFIG: it is neither. */
MUST_CHECK int vm_kernel_version(const char *file, const char *arch, char out[static 128],
				 struct err *);
#endif
