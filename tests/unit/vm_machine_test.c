/*
 * The machine's life with VMMs of all kinds. They are this program itself: started by a driver of
 * the test as
 *
 *     PROGRAM --conf FILE ACCEL [SOCKET]
 *
 * it is a guest that behaves as the line mode=NAME in FILE says, and adds ACCEL to the file
 * `starts` beside it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/str.h"
#include "net/loop.h"
#include "net/self.h"
#include "net/spawner.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/until.h"
#include "tests/unit/vm_fake_guest.h"
#include "vm/driver_impl.h"
#include "vm/machine.h"

/* ---- the host ---- */

/* SHORT_MS: a limit that is waited for, and that a busy machine's guest can still keep. */
enum { SHORT_MS = 4000, TEXT = 16384 };

struct fix {
	struct loop *l;
	struct spawner *s;
	struct machine *m;
	size_t fds;
	struct loop_timer limit;
	char dir[32], verdicts[64];
	struct vm_image image;
	struct machine_opts opts;
	enum machine_state awaited;
	int told, closed, changes;
	bool failed;
	struct err why;
	char text[TEXT];
};

static char program[1024];

static int fake_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	vm_command_add(c, "%s", s->program);
	vm_command_add(c, "--conf");
	vm_command_add(c, "%s", s->image->initrd);
	vm_command_add(c, "%s", vm_accel_name(s->accel));
	return vm_command_end(c, e);
}

static int dialling_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	if (fake_command(s, c, e) != 0)
		return -1;
	(void)str_fmt(c->listen, sizeof(c->listen), "%s/link.sock", s->dir);
	vm_command_add(c, "%s", c->listen);
	return vm_command_end(c, e);
}

/* Its console is a file, as vfkit's is. */
static int filing_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	(void)str_fmt(c->console, sizeof(c->console), "%s/console", s->dir);
	vm_command_add(c, "/bin/sh");
	vm_command_add(c, "-c");
	vm_command_add(c, "exec \"$0\" --conf \"$1\" \"$2\" >\"$3\"");
	vm_command_add(c, "%s", s->program);
	vm_command_add(c, "%s", s->image->initrd);
	vm_command_add(c, "%s", vm_accel_name(s->accel));
	vm_command_add(c, "%s", c->console);
	return vm_command_end(c, e);
}

static const struct vm_driver fake = { "fake", VM_VIRTIO_SERIAL, false, fake_command };
static const struct vm_driver dialling = { "dialling", VM_VSOCK, false, dialling_command };
static const struct vm_driver filing = { "filing", VM_VIRTIO_SERIAL, false, filing_command };

static int allow(void *arg, const struct spawn_request *q, struct err *e)
{
	(void)arg;
	(void)q;
	(void)e;
	return 0;
}

static const struct spawn_rule rule = { .kind = SPAWN_QEMU, .decide = allow };
static const struct spawner_opts spawner_options = { .rule = &rule, .rules = 1 };

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e = { 0 };

	f = (struct fix){ .fds = fds_open(), .dir = "/tmp/awsocks-test-XXXXXX" };
	*state = &f;
	if (spawner_new(&f.s, &spawner_options, &e) != 0 && e.code != ERR_UNSUPPORTED)
		return -1;
	if (!mkdtemp(f.dir) || loop_new(&f.l, &e) != 0)
		return -1;
	if (f.s && spawner_attach(f.s, f.l, &e) != 0)
		return -1;
	snprintf(f.verdicts, sizeof(f.verdicts), "%s/verdicts", f.dir);
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, stop, &f);
	return 0;
}

static void on_closed(void *arg)
{
	struct fix *f = arg;

	f->closed++;
	f->m = NULL;
	loop_stop(f->l);
}

static void close_machine(struct fix *f)
{
	int before = f->closed;

	machine_close(f->m, on_closed, f);
	assert_int_equal(f->closed, before);
	loop_run(f->l);
	assert_int_equal(f->closed, before + 1);
}

static int teardown(void **state)
{
	static const char *const files[] = { "conf", "starts", "verdicts", "link.sock", "die" };
	struct fix *f = *state;
	bool in_time;
	char path[128];

	if (f->m)
		close_machine(f);
	in_time = timer_armed(&f->limit);
	timer_disarm(f->l, &f->limit);
	spawner_free(f->s);
	loop_free(f->l);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
		(void)unlink(path);
	}
	return rmdir(f->dir) == 0 && in_time && fds_open() == f->fds ? 0 : -1;
}

static void on_changed(void *arg)
{
	struct fix *f = arg;

	f->changes++;
	if (machine_state(f->m) == f->awaited)
		loop_stop(f->l);
}

static void make(struct fix *f, const struct vm_driver *driver, const char *mode)
{
	char settings[128];
	struct err e = { 0 };

	snprintf(settings, sizeof(settings), "mode=%s\n", mode);
	assert_int_equal(vm_process_image(f->dir, settings, &f->image, &e), 0);
	f->opts.loop = f->l;
	f->opts.driver = driver;
	f->opts.spec = (struct vm_spec){ .program = program,
					 .arch = "x86_64",
					 .image = &f->image,
					 .dir = f->dir,
					 .memory_mib = 128,
					 .cpus = 1 };
	f->opts.changed = on_changed;
	f->opts.arg = f;
	if (!f->opts.pause_ms)
		f->opts.pause_ms = 10;
	if (!f->opts.boot_ms)
		f->opts.boot_ms = 20000;
	f->m = machine_new(&f->opts, &e);
	if (!f->m)
		fail_msg("%s", e.msg);
}

static void run_until(struct fix *f, enum machine_state s)
{
	f->awaited = s;
	if (machine_state(f->m) != s)
		loop_run(f->l);
	if (machine_state(f->m) != s)
		fail_msg("%s instead of %s: %s", machine_state_name(machine_state(f->m)),
			 machine_state_name(s),
			 machine_why(f->m) ? machine_why(f->m)->msg : "no reason");
	f->awaited = MACHINE_STATE_COUNT;
}

static void on_waited(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->told++;
	f->failed = why != NULL;
	f->why = why ? *why : (struct err){ 0 };
	loop_stop(f->l);
}

/* Waits for it, at most so long. */
static bool wait_for(struct fix *f, unsigned limit_ms)
{
	int before = f->told;
	struct err e;

	f->awaited = MACHINE_STATE_COUNT;
	assert_non_null(machine_wait(f->m, limit_ms, on_waited, f, &e));
	assert_int_equal(f->told, before);
	loop_run(f->l);
	assert_int_equal(f->told, before + 1);
	return !f->failed;
}

static const char *file_text(struct fix *f, const char *name)
{
	char path[128];
	size_t n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "r");
	if (file) {
		n = fread(f->text, 1, sizeof(f->text) - 1, file);
		fclose(file);
	}
	f->text[n] = '\0';
	return f->text;
}

static void write_file(struct fix *f, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static double number_of(struct fix *f, const char *name)
{
	cJSON *o = cJSON_CreateObject();
	const cJSON *n;
	double value;

	machine_describe(f->m, o);
	n = cJSON_GetObjectItem(o, name);
	value = cJSON_IsNumber(n) ? n->valuedouble : -1;
	cJSON_Delete(o);
	return value;
}

/* The spawner's word may come after the guest's. */
static pid_t pid_of(struct fix *f)
{
	struct loop_timer t = { 0 };

	for (int i = 0; i < TEST_LIMIT_MS / 10 && number_of(f, "pid") < 2; i++) {
		timer_arm(f->l, &t, 10, stop, f);
		loop_run(f->l);
	}
	return (pid_t)number_of(f, "pid");
}

/* ---- its life ---- */

static void it_runs_and_stops(void **state)
{
	struct fix *f = *state;
	pid_t pid;

	make(f, &fake, "ok");
	assert_int_equal(machine_state(f->m), MACHINE_STOPPED);
	assert_null(machine_conn(f->m));
	assert_true(wait_for(f, 20000));
	assert_int_equal(machine_state(f->m), MACHINE_RUNNING);
	assert_non_null(machine_conn(f->m));
	assert_false(machine_first_start(f->m));
	assert_true(wait_for(f, 1)); /* at once */
	pid = pid_of(f);
	assert_true(pid > 1 && kill(pid, 0) == 0);
	machine_stop(f->m);
	assert_int_equal(machine_state(f->m), MACHINE_STOPPING);
	assert_null(machine_conn(f->m));
	run_until(f, MACHINE_STOPPED);
	assert_int_not_equal(kill(pid, 0), 0);
	assert_false(wait_for(f, 20000)); /* only a command starts it now */
	assert_non_null(strstr(f->why.msg, "vm start"));
	machine_start(f->m, false);
	assert_int_equal(machine_state(f->m), MACHINE_STOPPED);
	machine_start(f->m, true);
	assert_int_equal(machine_state(f->m), MACHINE_STARTING);
	run_until(f, MACHINE_RUNNING);
	assert_true(number_of(f, "restarts") == 1);
	assert_string_equal(file_text(f, "starts"), "none\nnone\n");
}

static void started_while_it_stops(void **state)
{
	struct fix *f = *state;

	make(f, &fake, "ok");
	assert_true(wait_for(f, 20000));
	machine_stop(f->m);
	machine_start(f->m, true);
	assert_int_equal(machine_state(f->m), MACHINE_STOPPING);
	assert_true(wait_for(f, 20000));
	assert_string_equal(file_text(f, "starts"), "none\nnone\n");
}

static void stopped_while_it_starts(void **state)
{
	struct fix *f = *state;
	struct err e;

	make(f, &fake, "silent");
	assert_non_null(machine_wait(f->m, 20000, on_waited, f, &e));
	assert_true(machine_first_start(f->m));
	machine_stop(f->m);
	loop_run(f->l);
	assert_int_equal(f->told, 1);
	assert_int_equal(f->why.code, ERR_CLOSED);
	assert_int_equal(machine_state(f->m), MACHINE_STOPPED);
}

static void it_is_killed_when_it_does_not_stop(void **state)
{
	struct fix *f = *state;
	pid_t pid;

	make(f, &fake, "stubborn");
	assert_true(wait_for(f, 20000));
	pid = pid_of(f);
	machine_stop(f->m);
	run_until(f, MACHINE_STOPPED);
	assert_int_not_equal(kill(pid, 0), 0);
}

static void closed_in_any_state(void **state)
{
	struct fix *f = *state;

	make(f, &fake, "ok");
	close_machine(f); /* stopped */
	make(f, &fake, "ok");
	machine_start(f->m, false);
	close_machine(f); /* about to boot */
	make(f, &fake, "silent");
	assert_false(wait_for(f, 100));
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_int_equal(machine_state(f->m), MACHINE_STARTING);
	close_machine(f); /* starting */
	make(f, &fake, "crash");
	assert_false(wait_for(f, 20000));
	close_machine(f); /* failed */
	make(f, &fake, "ok");
	assert_true(wait_for(f, 20000));
	close_machine(f); /* running */
}

/* ---- waiting ---- */

struct second {
	struct fix *f;
	struct machine_wait *wait;
	int told;
};

static void on_second(void *arg, const struct err *why)
{
	struct second *s = arg;

	(void)why;
	s->told++;
}

static void cancel_the_other(void *arg, const struct err *why)
{
	struct second *s = arg;

	assert_null(why);
	machine_wait_cancel(s->wait);
	loop_stop(s->f->l);
}

static void one_wait_cancels_another(void **state)
{
	struct fix *f = *state;
	struct second s = { f, NULL, 0 };
	struct loop_timer t = { 0 };
	struct err e;

	make(f, &fake, "ok");
	assert_non_null(machine_wait(f->m, 20000, cancel_the_other, &s, &e));
	s.wait = machine_wait(f->m, 20000, on_second, &s, &e);
	assert_non_null(s.wait);
	loop_run(f->l);
	timer_arm(f->l, &t, 20, stop, f);
	loop_run(f->l);
	assert_int_equal(s.told, 0);
}

/* ---- failures ---- */

static void a_crash_tells_why(void **state)
{
	struct fix *f = *state;
	char console[256] = "";

	f->opts.on_demand = true;
	make(f, &fake, "crash");
	assert_false(wait_for(f, 20000));
	assert_non_null(strstr(f->why.msg, "fake ended with status 1"));
	assert_non_null(strstr(f->why.msg, "last words: cannot? boot"));
	assert_int_equal(machine_state(f->m), MACHINE_FAILED);
	assert_string_equal(machine_why(f->m)->msg, f->why.msg);
	assert_true(machine_console(f->m, console, sizeof(console) - 1) > 0);
	assert_non_null(strstr(console, "first\n\ncannot\x1b boot\n"));
}

static void a_panic_tells_why(void **state)
{
	struct fix *f = *state;

	f->opts.on_demand = true;
	make(f, &fake, "panic");
	assert_false(wait_for(f, 20000));
	assert_non_null(strstr(f->why.msg, "panic - not syncing: Attempted to kill init!"));
}

static void five_crashes_are_enough(void **state)
{
	struct fix *f = *state;

	f->opts.pause_ms = 50; /* the longest is 3 s: it does not pass while this looks at it */
	make(f, &fake, "crash");
	machine_start(f->m, false);
	for (int i = 0; i < 5; i++) {
		run_until(f, MACHINE_FAILED);
		if (i < 4) {
			assert_true(machine_next_try_ms(f->m) > 0);
			run_until(f, MACHINE_STARTING);
		}
	}
	assert_int_equal(machine_next_try_ms(f->m), 0);
	assert_string_equal(file_text(f, "starts"), "none\nnone\nnone\nnone\nnone\n");
	assert_false(wait_for(f, 10)); /* its pause is longer: told at once, with the reason */
	assert_non_null(strstr(f->why.msg, "boot"));
	assert_int_equal(machine_next_try_ms(f->m), 0);
	assert_false(wait_for(f, 1200)); /* as good as: no boot is so quick behind it */
	assert_string_equal(file_text(f, "starts"), "none\nnone\nnone\nnone\nnone\n");
	assert_false(wait_for(f, 20000)); /* somebody needs it: tried after the pause */
	assert_string_equal(file_text(f, "starts"), "none\nnone\nnone\nnone\nnone\nnone\n");
	machine_start(f->m, true); /* a command does not wait for the pause */
	assert_int_equal(machine_state(f->m), MACHINE_STARTING);
}

static void it_comes_back_after_crashes(void **state)
{
	struct fix *f = *state;

	make(f, &fake, "flaky");
	machine_start(f->m, false);
	run_until(f, MACHINE_RUNNING);
	assert_true(strlen(file_text(f, "starts")) >= 3 * 5);
}

static void silence_has_a_limit(void **state)
{
	struct fix *f = *state;

	f->opts.boot_ms = SHORT_MS;
	make(f, &fake, "silent");
	assert_false(wait_for(f, 20000));
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->why.msg, "last words: console: panic"));
	run_until(f, MACHINE_STARTING);
	assert_false(wait_for(f, 1)); /* too short for this attempt: told of the last one */
	assert_non_null(strstr(f->why.msg, "starting"));
	assert_non_null(strstr(f->why.msg, "last words: console: panic"));
}

/* Given up sooner than the file would be looked at by itself. */
static void last_words_in_a_file(void **state)
{
	struct fix *f = *state;
	char console[64] = "";

	f->opts.on_demand = true;
	make(f, &filing, "hangs-up");
	assert_false(wait_for(f, 20000));
	assert_non_null(strstr(f->why.msg, "last words: console: no link"));
	assert_true(machine_console(f->m, console, sizeof(console) - 1) > 0);
	assert_string_equal(console, "console: no link\n");
}

static void another_boots_guest_is_refused(void **state)
{
	struct fix *f = *state;

	make(f, &fake, "garbage");
	assert_false(wait_for(f, 20000));
	assert_int_equal(f->why.code, ERR_PROTO);
	assert_non_null(strstr(f->why.msg, "not of this boot"));
}

static void no_address(void **state)
{
	struct fix *f = *state;

	f->opts.boot_ms = SHORT_MS;
	make(f, &fake, "nonet");
	assert_false(wait_for(f, 20000));
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->why.msg, "address"));
}

static void no_image(void **state)
{
	struct fix *f = *state;

	make(f, &fake, "ok");
	unlink(f->image.initrd);
	assert_false(wait_for(f, 20000));
	assert_non_null(strstr(f->why.msg, "conf"));
}

/* Its failure passes in a moment, and may be over before anybody looks. */
static bool has_come_back(void *arg)
{
	struct fix *f = arg;

	if (machine_state(f->m) == MACHINE_FAILED)
		assert_null(machine_conn(f->m));
	return machine_state(f->m) == MACHINE_RUNNING && number_of(f, "restarts") == 1;
}

static void it_comes_back_by_itself(void **state)
{
	struct fix *f = *state;
	struct until u;

	make(f, &fake, "dies");
	assert_true(wait_for(f, 20000));
	write_file(f, "die", "");
	until_begin(&u, f->l, TEST_LIMIT_MS, f);
	until_so(&u, has_come_back);
	until_end(&u);
	assert_non_null(machine_conn(f->m));
}

static bool has_last_words(void *arg)
{
	struct fix *f = arg;

	assert_int_equal(machine_state(f->m), MACHINE_FAILED);
	return strstr(machine_why(f->m)->msg, "status 3") && strstr(machine_why(f->m)->msg, "boom");
}

static void on_demand_it_comes_when_needed(void **state)
{
	struct fix *f = *state;
	struct loop_timer t = { 0 };
	struct until u;

	f->opts.on_demand = true;
	make(f, &fake, "dies");
	assert_true(wait_for(f, 20000));
	write_file(f, "die", "");
	run_until(f, MACHINE_FAILED);
	f->awaited = MACHINE_STATE_COUNT;
	timer_arm(f->l, &t, 400, stop, f);
	loop_run(f->l);
	until_begin(&u, f->l, TEST_LIMIT_MS, f);
	until_so(&u, has_last_words); /* still failed */
	until_end(&u);
	assert_true(wait_for(f, 20000));
}

/* ---- the ladder ---- */

static void use_ladder(struct fix *f)
{
	f->opts.ladder[0] = VM_ACCEL_KVM;
	f->opts.ladder[1] = VM_ACCEL_TCG;
	f->opts.rungs = 2;
	f->opts.verdicts = f->verdicts;
}

/* Written by the thread pool. */
static void wait_for_file(struct fix *f, const char *name)
{
	struct loop_timer t = { 0 };

	for (int i = 0; i < TEST_LIMIT_MS / 10 && !*file_text(f, name); i++) {
		timer_arm(f->l, &t, 10, stop, f);
		loop_run(f->l);
	}
}

static void a_broken_one_is_remembered(void **state)
{
	struct fix *f = *state;

	use_ladder(f);
	make(f, &fake, "kvmless");
	assert_true(wait_for(f, 20000));
	assert_string_equal(file_text(f, "starts"), "kvm\ntcg\n");
	wait_for_file(f, "verdicts");
	assert_non_null(strstr(file_text(f, "verdicts"), "awsocks-vm-verdicts 1\nkvm "));
	close_machine(f);
	make(f, &fake, "kvmless");
	assert_true(wait_for(f, 20000));
	assert_string_equal(file_text(f, "starts"), "kvm\ntcg\ntcg\n");
	machine_stop(f->m);
	run_until(f, MACHINE_STOPPED);
	machine_start(f->m, true); /* may have been repaired */
	run_until(f, MACHINE_RUNNING);
	assert_string_equal(file_text(f, "starts"), "kvm\ntcg\ntcg\nkvm\ntcg\n");
}

static void a_silent_one_is_left(void **state)
{
	struct fix *f = *state;

	use_ladder(f);
	f->opts.boot_ms = SHORT_MS;
	make(f, &fake, "kvmhangs");
	assert_true(wait_for(f, 30000));
	assert_string_equal(file_text(f, "starts"), "kvm\ntcg\n");
}

static void a_bad_verdict_file_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"kvm\n",
		"awsocks-vm-verdicts 2\nkvm x 1 1 /x\n",
		"awsocks-vm-verdicts 1\nkvm other-kernel 1 1 /usr/bin/qemu\n",
		"awsocks-vm-verdicts 1\nkvm",
	};
	struct fix *f = *state;
	cJSON *o;

	use_ladder(f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(f, "verdicts", bad[i]);
		make(f, &fake, "ok");
		o = cJSON_CreateObject();
		machine_describe(f->m, o);
		assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o, "broken")), 0);
		cJSON_Delete(o);
		close_machine(f);
	}
}

static void when_none_works_none_is_blamed(void **state)
{
	struct fix *f = *state;

	use_ladder(f);
	make(f, &fake, "crash");
	assert_false(wait_for(f, 20000));
	assert_string_equal(file_text(f, "starts"), "kvm\ntcg\n");
	assert_string_equal(file_text(f, "verdicts"), "");
}

/* ---- a socket that anybody can come to ---- */

static void strangers_do_not_matter(void **state)
{
	struct fix *f = *state;

	make(f, &dialling, "ok");
	assert_true(wait_for(f, 20000));
	machine_stop(f->m);
	run_until(f, MACHINE_STOPPED);
}

/* libuv's thread pool and first child leave it with descriptors that it keeps. */
static int warm_up(void **state)
{
	struct fix *f;

	if (setup(state) != 0)
		return -1;
	f = *state;
	spawner_free(f->s); /* here it is libuv that runs it */
	f->s = NULL;
	use_ladder(f);
	make(f, &fake, "kvmless");
	(void)wait_for(f, 20000);
	wait_for_file(f, "verdicts");
	(void)teardown(state);
	return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(it_runs_and_stops),
		CASE(started_while_it_stops),
		CASE(stopped_while_it_starts),
		CASE(it_is_killed_when_it_does_not_stop),
		CASE(closed_in_any_state),
		CASE(one_wait_cancels_another),
		CASE(a_crash_tells_why),
		CASE(a_panic_tells_why),
		CASE(five_crashes_are_enough),
		CASE(it_comes_back_after_crashes),
		CASE(silence_has_a_limit),
		CASE(last_words_in_a_file),
		CASE(another_boots_guest_is_refused),
		CASE(no_address),
		CASE(no_image),
		CASE(it_comes_back_by_itself),
		CASE(on_demand_it_comes_when_needed),
		CASE(a_broken_one_is_remembered),
		CASE(a_silent_one_is_left),
		CASE(a_bad_verdict_file_is_none),
		CASE(when_none_works_none_is_blamed),
		CASE(strangers_do_not_matter),
	};

	if (argc >= 4 && strcmp(argv[1], "--conf") == 0)
		return guest(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
	if (!self_path(program, sizeof(program)))
		return 1;
	return cmocka_run_group_tests(tests, warm_up, NULL);
}
