#ifndef NET_SPAWNER_H
#define NET_SPAWNER_H
/*
 * The one place that may start programs while the main process is fenced in: a
 * small process forked before the fence is closed, without threads, that runs
 * programs on request and tells how they ended.
 *
 * A main process that somebody has taken over can ask for whatever it likes, so
 * the spawner decides by itself: a request names a kind of child, and a row of
 * the table that was given before the fork must allow it. Children get the
 * environment that the spawner was forked with and none from the request: with
 * LD_PRELOAD of the asker's choice any program would be allowed. A VMM's is without
 * AWS's settings and proxies (net/child_env.h).
 *
 * Linux only; elsewhere spawner_new() fails with ERR_UNSUPPORTED.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct loop;
struct spawn;
struct spawner;

/* A further kind of child is one more word here and a row in spawner_opts. */
enum spawn_kind { SPAWN_NONE = 0, SPAWN_CREDENTIAL_PROCESS, SPAWN_SSH, SPAWN_QEMU };

enum {
	SPAWN_MESSAGE_MAX = 64 * 1024, /* bytes of a request, all its texts together */
	SPAWN_ARGS_MAX = 512,
	SPAWN_CHILDREN_MAX = 64, /* at one time */
	SPAWN_STDIO = 3
};

struct spawn_request {
	enum spawn_kind kind;
	const char *const *argv; /* NULL at the end; argv[0] is looked for in PATH */
	const char *cwd;         /* NULL: where awsocks was started */
	/* A process group of its own, killed with all that is in it. Without it the child stays
	 * in ours while there is a terminal that it may ask at, and has its own otherwise. */
	bool own_group;
};

/* In the spawner, for each request: 0, or *e says why not. May block (it reads small files). */
typedef int spawn_decide_fn(void *arg, const struct spawn_request *, struct err *e);
struct spawn_rule {
	enum spawn_kind kind;
	const char *program;     /* argv[0] must be this absolute path; NULL: decide() looks */
	spawn_decide_fn *decide; /* NULL: any arguments. Not for ssh, whose options run programs */
	void *arg;
};
struct spawner_opts {
	const struct spawn_rule *rule; /* borrowed for good: the child has its copy */
	size_t rules;
	/* In the spawner when the main process has ended, however it ended. May be NULL. */
	void (*at_end)(void *arg);
	void *arg;
};

/* Forks: to be called while there is one thread only. */
MUST_CHECK int spawner_new(struct spawner **, const struct spawner_opts *, struct err *);
/* From here on process_start() on that loop uses it. Once; its thread alone may use it. */
MUST_CHECK int spawner_attach(struct spawner *, struct loop *, struct err *);
pid_t spawner_pid(const struct spawner *);
/* Its children are killed, spawn_fn's are not called. Before the loop is freed. NULL allowed. */
void spawner_free(struct spawner *);

enum spawn_what { SPAWN_STARTED = 0, SPAWN_ENDED, SPAWN_FAILED };
struct spawn_event {
	enum spawn_what what;
	pid_t pid;             /* SPAWN_STARTED */
	int status, signal;    /* SPAWN_ENDED: exit status, or the signal that ended it */
	const struct err *why; /* SPAWN_FAILED: not started (ERR_DENIED: refused), or not known */
};
/* From the loop. After SPAWN_ENDED or SPAWN_FAILED the struct spawn is gone. */
typedef void spawn_fn(void *arg, const struct spawn_event *);

/* The three: the child's standard input, output and error; still the caller's. NULL: *e tells. */
struct spawn *spawn_start(struct spawner *, const struct spawn_request *, const int[SPAWN_STDIO],
			  spawn_fn *, void *arg, struct err *e);
void spawn_kill(struct spawn *);   /* SIGKILL; SPAWN_ENDED follows */
void spawn_forget(struct spawn *); /* kills it, and no call follows */
#endif
