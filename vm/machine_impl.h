#ifndef VM_MACHINE_IMPL_H
#define VM_MACHINE_IMPL_H
/*
 * The inside of the machine, for vm/machine*.c alone.
 *
 *   machine.c          the states: who wants it, its failures and pauses, its stop
 *   machine_boot.c     one attempt: rungs of the ladder, the program, its link, HELLO, address
 *   machine_wait.c     those that wait for it
 *   machine_words.c    what VMM and console say
 *   machine_verdict.c  accelerators that do not work
 *   machine_describe.c
 */
#include "base/list.h"
#include "net/loop.h"
#include "vm/machine.h"
#include "vm/run.h"

enum {
	MACHINE_AT_ONCE_MS = 100, /* for what ran for long */
	MACHINE_CONSOLE = 64 * 1024,
	MACHINE_LINE = 200,
	MACHINE_GUESTS = 8, /* connections that have not said HELLO yet */
	MACHINE_RUNGS = 3,
	MACHINE_QUICK = 5,          /* failures in a row, then it is started when needed only */
	MACHINE_LONG_MS = 30000,    /* what ran for so long starts again at once */
	MACHINE_SHUTDOWN_MS = 2000, /* to power off; and then to die */
	MACHINE_LAST_WORDS_MS = 300 /* its link has ended: it may be about to say why */
};

/* A connection to the guest, or to somebody who says so. */
struct guest {
	struct list node;
	struct machine *m;
	struct vm_conn *conn;
};

struct words {
	char *ring; /* MACHINE_CONSOLE */
	size_t at, len;
	struct {
		char line[MACHINE_LINE], last[MACHINE_LINE];
		size_t used;
	} voice[VM_VOICES];
};

struct machine {
	struct machine_opts opts;
	struct loop *loop;
	enum machine_state state;
	struct err why; /* of failed; of the last failure while starting */
	struct loop_post begin, changed, deliver, gone;
	struct loop_timer limit;    /* of starting and stopping */
	struct loop_timer pause;    /* of failed, when the next try is planned */
	struct loop_timer farewell; /* of failed: its program should have ended by then */
	uint64_t pause_until_ms;
	bool halted;      /* by command: only a command starts it again */
	bool start_again; /* when it has stopped */
	bool by_command;  /* the attempt: verdicts do not count */
	bool ever_ran;
	void (*closed)(void *arg); /* machine_close() was called */
	void *closed_arg;

	enum vm_accel ladder[MACHINE_RUNGS];
	size_t rungs, rung;
	bool failed_now[MACHINE_RUNGS]; /* in this attempt */
	bool broken[MACHINE_RUNGS];     /* verdicts */
	char key[VM_PATH + 256];        /* what verdicts hold for; "": unknown */

	struct vm_run *run;
	struct list guests;
	struct guest *guest; /* that has said HELLO */
	bool greeted;        /* there was one in this run */
	struct err lost;     /* why its link ended, while its last words are waited for */
	bool link_lost;
	uint8_t nonce[FRAME_NONCE];
	uint64_t started_ms, running_ms, hello_took_ms, boot_took_ms;
	uint64_t attempts, runs;
	unsigned quick; /* failures in a row */

	struct list waits, told;
	struct words words;
};

/* machine.c: the only one that writes state. why: of failed. */
void machine_set(struct machine *, enum machine_state, const struct err *why);
/* The attempt, or what was running, has failed. */
void machine_fail(struct machine *, const struct err *why);
/* From starting. */
void machine_runs(struct machine *);
/* The run has ended while stopping. */
void machine_stopped(struct machine *);

/* machine_boot.c */
void machine_boot(struct machine *);
/* Kills and forgets the run, and ends the link: *why is what streams are told. */
void machine_drop(struct machine *, const struct err *why);
/* Asks the guest to power off. */
void machine_power_off(struct machine *);

/* machine_wait.c: everybody who waits is told, on a later turn. */
void machine_tell_waits(struct machine *, const struct err *why);

/* machine_words.c */
MUST_CHECK int words_init(struct words *, struct err *);
void words_free(struct words *);
void words_add(struct words *, enum vm_voice, const char *bytes, size_t n);
/* Puts the last line of this run behind the message, if there is one. */
void words_explain(const struct words *, struct err *);
void words_new_run(struct words *);

/* machine_verdict.c */
void verdicts_load(struct machine *);
/* Rungs that have failed before this one said HELLO do not work here. */
void verdicts_pass(struct machine *);
#endif
