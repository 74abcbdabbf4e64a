/* Child programs: output, status, limits, cancelling. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"
#include "net/process.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

struct fix {
	struct loop *l;
	size_t fds;
	struct loop_timer limit;
	int calls;
	int status, signal;
	char out[256], err[256];
	size_t out_len;
	enum err_code why;
};

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, stop, &f);
	*state = &f;
	return 0;
}
static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

static void ended(void *arg, const struct process_result *r)
{
	struct fix *f = arg;

	f->calls++;
	f->status = r->status;
	f->signal = r->signal;
	f->out_len = r->out_len;
	assert_int_equal(strlen(r->out), r->out_len);
	snprintf(f->out, sizeof(f->out), "%s", r->out);
	snprintf(f->err, sizeof(f->err), "%s", r->err_text);
	f->why = r->why ? r->why->code : ERR_NONE;
	loop_stop(f->l);
}

static struct process *sh(struct fix *f, const char *script, struct process_opts o)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct process *p;
	struct err e = { 0 };

	o.argv = argv;
	p = process_start(f->l, &o, ended, f, &e);
	assert_non_null(p);
	return p;
}

static void results(void **state)
{
	static const struct {
		const char *script, *out, *err;
		int status, signal;
	} cases[] = {
		{ "echo hello", "hello\n", "", 0, 0 },
		{ "printf a; printf b >&2; exit 7", "a", "b", 7, 0 },
		{ ":", "", "", 0, 0 },
		{ "cat; echo end", "end\n", "", 0, 0 }, /* nothing to read from */
		{ "kill -TERM $$", "", "", 0, SIGTERM },
		{ "cd / && pwd", "/\n", "", 0, 0 },
	};
	struct fix *f = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		sh(f, cases[i].script, (struct process_opts){ 0 });
		loop_run(f->l);
		assert_int_equal(f->calls, (int)i + 1);
		assert_string_equal(f->out, cases[i].out);
		assert_string_equal(f->err, cases[i].err);
		assert_int_equal(f->status, cases[i].status);
		assert_int_equal(f->signal, cases[i].signal);
		assert_int_equal(f->why, ERR_NONE);
	}
}

static void arguments_are_not_for_a_shell(void **state)
{
	struct fix *f = *state;
	const char *argv[] = { "printf", "%s|", "a b", "$HOME;`id`", "", NULL };
	struct process_opts o = { .argv = argv };
	struct err e;

	assert_non_null(process_start(f->l, &o, ended, f, &e));
	loop_run(f->l);
	assert_string_equal(f->out, "a b|$HOME;`id`||");
}

static void environment_and_directory(void **state)
{
	struct fix *f = *state;
	const char *env[] = { "X=1", "PATH=/usr/bin:/bin", NULL };

	sh(f, "echo $X$HOME; pwd", (struct process_opts){ .env = env, .cwd = "/" });
	loop_run(f->l);
	assert_string_equal(f->out, "1\n/\n");
}

static void missing_program_is_an_error(void **state)
{
	struct fix *f = *state;
	const char *argv[] = { "/nonexistent/program", NULL };
	struct process_opts o = { .argv = argv };
	struct err e = { 0 };

	assert_null(process_start(f->l, &o, ended, f, &e));
	assert_string_equal(e.msg, "run '/nonexistent/program': No such file or directory");
	assert_int_equal(f->calls, 0);
}

static void output_at_and_over_its_ceiling(void **state)
{
	struct fix *f = *state;

	sh(f, "printf 12345", (struct process_opts){ .out_max = 5 });
	loop_run(f->l);
	assert_string_equal(f->out, "12345");
	assert_int_equal(f->why, ERR_NONE);
	sh(f, "printf 123456", (struct process_opts){ .out_max = 5 });
	loop_run(f->l);
	assert_int_equal(f->why, ERR_LIMIT);
	assert_string_equal(f->out, "12345");
	sh(f, "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyy; done", (struct process_opts){ 0 });
	loop_run(f->l);
	assert_int_equal(f->why, ERR_LIMIT);
	assert_int_equal(f->signal, SIGKILL);
	assert_int_equal(f->out_len, 1024 * 1024);
	sh(f, "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyy >&2; done", (struct process_opts){ 0 });
	loop_run(f->l);
	assert_int_equal(f->why, ERR_LIMIT);
	assert_int_equal(f->calls, 4);
}

/* One that lives on may say what it wants: its last words stay. */
static void a_service_has_no_ceilings(void **state)
{
	struct fix *f = *state;

	sh(f, "i=0; while [ $i -lt 400 ]; do echo line $i >&2; i=$((i+1)); done; exit 3",
	   (struct process_opts){ .service = true, .err_max = 100, .limit_ms = 1 });
	loop_run(f->l);
	assert_int_equal(f->calls, 1);
	assert_int_equal(f->why, ERR_NONE);
	assert_int_equal(f->status, 3);
	assert_int_equal(strlen(f->err) <= 100, 1);
	assert_int_equal(strlen(f->err) >= 50, 1);
	assert_string_equal(strstr(f->err, "line 399"), "line 399\n");
}

static void limit_kills_the_whole_group(void **state)
{
	static const unsigned limits_ms[] = { 200, 2000, 10000 };
	struct fix *f = *state;

	/* More time for a shell that has not come to its first word within the limit. */
	for (int i = 0; i < 3 && !*f->out; i++) {
		/* the grandchild holds the pipes: only its death ends them */
		sh(f, "sleep 1000 & echo started; wait",
		   (struct process_opts){ .limit_ms = limits_ms[i] });
		loop_run(f->l);
		assert_int_equal(f->calls, i + 1);
		assert_int_equal(f->why, ERR_TIMEOUT);
		assert_int_equal(f->signal, SIGKILL);
	}
	assert_string_equal(f->out, "started\n");
}

static void someone_else_holds_the_pipe(void **state)
{
	struct fix *f = *state;

	sh(f, "sleep 3 & echo done", (struct process_opts){ 0 });
	loop_run(f->l);
	assert_string_equal(f->out, "done\n");
	assert_int_equal(f->why, ERR_NONE);
	assert_int_equal(f->status, 0);
}

static void cancelled_one_says_nothing(void **state)
{
	struct fix *f = *state;
	struct process *p = sh(f, "sleep 1000", (struct process_opts){ 0 });

	process_cancel(p);
	timer_arm(f->l, &f->limit, 50, stop, f);
	loop_run(f->l);
	assert_int_equal(f->calls, 0);
	sh(f, "echo next", (struct process_opts){ 0 });
	timer_arm(f->l, &f->limit, TEST_LIMIT_MS, stop, f);
	loop_run(f->l);
	assert_string_equal(f->out, "next\n");
	process_cancel(NULL);
}

static void loop_may_end_after_cancel(void **state)
{
	struct fix *f = *state;

	process_cancel(sh(f, "sleep 1000", (struct process_opts){ 0 }));
}

static int warm_up(void **state)
{
	struct loop *l;
	struct err e;

	(void)state;
	if (loop_new(&l, &e) != 0)
		return -1;
	loop_free(l);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(results),
		T(arguments_are_not_for_a_shell),
		T(environment_and_directory),
		T(missing_program_is_an_error),
		T(output_at_and_over_its_ceiling),
		T(a_service_has_no_ceilings),
		T(limit_kills_the_whole_group),
		T(someone_else_holds_the_pipe),
		T(cancelled_one_says_nothing),
		T(loop_may_end_after_cancel),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
