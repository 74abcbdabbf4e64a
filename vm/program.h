#ifndef VM_PROGRAM_H
#define VM_PROGRAM_H
/*
 * Another program, run and waited for: what unpacks kernels and modules, and apt. No shell. It
 * blocks, so: before the loop runs, or where there is none.
 */
#include <stddef.h>

#include "base/err.h"

/* A piece of what it says; -1 ends it with that error. */
typedef int program_out_fn(void *arg, const void *p, size_t n, struct err *);

struct program {
	const char *const *argv; /* NULL at the end; argv[0] is looked for in PATH */
	const char *cwd;         /* NULL: ours */
	const char *input;       /* file that is its standard input; NULL: /dev/null */
	program_out_fn *out;     /* NULL: what it says is dropped */
	void *arg;
	unsigned limit_ms; /* then it is killed; 0: 60 s */
};
/* 0: it ended with status 0, and out() took it all. ERR_UNSUPPORTED: there is no such program;
 * ERR_TIMEOUT; ERR_IO with the last thing that it wrote to standard error; or out()'s error. */
MUST_CHECK int program_run(const struct program *, struct err *);
#endif
