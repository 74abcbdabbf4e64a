/*
 * The spawner: programs through process_start(), what it refuses, what it does
 * with requests that no honest main process sends, and that nothing is left
 * behind, whoever dies first.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"
#include "net/process.h"
#include "net/spawner_impl.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

enum { MOST_TURNS = 200 };

struct fix {
	struct loop *l;
	struct spawner *s;
	size_t fds;
	struct loop_timer limit;
	int calls, status, signal;
	char out[128], err[128];
	size_t out_len;
	struct err why;
};

/* Kinds for these tests: any command line of sh; printf and nothing else. */
static int is_sh(void *arg, const struct spawn_request *q, struct err *e)
{
	(void)arg;
	if (strcmp(q->argv[0], "sh") == 0 || strncmp(q->argv[0], "/nonexistent", 12) == 0)
		return 0;
	return err_set(e, ERR_DENIED, "'%s' is not sh", q->argv[0]);
}

static const struct spawn_rule rules[] = {
	{ .kind = SPAWN_CREDENTIAL_PROCESS, .decide = is_sh },
	{ .kind = SPAWN_SSH, .program = "/usr/bin/printf" },
	{ .kind = SPAWN_QEMU, .decide = is_sh },
};
static const struct spawner_opts opts = { .rule = rules,
					  .rules = sizeof(rules) / sizeof(rules[0]) };

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e = { 0 };

	f = (struct fix){ .fds = fds_open() };
	if (spawner_new(&f.s, &opts, &e) != 0 && e.code != ERR_UNSUPPORTED)
		return -1;
	if (loop_new(&f.l, &e) != 0 || (f.s && spawner_attach(f.s, f.l, &e) != 0))
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, stop, &f);
	*state = &f;
	return 0;
}

/* It was still ending when spawner_free() waited no longer, as under valgrind beside other work. */
static bool ends_late(pid_t pid, uint64_t waited_ms)
{
	if (waited_ms < SPAWN_END_MS)
		return false;
	for (int ms = 0; ms < TEST_LIMIT_MS; ms++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static int teardown(void **state)
{
	struct fix *f = *state;
	pid_t pid = f->s ? spawner_pid(f->s) : 0;
	uint64_t ms = clock_mono_ms(&clock_system);

	timer_disarm(f->l, &f->limit);
	spawner_free(f->s);
	ms = clock_mono_ms(&clock_system) - ms;
	loop_free(f->l);
	if (pid && kill(pid, 0) == 0 && !ends_late(pid, ms)) /* still there, or a zombie */
		return -1;
	return fds_open() == f->fds ? 0 : -1;
}

static void ended(void *arg, const struct process_result *r)
{
	struct fix *f = arg;

	f->calls++;
	f->status = r->status;
	f->signal = r->signal;
	f->out_len = r->out_len;
	snprintf(f->out, sizeof(f->out), "%s", r->out);
	snprintf(f->err, sizeof(f->err), "%s", r->err_text);
	f->why = r->why ? *r->why : (struct err){ 0 };
	loop_stop(f->l);
}

static struct process *sh(struct fix *f, const char *script, struct process_opts o)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct process *p;
	struct err e = { 0 };

	if (!f->s)
		skip();
	o.kind = o.kind ? o.kind : SPAWN_CREDENTIAL_PROCESS;
	o.argv = argv;
	p = process_start(f->l, &o, ended, f, &e);
	assert_non_null(p);
	return p;
}

static void run(struct fix *f, const char *script, struct process_opts o)
{
	int before = f->calls;

	sh(f, script, o);
	loop_run(f->l);
	assert_int_equal(f->calls, before + 1);
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
		{ "cat; echo end", "end\n", "", 0, 0 },
		{ "kill -TERM $$", "", "", 0, SIGTERM },
		{ "kill -QUIT $$; echo no", "", "", 0, SIGQUIT }, /* not ignored in children */
	};
	struct fix *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run(f, cases[i].script, (struct process_opts){ 0 });
		assert_int_equal(f->calls, (int)i + 1);
		assert_string_equal(f->out, cases[i].out);
		assert_string_equal(f->err, cases[i].err);
		assert_int_equal(f->status, cases[i].status);
		assert_int_equal(f->signal, cases[i].signal);
		assert_int_equal(f->why.code, ERR_NONE);
	}
}

static void environment_is_the_spawners(void **state)
{
	struct fix *f = *state;
	const char *env[] = { "HOME=/elsewhere", "LD_PRELOAD=/tmp/evil.so", NULL };
	char home[128];

	snprintf(home, sizeof(home), "%s|\n", getenv("HOME") ? getenv("HOME") : "");
	run(f, "echo \"$HOME|$LD_PRELOAD\"", (struct process_opts){ .env = env });
	assert_string_equal(f->out, home);
	run(f, "pwd", (struct process_opts){ .cwd = "/" });
	assert_string_equal(f->out, "/\n");
}

/* The kind of child that a guest may take over. */
static void a_vmms_holds_no_secrets(void **state)
{
	static const char script[] = "echo \"$AWS_SECRET_ACCESS_KEY|$HTTPS_PROXY|$TEST_OTHER\"";
	struct fix *f = *state;

	run(f, script, (struct process_opts){ 0 });
	assert_string_equal(f->out, "key|proxy|other\n");
	run(f, script, (struct process_opts){ .kind = SPAWN_QEMU });
	assert_string_equal(f->out, "||other\n");
}

static int setup_with_secrets(void **state)
{
	int result;

	if (setenv("AWS_SECRET_ACCESS_KEY", "key", 1) != 0 ||
	    setenv("HTTPS_PROXY", "proxy", 1) != 0 || setenv("TEST_OTHER", "other", 1) != 0)
		return -1;
	result = setup(state);
	(void)unsetenv("AWS_SECRET_ACCESS_KEY");
	(void)unsetenv("HTTPS_PROXY");
	(void)unsetenv("TEST_OTHER");
	return result;
}

static void nothing_of_ours_is_inherited(void **state)
{
	struct fix *f = *state;
	int open_here = open("/dev/null", O_RDONLY); /* not closed on exec */

	/* 0 to 2, and the descriptor that lists them */
	run(f, "ls /proc/self/fd | wc -l", (struct process_opts){ 0 });
	close(open_here);
	assert_string_equal(f->out, "4\n");
}

static enum err_code refusal(struct fix *f, enum spawn_kind kind, const char *program)
{
	const char *argv[] = { program, "x", NULL };
	struct process_opts o = { .argv = argv, .kind = kind };
	int before = f->calls;
	struct err e = { 0 };

	f->why = (struct err){ 0 };
	assert_non_null(process_start(f->l, &o, ended, f, &e));
	loop_run(f->l);
	assert_int_equal(f->calls, before + 1);
	return f->why.code;
}

static void what_no_rule_allows_is_refused(void **state)
{
	struct fix *f = *state;

	if (!f->s)
		skip();
	assert_int_equal(refusal(f, SPAWN_CREDENTIAL_PROCESS, "printf"), ERR_DENIED);
	assert_string_equal(f->why.msg, "'printf' is not sh");
	assert_int_equal(refusal(f, SPAWN_SSH, "printf"), ERR_DENIED);
	assert_string_equal(f->why.msg, "'printf' is not a program that awsocks was set up to run");
	assert_int_equal(refusal(f, SPAWN_SSH, "/usr/bin/../bin/printf"), ERR_DENIED);
	assert_int_equal(refusal(f, (enum spawn_kind)(SPAWN_QEMU + 1), "/usr/bin/printf"),
			 ERR_DENIED);
	assert_int_equal(refusal(f, SPAWN_NONE, "/usr/bin/printf"), ERR_DENIED);
	assert_int_equal(refusal(f, SPAWN_SSH, "/usr/bin/printf"), ERR_NONE);
	assert_string_equal(f->out, "x");
}

static void missing_program_is_told(void **state)
{
	struct fix *f = *state;

	if (!f->s)
		skip();
	assert_int_equal(refusal(f, SPAWN_CREDENTIAL_PROCESS, "/nonexistent/program"), ERR_IO);
	assert_string_equal(f->why.msg, "run '/nonexistent/program': No such file or directory");
	sh(f, "echo x", (struct process_opts){ .cwd = "/nonexistent" });
	loop_run(f->l);
	assert_int_equal(f->why.sys, ENOENT);
}

static void limits_of_a_request(void **state)
{
	static char big[SPAWN_MESSAGE_MAX + 1];
	static const char *many[SPAWN_ARGS_MAX + 2];
	const char *argv[] = { "sh", "-c", ":", big, NULL };
	struct process_opts o = { .argv = argv, .kind = SPAWN_CREDENTIAL_PROCESS };
	struct fix *f = *state;
	struct err e = { 0 };

	if (!f->s)
		skip();
	memset(big, 'x', sizeof(big) - 1);
	assert_null(process_start(f->l, &o, ended, f, &e));
	assert_int_equal(e.code, ERR_LIMIT);
	big[SPAWN_MESSAGE_MAX - 1000] = '\0';
	assert_non_null(process_start(f->l, &o, ended, f, &e));
	loop_run(f->l);
	assert_int_equal(f->why.code, ERR_NONE);
	for (int i = 0; i < SPAWN_ARGS_MAX + 1; i++)
		many[i] = "sh";
	o.argv = many;
	assert_null(process_start(f->l, &o, ended, f, &e));
	assert_int_equal(e.code, ERR_LIMIT);
}

static void output_over_its_ceiling(void **state)
{
	struct fix *f = *state;

	run(f, "head -c 2097152 /dev/zero | tr '\\0' y", (struct process_opts){ 0 });
	assert_int_equal(f->why.code, ERR_LIMIT);
	assert_int_equal(f->out_len, 1024 * 1024);
	run(f, "head -c 2097152 /dev/zero | tr '\\0' y",
	    (struct process_opts){ .out_max = 2097152 });
	assert_int_equal(f->why.code, ERR_NONE);
	assert_int_equal(f->out_len, 2097152);
}

static void limit_kills_the_whole_group(void **state)
{
	static const unsigned limits_ms[] = { 300, 2000, 10000 };
	struct fix *f = *state;

	/* More time for a shell that has not come to its first word within the limit. */
	for (int i = 0; i < 3 && !*f->out; i++) {
		run(f, "echo started; sleep 1000 & wait",
		    (struct process_opts){ .limit_ms = limits_ms[i] });
		assert_int_equal(f->why.code, ERR_TIMEOUT);
	}
	assert_int_equal(f->signal, SIGKILL);
	assert_string_equal(f->out, "started\n");
}

static void cancelled_one_says_nothing(void **state)
{
	struct fix *f = *state;
	struct process *p = sh(f, "sleep 1000", (struct process_opts){ 0 });

	process_cancel(p);
	run(f, "echo next", (struct process_opts){ 0 });
	assert_int_equal(f->calls, 1);
	assert_string_equal(f->out, "next\n");
	process_cancel(sh(f, "sleep 1000", (struct process_opts){ 0 })); /* told at the very end */
}

/* How many children the spawner has, zombies included. */
static int children_of(pid_t pid)
{
	char path[64], text[4096] = "";
	int n = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	in = fopen(path, "r");
	if (!in)
		return -1;
	for (const char *p = fgets(text, sizeof(text), in); p && *p; p++)
		n += *p == ' ';
	fclose(in);
	return n;
}

static void no_zombies(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 50; i++)
		run(f, i % 2 ? ":" : "exit 3", (struct process_opts){ 0 });
	if (!f->s)
		skip();
	assert_int_equal(f->calls, 50);
	(void)refusal(f, SPAWN_CREDENTIAL_PROCESS, "/nonexistent/program");
	/* What could not be started is told before the child that tried has ended: another one's
	 * end says nothing about that. Each turn is one of the spawner's, in which it reaps. */
	for (f->calls = 0; f->calls < MOST_TURNS;) {
		run(f, ":", (struct process_opts){ 0 });
		if (children_of(spawner_pid(f->s)) <= 0)
			return;
	}
	fail_msg("children are left");
}

/* As some starters leave it: then children end without a word. */
static int setup_ignoring(void **state)
{
	int result;

	(void)signal(SIGCHLD, SIG_IGN);
	result = setup(state);
	(void)signal(SIGCHLD, SIG_DFL);
	return result;
}

static void ends_are_seen_where_sigchld_was_ignored(void **state)
{
	struct fix *f = *state;

	run(f, "exit 3", (struct process_opts){ .limit_ms = TEST_LIMIT_MS / 2 });
	assert_int_equal(f->why.code, 0);
	assert_int_equal(f->status, 3);
}

static void too_many_at_once(void **state)
{
	struct process *p[SPAWN_CHILDREN_MAX];
	struct fix *f = *state;

	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		p[i] = sh(f, "sleep 1000", (struct process_opts){ 0 });
	run(f, ":", (struct process_opts){ 0 });
	assert_int_equal(f->why.code, ERR_DENIED);
	assert_non_null(strstr(f->why.msg, "64 programs run already"));
	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		process_cancel(p[i]);
}

static void a_dead_spawner_is_an_error(void **state)
{
	const char *argv[] = { "sh", "-c", ":", NULL };
	struct process_opts o = { .argv = argv, .kind = SPAWN_CREDENTIAL_PROCESS };
	struct fix *f = *state;
	struct err e = { 0 };

	sh(f, "sleep 1000", (struct process_opts){ 0 });
	kill(spawner_pid(f->s), SIGKILL);
	loop_run(f->l);
	assert_int_equal(f->calls, 1);
	assert_int_equal(f->why.code, ERR_CLOSED);
	assert_null(process_start(f->l, &o, ended, f, &e));
	assert_int_equal(e.code, ERR_CLOSED);
}

/* ---- the main process dies: its children do, and at_end() is called ---- */

static void say_end(void *arg)
{
	(void)!write(*(int *)arg, "E", 1);
}

/* In a process of its own: a spawner with a hanging child that holds `hold`; then waits. */
static void be_main(int hold, int end)
{
	int null = open("/dev/null", O_RDWR);
	const int fd[SPAWN_STDIO] = { null, hold, null };
	const char *argv[] = { "sh", "-c", "sleep 1000 & echo s; exec sleep 1000", NULL };
	struct spawner_opts o = opts;
	struct spawn_request q = { .kind = SPAWN_CREDENTIAL_PROCESS,
				   .argv = argv,
				   .own_group = true };
	struct spawner *s;
	struct err e;

	o.at_end = say_end;
	o.arg = &end;
	/* The spawner closes all it is not told to keep: 2 it keeps. */
	dup2(end, STDERR_FILENO);
	end = STDERR_FILENO;
	if (spawner_new(&s, &o, &e) != 0 || !spawn_start(s, &q, fd, NULL, NULL, &e))
		_exit(1);
	close(hold);
	for (;;)
		pause();
}

/* Reads to the end of file; the last byte, or -1: nothing came in time. */
static int last_byte(int fd, bool to_end)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c = 0, got;

	while (poll(&p, 1, TEST_LIMIT_MS) == 1) {
		if (read(fd, &got, 1) != 1)
			return c;
		c = got;
		if (!to_end)
			return c;
	}
	return -1;
}

static void parents_death_ends_all(void **state)
{
	struct fix *f = *state;
	int hold[2], end[2], status;
	pid_t pid;

	if (!f->s)
		skip();
	assert_int_equal(pipe2(hold, O_CLOEXEC) | pipe2(end, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		be_main(hold[1], end[1]);
	close(hold[1]);
	close(end[1]);
	assert_int_equal(last_byte(hold[0], false), 's'); /* the child runs */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(last_byte(hold[0], true) >= 0); /* nobody holds it any more: all are dead */
	assert_int_equal(last_byte(end[0], true), 'E');
	close(hold[0]);
	close(end[0]);
}

/* ---- requests that spawn_start() does not send ---- */

struct raw {
	int fd;
	pid_t pid;
};

static struct raw raw_open(void)
{
	pid_t parent = getpid();
	struct raw r;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r.fd = pair[0];
	r.pid = fork();
	if (r.pid == 0) {
		close(pair[0]);
		spawner_child(pair[1], parent, &opts);
	}
	close(pair[1]);
	return r;
}

static void raw_send(const struct raw *r, const void *p, size_t n, int fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
	struct iovec io = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };

	if (fds) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
		for (int i = 0; i < fds; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &(int){ 2 }, sizeof(int));
	}
	assert_int_equal(sendmsg(r->fd, &m, MSG_NOSIGNAL), n);
}

static void raw_refused(const struct raw *r, const char *text)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	struct spawn_answer a;

	assert_int_equal(poll(&p, 1, TEST_LIMIT_MS), 1);
	assert_int_equal(recv(r->fd, &a, sizeof(a), 0), sizeof(a));
	assert_int_equal(a.reply, SPAWN_REPLY_NO);
	assert_string_equal(a.text, text);
}

static void bad_requests(void **state)
{
	static const struct {
		struct spawn_head head;
		const char *tail;
		size_t n;
		int fds;
		const char *text;
	} cases[] = {
		{ { .op = 9 }, "", 0, 0, "bad request: unknown" },
		{ { .op = 1, .kind = 1, .argc = 1 }, "sh", 3, 2, "bad request: 2 descriptors" },
		{ { .op = 1, .kind = 1, .argc = 1 }, "sh", 3, 0, "bad request: 0 descriptors" },
		{ { .op = 1, .kind = 1, .argc = 0 }, "sh", 3, 3, "bad request" },
		{ { .op = 1, .kind = 1, .argc = ~0U }, "sh", 3, 3, "bad request" },
		{ { .op = 1, .kind = 1, .argc = 513 }, "sh", 3, 3, "bad request" },
		{ { .op = 1, .kind = 1, .argc = 1, .has_cwd = ~0U }, "sh", 3, 3, "bad request" },
		{ { .op = 1, .kind = 1, .argc = 1, .own_group = 2 }, "sh", 3, 3, "bad request" },
		{ { .op = 1, .kind = 1, .argc = 1 }, "sh", 2, 3, "bad request: a text is missing" },
		{ { .op = 1, .kind = 1, .argc = 2 }, "sh", 3, 3, "bad request: a text is missing" },
		{ { .op = 1, .kind = 1, .argc = 1 }, "", 0, 3, "bad request: a text is missing" },
		{ { .op = 1, .kind = 1, .argc = 1 },
		  "sh\0x",
		  5,
		  3,
		  "bad request: a text too many" },
		{ { .op = 1, .kind = 1, .argc = 1 }, "", 1, 3, "bad request: no program" },
		{ { .op = 1, .kind = 77, .argc = 1 },
		  "sh",
		  3,
		  3,
		  "'sh' is not a program that awsocks was set up to run" },
	};
	struct fix *f = *state;
	char message[SPAWN_MESSAGE_MAX + 100];
	struct raw r;

	if (!f->s)
		skip();
	r = raw_open();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memcpy(message, &cases[i].head, sizeof(cases[i].head));
		memcpy(message + sizeof(cases[i].head), cases[i].tail, cases[i].n);
		raw_send(&r, message, sizeof(cases[i].head) + cases[i].n, cases[i].fds);
		raw_refused(&r, cases[i].text);
	}
	raw_send(&r, "x", 1, 8);
	raw_refused(&r, "bad request: 1 bytes");
	memset(message, 0, sizeof(message));
	raw_send(&r, message, sizeof(message), 16);
	raw_refused(&r, "bad request: 65536 bytes");
	close(r.fd);
	assert_int_equal(waitpid(r.pid, NULL, 0), r.pid);
}

/* Descriptors that came with what was refused are closed. */
static void refused_descriptors_are_closed(void **state)
{
	struct fix *f = *state;
	struct pollfd p = { .events = POLLIN };
	struct spawn_head head = { .op = 1, .kind = 77, .argc = 1 };
	char message[sizeof(head) + 3];
	int hold[2], saved;
	struct raw r;

	if (!f->s)
		skip();
	r = raw_open();
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(hold[1], STDERR_FILENO); /* raw_send() sends that */
	close(hold[1]);
	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), "sh", 3);
	raw_send(&r, message, sizeof(message), 3);
	raw_send(&r, message, sizeof(message), 8);
	raw_send(&r, message, sizeof(message), 16);
	dup2(saved, STDERR_FILENO);
	close(saved);
	p.fd = hold[0];
	assert_int_equal(poll(&p, 1, TEST_LIMIT_MS), 1);
	assert_int_equal(p.revents, POLLHUP);
	close(hold[0]);
	close(r.fd);
	assert_int_equal(waitpid(r.pid, NULL, 0), r.pid);
}

/* libuv opens some descriptors of its own once. */
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
		T(environment_is_the_spawners),
		cmocka_unit_test_setup_teardown(a_vmms_holds_no_secrets, setup_with_secrets,
						teardown),
		T(nothing_of_ours_is_inherited),
		T(what_no_rule_allows_is_refused),
		T(missing_program_is_told),
		T(limits_of_a_request),
		T(output_over_its_ceiling),
		T(limit_kills_the_whole_group),
		T(cancelled_one_says_nothing),
		T(no_zombies),
		cmocka_unit_test_setup_teardown(ends_are_seen_where_sigchld_was_ignored,
						setup_ignoring, teardown),
		T(too_many_at_once),
		T(a_dead_spawner_is_an_error),
		T(parents_death_ends_all),
		T(bad_requests),
		T(refused_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
