#ifndef VM_MACHINE_H
#define VM_MACHINE_H
/*
 * The VM's life: started, watched, restarted with a growing pause, stopped. One for the process,
 * on worker 0's loop.
 *
 *   stopped    nothing runs; the next one who needs it starts it (unless stopped by command)
 *   starting   the VMM runs, no HELLO and address yet
 *   running    dials can be made
 *   stopping   asked to power off; then SIGKILL
 *   failed     pausing after a failure (0.5 s .. 30 s, with jitter); the reason is kept
 *
 * The ladder: each accelerator has hello_ms to show a guest's HELLO (kvm and hvf 10 s, tcg 60 s);
 * one that fails is left for the next, and when that one works the verdict is kept in a file (kvm
 * of this kernel and this QEMU does not work), so that the next start does not wait for it again. A
 * start by command tries all of them.
 *
 * Once it was wanted it stays wanted: after a loss it starts again by itself, unless on_demand.
 * Five failures in a row: then it waits for the next one who needs it, and 30 s at least.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/err.h"
#include "vm/conn.h"
#include "vm/driver.h"

struct cJSON;
struct loop;
struct machine;

enum machine_state {
	MACHINE_STOPPED = 0,
	MACHINE_STARTING,
	MACHINE_RUNNING,
	MACHINE_STOPPING,
	MACHINE_FAILED,
	MACHINE_STATE_COUNT
};

struct machine_opts {
	struct loop *loop;
	const struct vm_driver *driver;
	struct vm_spec spec; /* accel is the ladder's; what it points to outlives the machine */
	enum vm_accel accel; /* this one only; NONE: the ladder */
	/* What vm_accel_ladder() said before the fence was closed; rungs 0: it is asked now. */
	enum vm_accel ladder[3];
	size_t rungs;
	bool on_demand;       /* after a failure only who needs it starts it again */
	const char *verdicts; /* file that remembers broken accelerators; NULL: nothing is */
	unsigned boot_ms;     /* HELLO and address; 0: by accelerator */
	unsigned pause_ms;    /* first pause after a failure, the last is 60 times it; 0: 500 */
	const char *capture;  /* vm_conn_opts */
	/* Every change of state, from the loop. May be NULL. */
	void (*changed)(void *arg);
	void *arg;
};
/* Reads `verdicts`. */
struct machine *machine_new(const struct machine_opts *, struct err *);
enum machine_state machine_state(const struct machine *);
const char *machine_state_name(enum machine_state);
const struct err *machine_why(const struct machine *); /* of failed; NULL otherwise */
uint64_t machine_next_try_ms(const struct machine *);  /* monotonic; 0: none planned */
/* Never was running, and is on its way to it for the first time. */
bool machine_first_start(const struct machine *);

/* Starts it if stopped, or when its pause is over. by_command: also when it was stopped by command,
 * and without waiting for a pause's end. */
void machine_start(struct machine *, bool by_command);
/* Powers it off; stays off until started by command. */
void machine_stop(struct machine *);
/* NULL unless running. Good until the loop's next callback. */
struct vm_conn *machine_conn(struct machine *);
/* waited(arg, NULL) when it runs, or with why when it failed (or was stopped, or limit_ms went by,
 * or its pause and a boot are longer than that). Once, from the loop. Starts it if need be. NULL:
 * *e tells. */
struct machine_wait;
struct machine_wait *machine_wait(struct machine *, unsigned limit_ms,
				  void (*waited)(void *arg, const struct err *why), void *arg,
				  struct err *e);
void machine_wait_cancel(struct machine_wait *);

/* state, accel, pid, kernel, addresses, uptime, restarts, streams, metrics; why it failed: reason,
 * or last_failure while it starts anew. */
void machine_describe(const struct machine *, struct cJSON *into);
/* The last words of console and VMM: at most 64 KiB, kept across restarts. */
size_t machine_console(const struct machine *, char *to, size_t cap);
/* Ends it (SHUTDOWN, then SIGKILL; 2 s each at most), then closed() from the loop; the machine is
 * gone then. */
void machine_close(struct machine *, void (*closed)(void *arg), void *arg);
#endif
