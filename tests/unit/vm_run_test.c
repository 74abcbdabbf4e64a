/*
 * One run of a VMM: the link, its words, its end; through libuv and through the spawner. The VMMs
 * are shell scripts, whose standard input is a socket: `cat >&0` echoes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"
#include "net/spawner.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/until.h"
#include "vm/driver_impl.h"
#include "vm/run.h"

struct fix {
	struct loop *l;
	struct spawner *s;
	struct vm_run *run;
	size_t fds;
	struct loop_timer limit;
	struct loop_watch watch;
	int link, links, ends;
	size_t heard;
	const char *stop_at; /* words */
	int kill_at_link;    /* at which */
	bool forget_at_link, close_at_link, stop_at_link, stop_spawner;
	char said[VM_VOICES][256];
	char echo[64];
	char dir[32];
	struct err why;
};

/* A VMM that is a script. */
static int script_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	vm_command_add(c, "/bin/sh");
	vm_command_add(c, "-c");
	vm_command_add(c, "%s", s->program);
	return vm_command_end(c, e);
}
static const struct vm_driver script = { "script", VM_VIRTIO_SERIAL, false, script_command };

static int listening_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	(void)script_command(s, c, e);
	snprintf(c->listen, sizeof(c->listen), "%s/link.sock", s->dir);
	return vm_command_end(c, e);
}
static const struct vm_driver listening = { "listening", VM_VSOCK, false, listening_command };

static int filing_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	(void)script_command(s, c, e);
	snprintf(c->console, sizeof(c->console), "%s/console", s->dir);
	vm_command_add(c, "sh");
	vm_command_add(c, "%s", c->console);
	return vm_command_end(c, e);
}
static const struct vm_driver filing = { "filing", VM_VIRTIO_SERIAL, false, filing_command };

static int allow(void *arg, const struct spawn_request *q, struct err *e)
{
	(void)arg;
	return strcmp(q->argv[0], "/bin/sh") == 0 && q->own_group ? 0
								  : err_set(e, ERR_DENIED, "no");
}

static const struct spawn_rule rule = { .kind = SPAWN_QEMU, .decide = allow };
static const struct spawner_opts spawner_options = { .rule = &rule, .rules = 1 };

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static int setup(struct fix *f, bool with_spawner)
{
	struct err e = { 0 };

	*f = (struct fix){ .fds = fds_open(), .link = -1, .dir = "/tmp/awsocks-test-XXXXXX" };
	if (with_spawner && spawner_new(&f->s, &spawner_options, &e) != 0 &&
	    e.code != ERR_UNSUPPORTED)
		return -1;
	if (!mkdtemp(f->dir) || loop_new(&f->l, &e) != 0)
		return -1;
	if (f->s && spawner_attach(f->s, f->l, &e) != 0)
		return -1;
	timer_arm(f->l, &f->limit, TEST_LIMIT_MS, stop, f);
	return 0;
}

static int setup_uv(void **state)
{
	static struct fix f;

	*state = &f;
	return setup(&f, false);
}

static int setup_spawner(void **state)
{
	static struct fix f;

	*state = &f;
	return setup(&f, true);
}

static int teardown(void **state)
{
	struct fix *f = *state;
	bool in_time = timer_armed(&f->limit);

	timer_disarm(f->l, &f->limit);
	watch_del(f->l, &f->watch);
	if (f->link >= 0)
		close(f->link);
	spawner_free(f->s);
	loop_free(f->l);
	return rmdir(f->dir) == 0 && in_time && fds_open() == f->fds ? 0 : -1;
}

static void on_echo(void *arg, unsigned ready)
{
	struct fix *f = arg;
	ssize_t n = read(f->link, f->echo, sizeof(f->echo) - 1);

	(void)ready;
	if (n < 0 && errno == EAGAIN)
		return;
	loop_stop(f->l);
	watch_set(f->l, &f->watch, 0);
}

static void on_link(void *arg, int fd)
{
	struct fix *f = arg;
	struct err e = { 0 };

	f->links++;
	if (f->link >= 0)
		close(f->link);
	f->link = fd;
	if (f->close_at_link) {
		close(fd);
		f->link = -1;
	} else if (f->stop_at_link) {
		assert_true(write(fd, "hello", 5) == 5);
		assert_int_equal(watch_add(f->l, &f->watch, fd, WATCH_READ, on_echo, f, &e), 0);
	}
	if (f->stop_spawner)
		(void)kill(spawner_pid(f->s), SIGSTOP);
	if (f->links == f->kill_at_link)
		vm_run_kill(f->run);
	if (f->forget_at_link) {
		vm_run_forget(f->run);
		loop_stop(f->l);
	}
}

static void on_said(void *arg, enum vm_voice voice, const char *bytes, size_t n)
{
	struct fix *f = arg;
	size_t len = strlen(f->said[voice]);

	snprintf(f->said[voice] + len, sizeof(f->said[voice]) - len, "%.*s", (int)n, bytes);
	f->heard += n;
	if (f->stop_at && strstr(f->said[voice], f->stop_at))
		loop_stop(f->l);
}

static void on_ended(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->ends++;
	f->why = *why;
	loop_stop(f->l);
}

static const struct vm_run_handler handler = { on_link, on_said, on_ended };

static void start(struct fix *f, const struct vm_driver *d, const char *text)
{
	struct vm_image image = { .initrd = "" };
	struct vm_spec spec = { .program = text, .arch = "x86_64", .image = &image, .dir = f->dir };
	struct err e = { 0 };

	f->run = vm_run_start(f->l, d, &spec, &handler, f, &e);
	if (!f->run)
		fail_msg("%s", e.msg);
	assert_int_equal(f->links + f->ends, 0); /* nothing from inside */
	loop_run(f->l);
	assert_true(timer_armed(&f->limit));
}

static void its_words_and_its_end(void **state)
{
	struct fix *f = *state;

	start(f, &script, "echo console; echo vmm >&2; exit 3");
	assert_int_equal(f->ends, 1);
	assert_in_range(f->links, 0, 1); /* it may have ended before */
	assert_string_equal(f->said[VM_VOICE_CONSOLE], "console\n");
	assert_string_equal(f->said[VM_VOICE_VMM], "vmm\n");
	assert_string_equal(f->why.msg, "script ended with status 3");
	assert_int_equal(f->why.code, ERR_CLOSED);
}

static void a_signal_ends_it(void **state)
{
	struct fix *f = *state;

	start(f, &script, "kill -ABRT $$");
	assert_string_equal(f->why.msg, "script was ended by signal 6");
}

static bool has_pid(void *arg)
{
	return vm_run_pid(((struct fix *)arg)->run) > 1;
}

static void the_link_goes_both_ways(void **state)
{
	struct fix *f = *state;
	struct until u;

	f->stop_at_link = true;
	start(f, &script, "cat >&0");
	assert_string_equal(f->echo, "hello");
	until_begin(&u, f->l, TEST_LIMIT_MS, f);
	until_so(&u, has_pid); /* the spawner's word of it has another way than the echo */
	until_end(&u);
	assert_int_equal(kill(vm_run_pid(f->run), 0), 0);
	watch_del(f->l, &f->watch);
	close(f->link); /* news to it: nobody else holds a copy */
	f->link = -1;
	loop_run(f->l);
	assert_string_equal(f->why.msg, "script ended with status 0");
}

static void it_can_be_killed(void **state)
{
	struct fix *f = *state;

	f->kill_at_link = 1;
	start(f, &script, "trap '' TERM; sleep 600 & wait; wait");
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->why.msg, "script was ended by signal 9");
}

/* Who would see its end is kept waiting: it is told as killed nevertheless, not as if it had ended
 * well. */
static void a_kill_whose_effect_is_not_seen(void **state)
{
	struct fix *f = *state;

	if (!f->s)
		skip();
	f->kill_at_link = 1;
	f->stop_spawner = true;
	start(f, &script, "exec sleep 600");
	(void)kill(spawner_pid(f->s), SIGCONT);
	assert_string_equal(f->why.msg, "script was ended by signal 9");
}

static void it_can_be_forgotten(void **state)
{
	struct fix *f = *state;
	struct loop_timer t = { 0 };

	f->forget_at_link = true;
	start(f, &script, "exec sleep 600");
	timer_arm(f->l, &t, 200, stop, f);
	loop_run(f->l);
	assert_int_equal(f->ends, 0);
}

/* Outputs are sockets: each can be opened by its number. And there are these three only. */
static void three_descriptors(void **state)
{
	struct fix *f = *state;

	for (int fd = 3; fd < 64; fd++) /* whatever the test was started with */
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	start(f, &script,
	      "for i in 0 1 2; do test -S /dev/fd/$i && printf $i; done; "
	      "for i in 4 5 6 7 8 9; do test -e /dev/fd/$i && printf \" $i\"; done; :");
	assert_string_equal(f->said[VM_VOICE_CONSOLE], "012");
}

static void no_such_program(void **state)
{
	struct fix *f = *state;

	start(f, &script, "exec /nonexistent/qemu");
	assert_string_equal(f->why.msg, "script ended with status 127");
	assert_non_null(strstr(f->said[VM_VOICE_VMM], "/nonexistent/qemu"));
}

/* ---- a console in a file ---- */

/* $1 is the file. Whoever was here before has no part in it. */
static void its_console_is_read_as_it_grows(void **state)
{
	struct fix *f = *state;
	char path[64];
	FILE *old;

	snprintf(path, sizeof(path), "%s/console", f->dir);
	old = fopen(path, "we");
	assert_non_null(old);
	assert_true(fputs("of another boot\n", old) >= 0);
	fclose(old);
	f->stop_at = "first\n";
	start(f, &filing,
	      "test \"$(stat -c %a $1)\" = 600 || exit 9; echo first >$1; read word; echo last "
	      ">>$1");
	assert_string_equal(f->said[VM_VOICE_CONSOLE], "first\n");
	assert_int_equal(f->ends, 0);
	close(f->link); /* which ends it */
	f->link = -1;
	loop_run(f->l);
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->said[VM_VOICE_CONSOLE], "first\nlast\n");
	assert_int_equal(access(path, F_OK), -1);
}

static void a_console_has_an_end(void **state)
{
	struct fix *f = *state;

	start(f, &filing, "head -c 20000000 /dev/zero >$1; exec sleep 600");
	assert_string_equal(f->why.msg, "filing was ended by signal 9");
	assert_int_equal(f->heard, 16 * 1024 * 1024);
}

/* ---- one that dials ---- */

static void dial(void *arg)
{
	struct fix *f = arg;
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/link.sock", f->dir);
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		close(fd);
	}
}

static void every_connection_is_a_link(void **state)
{
	struct fix *f = *state;
	struct loop_post post;

	memset(&post, 0, sizeof(post));
	f->close_at_link = true;
	f->kill_at_link = 2; /* it does not end before */
	loop_post(f->l, &post, dial, f);
	start(f, &listening, "exec sleep 600");
	assert_int_equal(f->links, 2);
	assert_string_equal(f->why.msg, "listening was ended by signal 9");
}

static void path_is_too_long(void **state)
{
	struct fix *f = *state;
	struct vm_spec spec = { .program = "true", .dir = NULL };
	struct err e = { 0 };
	char dir[300];

	memset(dir, 'd', sizeof(dir));
	dir[sizeof(dir) - 1] = '\0';
	spec.dir = dir;
	assert_null(vm_run_start(f->l, &listening, &spec, &handler, f, &e));
	assert_true(e.code != ERR_NONE && *e.msg);
}

/* libuv's first child leaves it with descriptors that it keeps. */
static int warm_up(void **state)
{
	if (setup_uv(state) != 0)
		return -1;
	start(*state, &script, ":");
	(void)teardown(state);
	return 0;
}

#define BOTH(test)                                                 \
	cmocka_unit_test_setup_teardown(test, setup_uv, teardown), \
		cmocka_unit_test_setup_teardown(test, setup_spawner, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(its_words_and_its_end),
		BOTH(a_signal_ends_it),
		BOTH(the_link_goes_both_ways),
		BOTH(it_can_be_killed),
		BOTH(it_can_be_forgotten),
		BOTH(three_descriptors),
		BOTH(no_such_program),
		BOTH(every_connection_is_a_link),
		BOTH(path_is_too_long),
		BOTH(its_console_is_read_as_it_grows),
		BOTH(a_console_has_an_end),
		cmocka_unit_test_setup_teardown(a_kill_whose_effect_is_not_seen, setup_spawner,
						teardown),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
