/*
 * Command lines of the VMMs, and what the spawner lets through of them: exactly these, and none of
 * the many by which QEMU runs a program, opens a file or listens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/spawner.h"
#include "vm/driver.h"

static struct vm_image image = { .kernel = "/k/vm,linuz", .initrd = "/d/initrd" };
static const struct vm_spec spec = { .program = "/usr/bin/qemu-system-x86_64",
				     .arch = "x86_64",
				     .accel = VM_ACCEL_TCG,
				     .image = &image,
				     .dir = "/d",
				     .memory_mib = 128,
				     .cpus = 1,
				     .mac = { 0x5a, 0x94, 0xef, 1, 2, 3 } };

static struct vm_command c; /* cmocka runs one test at a time */

static void make(const struct vm_driver *d, const struct vm_spec *s)
{
	struct err e = { 0 };

	if (d->command(s, &c, &e) != 0)
		fail_msg("%s", e.msg);
}

static bool has(const char *word)
{
	for (size_t i = 0; c.argv[i]; i++)
		if (strcmp(c.argv[i], word) == 0)
			return true;
	return false;
}

/* `value` is the word behind `option`. */
static bool has_pair(const char *option, const char *value)
{
	for (size_t i = 0; c.argv[i]; i++)
		if (strcmp(c.argv[i], option) == 0 && c.argv[i + 1] &&
		    strcmp(c.argv[i + 1], value) == 0)
			return true;
	return false;
}

static bool mentions(const char *part)
{
	for (size_t i = 0; c.argv[i]; i++)
		if (strstr(c.argv[i], part))
			return true;
	return false;
}

static void qemu_line(void **state)
{
	(void)state;
	make(&vm_driver_qemu, &spec);
	assert_string_equal(c.argv[0], spec.program);
	assert_null(c.argv[c.count]);
	assert_true(has("-nodefaults") && has("-no-user-config") && has("-no-reboot"));
	assert_true(has_pair("-accel", "tcg,tb-size=32") && has_pair("-cpu", "max,-erms,-fsrm"));
	assert_true(has_pair("-m", "128") && has_pair("-smp", "1"));
	/* a word by itself: its commas are not doubled */
	assert_true(has_pair("-kernel", "/k/vm,linuz"));
	assert_true(has_pair("-initrd", "/d/initrd"));
	assert_true(has_pair("-chardev", "socket,id=c0,fd=0"));
	assert_true(has_pair("-netdev", "user,id=n0"));
	assert_true(mentions("mac=5a:94:ef:01:02:03") && mentions("romfile=,"));
	assert_false(mentions("hostfwd") || mentions("-monitor") || mentions("fd=1"));
	assert_string_equal(c.listen, "");
}

static void qemu_varieties(void **state)
{
	struct vm_spec s = spec;

	(void)state;
	s.accel = VM_ACCEL_KVM;
	make(&vm_driver_qemu, &s);
	assert_true(has_pair("-accel", "kvm") && has_pair("-cpu", "host"));
	s.arch = "aarch64";
	s.console = true;
	make(&vm_driver_qemu, &s);
	assert_true(has_pair("-M", "virt") && has_pair("-serial", "chardev:k0"));
	assert_true(has_pair("-chardev", "socket,id=k0,fd=1") && mentions("console=ttyAMA0"));
	s.accel = VM_ACCEL_TCG;
	make(&vm_driver_qemu, &s);
	assert_true(has_pair("-M", "virt,gic-version=3") && has_pair("-cpu", "cortex-a72"));
	s.accel = VM_ACCEL_HVF;
	make(&vm_driver_qemu, &s);
	assert_true(has_pair("-accel", "hvf") && has_pair("-cpu", "host"));
}

static void vfkit_line(void **state)
{
	struct vm_spec s = spec;
	char dir[200];
	struct err e = { 0 };

	(void)state;
	make(&vm_driver_vfkit, &s);
	assert_string_equal(c.listen, "/d/link.sock");
	assert_true(has_pair("--device", "virtio-vsock,port=5000,socketURL=/d/link.sock,listen"));
	assert_true(has_pair("--device", "virtio-net,nat,mac=5a:94:ef:01:02:03"));
	assert_true(has_pair("--kernel", "/k/vm,linuz"));
	assert_false(mentions("hvc0") || mentions("logFilePath") || *c.console);
	s.console = true;
	make(&vm_driver_vfkit, &s);
	assert_true(has_pair("--device", "virtio-serial,logFilePath=/d/console"));
	assert_string_equal(c.console, "/d/console");
	s.dir = "/with,comma";
	assert_int_equal(vm_driver_vfkit.command(&s, &c, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[103 - strlen("/link.sock")] = '\0';
	s.dir = dir;
	make(&vm_driver_vfkit, &s); /* as long as it may be */
	assert_int_equal(strlen(c.listen), 103);
	dir[103 - strlen("/link.sock")] = 'd';
	dir[104 - strlen("/link.sock")] = '\0';
	assert_int_equal(vm_driver_vfkit.command(&s, &c, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
}

static void too_long(void **state)
{
	struct vm_spec s = spec;
	char *program = test_malloc(VM_ARG_TEXT + 1);
	struct err e = { 0 };

	(void)state;
	memset(program, 'p', VM_ARG_TEXT);
	program[VM_ARG_TEXT] = '\0';
	s.program = program;
	assert_int_equal(vm_driver_qemu.command(&s, &c, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	test_free(program);
}

/* ---- what the spawner allows ---- */

static int judge(const char *const *argv)
{
	const struct vm_bounds bounds = { &vm_driver_qemu, &spec };
	const struct spawn_request q = { .kind = SPAWN_QEMU, .argv = argv, .own_group = true };
	struct err e = { 0 };
	int result = vm_spawn_decide((void *)(uintptr_t)&bounds, &q, &e);

	assert_true(result == 0 || (e.code == ERR_DENIED && *e.msg));
	return result;
}

static void ours_may_run(void **state)
{
	struct vm_spec s = spec;

	(void)state;
	for (int accel = VM_ACCEL_NONE; accel <= VM_ACCEL_TCG; accel++) {
		s.accel = (enum vm_accel)accel;
		make(&vm_driver_qemu, &s);
		assert_int_equal(judge(c.argv), 0);
	}
}

static void anything_else_may_not(void **state)
{
	static const char *const further[][3] = {
		{ "-netdev", "tap,id=x,script=/tmp/evil" },
		{ "-netdev", "user,id=x,guestfwd=tcp:10.0.2.9:1-cmd:/bin/sh" },
		{ "-netdev", "user,id=x,hostfwd=tcp::2222-:22" },
		{ "-netdev", "user,id=x,smb=/" },
		{ "-netdev", "bridge,id=x,helper=/tmp/evil" },
		{ "-nic", "user,hostfwd=tcp::1-:1" },
		{ "-monitor", "stdio" },
		{ "-qmp", "unix:/tmp/q,server=on" },
		{ "-mon", "chardev=c0" },
		{ "-chardev", "pipe,id=x,path=/tmp/p" },
		{ "-chardev", "file,id=x,path=/home/u/.ssh/authorized_keys" },
		{ "-chardev", "socket,id=x,port=1,host=0.0.0.0,server=on" },
		{ "-drive", "file=/etc/passwd,format=raw" },
		{ "-hda", "/etc/shadow" },
		{ "-fsdev", "local,id=x,path=/,security_model=none" },
		{ "-virtfs", "local,path=/,mount_tag=x,security_model=none" },
		{ "-device", "vhost-user-fs-pci,chardev=c0" },
		{ "-device", "virtio-net-pci,romfile=/etc/shadow" },
		{ "-incoming", "exec:/bin/sh" },
		{ "-sandbox", "off" },
		{ "-plugin", "/tmp/evil.so" },
		{ "-L", "/tmp" },
		{ "-bios", "/tmp/evil" },
		{ "-readconfig", "/tmp/evil" },
		{ "-D", "/home/u/.bashrc" },
		{ "-pidfile", "/home/u/.bashrc" },
		{ "-gdb", "tcp::1234" },
		{ "-s", NULL },
		{ "-vnc", ":0" },
		{ "-daemonize", NULL },
		{ "-trace", "file=/home/u/x" },
		{ "", NULL },
	};
	const char *argv[VM_ARGS_MAX + 3];

	(void)state;
	make(&vm_driver_qemu, &spec);
	for (size_t i = 0; i < sizeof(further) / sizeof(further[0]); i++) {
		size_t n = c.count, k = 0;

		memcpy(argv, c.argv, n * sizeof(argv[0]));
		while (k < 2 && further[i][k])
			argv[n++] = further[i][k++];
		argv[n] = NULL;
		assert_int_equal(judge(argv), -1); /* behind */
		memmove(argv + 1 + k, c.argv + 1, c.count * sizeof(argv[0]));
		memcpy(argv + 1, further[i], k * sizeof(argv[0]));
		assert_int_equal(judge(argv), -1); /* in front */
	}
}

/* Each word of it, left out or changed. */
static void every_word_counts(void **state)
{
	static const char *const files[] = { "/k/vm,linuz", "/d/initrd" };
	const char *argv[VM_ARGS_MAX + 1];
	char changed[1024];

	(void)state;
	make(&vm_driver_qemu, &spec);
	for (size_t i = 0; i < c.count; i++) {
		memcpy(argv, c.argv, sizeof(c.argv));
		memmove(argv + i, c.argv + i + 1, (c.count - i) * sizeof(argv[0]));
		if (i > 0)
			assert_int_equal(judge(argv), -1);
		memcpy(argv, c.argv, sizeof(c.argv));
		snprintf(changed, sizeof(changed), "%s,x", c.argv[i]);
		argv[i] = changed;
		assert_int_equal(judge(argv), -1);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		memcpy(argv, c.argv, sizeof(c.argv));
		for (size_t k = 0; argv[k]; k++)
			if (strcmp(argv[k], files[i]) == 0)
				argv[k] = "/etc/shadow";
		assert_int_equal(judge(argv), -1);
	}
}

static void only_a_group_of_its_own(void **state)
{
	const struct vm_bounds bounds = { &vm_driver_qemu, &spec };
	struct spawn_request q = { .kind = SPAWN_QEMU, .argv = c.argv, .own_group = true };
	void *arg = (void *)(uintptr_t)&bounds;
	struct err e = { 0 };

	(void)state;
	make(&vm_driver_qemu, &spec);
	assert_int_equal(vm_spawn_decide(arg, &q, &e), 0);
	q.cwd = "/tmp";
	assert_int_equal(vm_spawn_decide(arg, &q, &e), -1);
	q.cwd = NULL;
	q.own_group = false;
	assert_int_equal(vm_spawn_decide(arg, &q, &e), -1);
}

/* ---- others ---- */

static void ladder(void **state)
{
	enum vm_accel accel[3];
	size_t n = 0;

	(void)state;
	vm_accel_ladder("m68k", accel, &n);
	assert_int_equal(n, 1);
	assert_int_equal(accel[0], VM_ACCEL_TCG);
	vm_accel_ladder(vm_host_arch(), accel, &n);
	assert_in_range(n, 1, 3);
	assert_int_equal(accel[n - 1], VM_ACCEL_TCG);
	assert_string_equal(vm_accel_name(VM_ACCEL_KVM), "kvm");
	assert_string_equal(vm_accel_name(VM_ACCEL_NONE), "none");
}

static void settings_of_a_process(void **state)
{
	char dir[] = "/tmp/awsocks-test-XXXXXX", text[256] = "";
	uint8_t nonce[FRAME_NONCE];
	struct vm_image im;
	struct vm_spec s = spec;
	struct err e = { 0 };
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(vm_process_image(dir, "log=debug\n", &im, &e), 0);
	f = fopen(im.initrd, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, sizeof(text) - 1, f) == im.initrd_size);
	fclose(f);
	assert_int_equal(strncmp(text, "nonce=000", 9), 0);
	assert_int_equal(im.nonce_at, 6);
	assert_int_equal(text[6 + 2 * sizeof(nonce)], '\n');
	assert_non_null(strstr(text, "\ntransport=stdin\n"));
	assert_non_null(strstr(text, "\nlog=debug\n"));
	s.image = &im;
	make(&vm_driver_process, &s);
	assert_int_equal(c.count, 3);
	assert_string_equal(c.argv[1], "--conf");
	assert_string_equal(c.argv[2], im.initrd);
	unlink(im.initrd);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_line),
		cmocka_unit_test(qemu_varieties),
		cmocka_unit_test(vfkit_line),
		cmocka_unit_test(too_long),
		cmocka_unit_test(ours_may_run),
		cmocka_unit_test(anything_else_may_not),
		cmocka_unit_test(every_word_counts),
		cmocka_unit_test(only_a_group_of_its_own),
		cmocka_unit_test(ladder),
		cmocka_unit_test(settings_of_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
