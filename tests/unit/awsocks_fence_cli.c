/*
 * awsocks_fence_cli PROGRAM [ARG...]: runs a program as a fenced-in awsocks does
 * (spawner, then the fence, then process_start()), with the rule that exactly
 * this program is allowed. Prints what it said; its exit status is the program's,
 * 99 when it could not be run or was killed. For tests with real ssh and the like.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/awsocks/fence.h"
#include "net/loop.h"
#include "net/process.h"

enum { FAILED = 99, LIMIT_MS = 50000 };

struct run {
	struct loop *loop;
	int status;
};

static int fail(const struct err *e)
{
	fprintf(stderr, "fence_cli: %s\n", e->msg);
	return FAILED;
}

static void ended(void *arg, const struct process_result *r)
{
	struct run *run = arg;

	fwrite(r->out, 1, r->out_len, stdout);
	fwrite(r->err_text, 1, r->err_len, stderr);
	run->status = r->why ? fail(r->why) : r->signal ? FAILED : r->status;
	loop_stop(run->loop);
}

static int run(struct spawner *s, char **argv)
{
	struct process_opts o = { .argv = (const char *const *)argv,
				  .kind = SPAWN_SSH,
				  .out_max = 4 << 20,
				  .limit_ms = LIMIT_MS };
	struct run r = { .status = FAILED };
	struct err e;

	if (loop_new(&r.loop, &e) != 0 || spawner_attach(s, r.loop, &e) != 0 ||
	    !process_start(r.loop, &o, ended, &r, &e))
		return fail(&e);
	loop_run(r.loop);
	spawner_free(s);
	loop_free(r.loop);
	return r.status;
}

int main(int argc, char **argv)
{
	struct spawn_rule rule = { .kind = SPAWN_SSH };
	struct spawner_opts opts = { .rule = &rule, .rules = 1 };
	struct fence_report report = { .wanted = true };
	struct fence_paths paths = { NULL, 0 };
	struct fence_opts fence = { .paths = &paths };
	struct spawner *s;
	struct err e;

	if (argc < 2)
		return FAILED;
	rule.program = argv[1];
	if (spawner_new(&s, &opts, &e) != 0 ||
	    fence_paths_add(&paths, "/dev", FENCE_READ, &e) != 0 ||
	    fence_close(&fence, &report, &e) != 0)
		return fail(&e);
	if (access("/dev/null", R_OK) != 0)
		return FAILED;
	return run(s, argv + 1);
}
