#ifndef VM_DRIVER_IMPL_H
#define VM_DRIVER_IMPL_H
/* What drivers share; for vm/ alone. */
#include "vm/driver.h"

/* A word more. What does not fit is told by vm_command_end(). */
void vm_command_add(struct vm_command *, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* ERR_LIMIT: it is too long. */
MUST_CHECK int vm_command_end(const struct vm_command *, struct err *);

/* "5a:94:ef:01:02:03" */
void vm_mac_text(const uint8_t mac[6], char to[static 18]);

/* driver_PLATFORM.c: does this system's QEMU know -sandbox (seccomp)? */
bool vm_host_has_qemu_sandbox(void);
/* The accelerator of this system that may work for a guest of the host's architecture; NONE. */
enum vm_accel vm_host_accel(void);
#endif
