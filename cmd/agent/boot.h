#ifndef CMD_AGENT_BOOT_H
#define CMD_AGENT_BOOT_H
/* What PID 1 does before anything else, and last. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct say;

/* /dev, /proc, /sys; descriptors 0 to 2; a kernel log for `say`. Orphans are reaped by the kernel
 * from now on. */
void boot_system(struct say *);
/* Those of /m, in the order of /m/order. What does not load is logged: another one may do. */
void boot_modules(const struct say *);
/* Turns IPv6 off unless it is wanted; more descriptors; lo. */
void boot_tune(const struct say *, bool ipv6);
/* A whole file; NUL-terminated. *n of it. */
MUST_CHECK int boot_read(const char *path, char *to, size_t cap, size_t *n, struct err *);
_Noreturn void boot_power_off(void);
#endif
