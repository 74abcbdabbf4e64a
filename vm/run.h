#ifndef VM_RUN_H
#define VM_RUN_H
/*
 * One run of a VMM: the program, the link to what runs in it, its words, its end. Which program,
 * and with which arguments, is a driver's (vm/driver.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "vm/driver.h"

struct loop;
struct vm_run;

enum vm_voice { VM_VOICE_CONSOLE = 0, VM_VOICE_VMM, VM_VOICES };
struct vm_run_handler {
	/* A byte pipe to the guest; the callee's. QEMU and process: once, at once (from the loop),
	 * unless it has ended before.
	 * vfkit: each connection to its socket, which any process of this user can make. */
	void (*link)(void *arg, int fd);
	/* What it and the guest's console say; may hold anything. */
	void (*said)(void *arg, enum vm_voice, const char *bytes, size_t n);
	/* It has ended, for whatever reason; *why says which ("ended with status 1"). The last
	 * call; the vm_run's memory is gone. */
	void (*ended)(void *arg, const struct err *why);
};
/* NULL: *e tells and nothing follows. spec is copied as needed. */
struct vm_run *vm_run_start(struct loop *, const struct vm_driver *, const struct vm_spec *,
			    const struct vm_run_handler *, void *arg, struct err *e);
pid_t vm_run_pid(const struct vm_run *); /* 0: not known yet */
void vm_run_kill(struct vm_run *);       /* SIGKILL; ended() follows */
/* What its console's file has by now is said(), from inside. */
void vm_run_hear(struct vm_run *);
/* Kills it, and no call follows. */
void vm_run_forget(struct vm_run *);
#endif
