#ifndef BENCH_VM_BOOT_H
#define BENCH_VM_BOOT_H
/* What every init of the VM benchmark does first: mounts, modules, the port. */

/* Blocking read and write; -1 of any other end: it says why and powers off. */
int boot_port(void);
_Noreturn void boot_off(const char *why);
#endif
