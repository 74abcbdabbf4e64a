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
 *
 * The guest's console is the program's standard output, or a file that is read as it grows (vfkit:
 * vm/console_file.h); what the VMM says is its standard error.
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

struct spawn_request;

enum { VM_ARGS_MAX = 64, VM_ARG_TEXT = 8192 };
struct vm_command {
	const char *argv[VM_ARGS_MAX + 1]; /* NULL at the end; into text[] */
	char text[VM_ARG_TEXT];
	char listen[VM_PATH];  /* Unix socket to listen at before it starts; "": standard input */
	char console[VM_PATH]; /* file that it writes the guest's console to; "": standard output */
	size_t count, used;
	bool full; /* something did not fit */
};
struct vm_driver {
	const char *name;
	enum vm_transport transport;
	bool alone; /* its NAT is this VM's own: no siblings there */
	MUST_CHECK int (*command)(const struct vm_spec *, struct vm_command *, struct err *);
};
extern const struct vm_driver vm_driver_qemu, vm_driver_vfkit, vm_driver_process;
/* For `process` there is nothing to boot: the agent's settings (nonce= first) go to dir/conf, and
 * this makes the vm_image of it, so that vm_image_nonce() serves here too. */
MUST_CHECK int vm_process_image(const char *dir, const char *settings, struct vm_image *,
				struct err *);

/* What the spawner is forked with. */
struct vm_bounds {
	const struct vm_driver *driver;
	const struct vm_spec *spec; /* all but accel */
};
/* In the spawner, before it runs one: are these the words of our VM, word for word, with any of
 * the accelerators? QEMU's options can run programs and open files and ports. ERR_DENIED names the
 * word. */
MUST_CHECK int vm_command_check(const char *const *argv, const struct vm_bounds *, struct err *);
/* A spawn_decide_fn; arg is a const struct vm_bounds *. */
int vm_spawn_decide(void *arg, const struct spawn_request *, struct err *);

/* What this host can do: VM_ACCEL_* in the order to be tried, tcg last. *n of at most 3. A
 * /dev/kvm that opens is a candidate and no more: only a guest's HELLO proves it. Opens devices:
 * to be asked before the fence is closed. */
void vm_accel_ladder(const char *guest_arch, enum vm_accel out[static 3], size_t *n);
const char *vm_accel_name(enum vm_accel); /* "kvm"; "none"; static */
const char *vm_host_arch(void);           /* "x86_64", "aarch64": as vm_spec has it; static */
#endif
