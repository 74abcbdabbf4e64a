#ifndef NET_PROCESS_H
#define NET_PROCESS_H
/*
 * A child program whose output is wanted: credential_process and the like. No
 * shell. It runs in a process group of its own, so that all of it can be
 * killed; only with inherit_stdin it stays in ours, because it may talk to the
 * user's terminal.
 *
 * Where the loop has a spawner (net/spawner.h) that runs it, if its rules allow
 * that kind of child; it then has the environment of the program's start.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/spawner.h"

struct loop;
struct process;

struct process_opts {
	const char *const *argv; /* NULL at the end; argv[0] is looked for in PATH */
	const char *const *env;  /* "NAME=value", NULL at the end; NULL: ours */
	const char *cwd;         /* NULL: ours */
	enum spawn_kind kind;    /* for a spawner, which knows no other environment than its own */
	bool inherit_stdin;      /* otherwise it reads nothing (/dev/null) */
	bool has_in;             /* or this descriptor, which stays the caller's */
	int in_fd;
	size_t out_max, err_max; /* bytes; 0: 1 MiB, 64 KiB. More is an error */
	unsigned limit_ms;       /* 0: 60 s. Then it is killed */
	/* It may run for ever, and say more than that: then its last words are kept, at least half
	 * as many bytes. */
	bool service;
	/* Is told what it says, as it comes, instead of the result: which is 1 or 2. May be called
	 * until done(), and cancel from there. Both outputs are sockets then: who opens a
	 * descriptor of its own by number needs no path and no permission for it. */
	void (*said)(void *arg, int which, const char *bytes, size_t n);
};

/* Texts are NUL-terminated, and wiped when the callback returns. */
struct process_result {
	int status; /* of exit; 0 when killed */
	int signal; /* that ended it, or was sent so that it will; or 0 */
	const char *out, *err_text;
	size_t out_len, err_len;
	/* NULL: it ended by itself, with whatever status. ERR_TIMEOUT, ERR_LIMIT (too much
	 * output), ERR_NOMEM: it was killed. With a spawner also: it was refused (ERR_DENIED), or
	 * there is no such program. */
	const struct err *why;
};
/* Once, from the loop. */
typedef void process_fn(void *arg, const struct process_result *);

/* All of opts is copied or used up. NULL: *e tells (no such program, ...). */
struct process *process_start(struct loop *, const struct process_opts *, process_fn *, void *arg,
			      struct err *e);
pid_t process_pid(const struct process *); /* 0: not known yet */
/* As if its limit was over: SIGKILL; the callback follows. */
void process_kill(struct process *);
void process_cancel(struct process *); /* kills it; then the callback never comes */
#endif
