#ifndef CMD_AWSOCKS_FENCE_H
#define CMD_AWSOCKS_FENCE_H
/*
 * What the running process gives up, so that whoever takes it over by its
 * network side has gained little: no new program, no file but the listed ones,
 * no system call that a proxy does not need, no core dump.
 *
 *   fence_linux.c           the order, no_new_privs, core dumps
 *   fence_landlock_linux.c  files
 *   fence_seccomp_linux.c   system calls
 *   fence_paths.c           which files
 *
 * It is closed once, by the main thread before there is another: threads
 * inherit it, and nothing opens it again.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cmd/awsocks/setup.h"

struct cJSON;

/* What may be done to a path and, if it is a directory, to all below it. */
enum fence_right {
	FENCE_READ = 1,   /* read files, list directories */
	FENCE_WRITE = 2,  /* write to files that exist */
	FENCE_MAKE = 4,   /* make, write, rename and remove files */
	FENCE_SOCKET = 8, /* make and remove Unix sockets */
};
struct fence_path {
	char path[PATH_TEXT];
	unsigned rights;
};
struct fence_paths {
	struct fence_path *item;
	size_t count;
};

/* Rights add up. A path that does not exist is passed over when the fence is closed. */
MUST_CHECK int fence_paths_add(struct fence_paths *, const char *path, unsigned rights,
			       struct err *);
/* A file, as it is named and as its links end, by its directory unless that is a wide one. */
MUST_CHECK int fence_paths_add_file(struct fence_paths *, const char *file, unsigned rights,
				    struct err *);
/* All that a running awsocks with these settings opens: see docs/ARCHITECTURE.md, "The fence".
 * control: its socket ("": none). */
MUST_CHECK int fence_paths_collect(struct fence_paths *, const struct setup *, const char *control,
				   struct err *);
struct aws_files;
/* Of them, where sign-ins that are renewed are written back. Makes the directories. */
MUST_CHECK int fence_paths_add_sign_in(struct fence_paths *, const struct setup *,
				       const struct aws_files *, struct err *);
void fence_paths_free(struct fence_paths *);

struct fence_report {
	bool wanted; /* --no-sandbox was not given */
	bool seccomp, no_new_privs, core_dumps;
	int landlock;      /* the kernel's ABI version; 0: does not hold */
	char missing[200]; /* what does not hold, and why; "": all does */
};
struct fence_opts {
	const struct fence_paths *paths;
	bool strict; /* what does not hold is an error */
};
/* ERR_UNSUPPORTED when strict. */
MUST_CHECK int fence_close(const struct fence_opts *, struct fence_report *, struct err *);
/* "sandbox": {"seccomp":true,"landlock":7,"no_new_privs":true,"core_dumps":false} */
void fence_describe(const struct fence_report *, struct cJSON *into);

/* fence_close()'s parts (Linux). landlock_close(): *abi is what holds. */
MUST_CHECK int landlock_close(const struct fence_paths *, int *abi, struct err *);
MUST_CHECK int seccomp_close(struct err *);
#endif
