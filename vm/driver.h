#ifndef VM_DRIVER_H
#define VM_DRIVER_H
/*
 * VMMs that a VM can run in. A driver is data and pure functions: it makes a command line of a
 * spec. The link of QEMU and of a plain process is the program's standard input, one end of a
 * socket pair: no path, no port, no race, and its end is news to both sides. vfkit dials a Unix
 * socket that we listen at.
 *
 *   qemu      KVM, HVF or TCG; virtio-serial; user-mode NAT (slirp)
 *   vfkit     Virtualization.framework; vsock; vmnet's NAT
 *   process   no VM: the agent as a child; for tests
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/image.h"

enum vm_accel { VM_ACCEL_NONE = 0, VM_ACCEL_KVM, VM_ACCEL_HVF, VM_ACCEL_TCG };

struct vm_spec {
	const char *program; /* absolute path of the VMM; of process: of the agent */
	const char *arch;    /* the guest's */
	enum vm_accel accel; /* of qemu */
	const struct vm_image *image;
	const char *dir; /* private: sockets, the agent's settings file of process */
	unsigned memory_mib, cpus;
	uint8_t mac[6];
	bool console; /* the guest's console goes to said() */
};

enum { VM_ARGS_MAX = 64, VM_ARG_TEXT = 8192 };
struct vm_command {
	const char *argv[VM_ARGS_MAX + 1]; /* NULL at the end; into text[] */
	char text[VM_ARG_TEXT];
	char listen[VM_PATH]; /* Unix socket to listen at before it starts; "": standard input */
	size_t count, used;
};
struct vm_driver {
	const char *name;
	enum vm_transport transport;
	MUST_CHECK int (*command)(const struct vm_spec *, struct vm_command *, struct err *);
};
extern const struct vm_driver vm_driver_qemu, vm_driver_vfkit, vm_driver_process;
/* In the spawner, before it runs one: are these the words of a VM of ours? Every argument is
 * looked at: QEMU's options can run programs and open files and ports. */
struct vm_bounds {
	const char *program, *dir; /* and the image's files */
	const char *kernel, *initrd;
};
MUST_CHECK int vm_command_check(const char *const *argv, const struct vm_bounds *, struct err *);

/* What this host can do: VM_ACCEL_* in the order to be tried, tcg last. *n of at most 3. A
 * /dev/kvm that opens is a candidate and no more: only a guest's HELLO proves it. */
void vm_accel_ladder(const char *guest_arch, enum vm_accel out[static 3], size_t *n);
const char *vm_accel_name(enum vm_accel); /* "kvm"; static */
#endif
