#ifndef VM_IMAGE_H
#define VM_IMAGE_H
/*
 * What a VM boots: a kernel, and an initramfs that is written here from our agent, the kernel's own
 * modules and a page of settings. To be called before the loop runs: it reads and writes files,
 * and may run xz or zstd for a compressed module.
 *
 * In the initramfs (newc, not compressed; it needs no root to write):
 *
 *     /init         the agent
 *     /m/NAME.ko    modules          /m/order   their file names, a line each, in loading order
 *     /conf         settings, KEY=VALUE lines (vm/agent_conf.h); the first is nonce=, of 64 hex
 *                   digits, the second transport=
 *     /etc /dev /proc /sys           directories
 */
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "vm/frame.h"

enum { VM_PATH = 1024 };

enum vm_bus { VM_BUS_PCI = 0, VM_BUS_MMIO };
enum vm_transport { VM_VIRTIO_SERIAL = 0, VM_VSOCK };

struct vm_image_opts {
	const char *arch;   /* "x86_64", "aarch64": the guest's */
	const char *agent;  /* file */
	const char *kernel; /* file; NULL: vm/kernel.h finds one */
	const char
		*modules; /* lib/modules/VERSION of it; NULL: beside the kernel, or /lib/modules */
	const char *fetched; /* where fetch-kernel puts them */
	const char *dir;     /* private; kernel (where it had to be unpacked) and initrd go here */
	enum vm_transport transport;
	const char *settings; /* further lines of /conf; NULL: none */
};
struct vm_image {
	char kernel[VM_PATH], initrd[VM_PATH];
	char version[128]; /* of the kernel */
	off_t nonce_at;    /* in initrd: 64 hex digits */
	uint64_t initrd_size;
};
/* ERR_CONFIG, with the command that mends it: no kernel, no agent, no such module. */
MUST_CHECK int vm_image_make(const struct vm_image_opts *, struct vm_image *, struct err *);
/* Before each boot: a few bytes are written in place. */
MUST_CHECK int vm_image_nonce(const struct vm_image *, const uint8_t nonce[FRAME_NONCE],
			      struct err *);
#endif
