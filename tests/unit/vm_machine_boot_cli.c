/*
 * Boots a VM by hand, or for a test:
 *
 *     vm_machine_boot_cli DRIVER PROGRAM ARCH AGENT KERNEL MODULES ACCEL TIMES
 *
 * e.g. qemu /usr/bin/qemu-system-x86_64 x86_64 build/awsocks-agent /boot/vmlinuz-...
 * /lib/modules/... ladder 3. DRIVER: qemu, or process (KERNEL and MODULES are then not looked at).
 * ACCEL: kvm, hvf, tcg, or ladder. For each time a line of JSON with what machine_describe() says
 * when it runs, then it is powered off. The VMM goes through the spawner, judged by
 * vm_spawn_decide(), as in awsocks. CONSOLE=1 in the environment: the guest's console goes to
 * standard error at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "net/loop.h"
#include "net/spawner.h"
#include "vm/machine.h"

enum { WAIT_MS = 120000 };

struct boot {
	struct loop *loop;
	struct spawner *spawner;
	struct machine *machine;
	struct vm_image image;
	struct vm_spec spec;
	struct vm_bounds bounds;
	const struct vm_driver *driver;
	char dir[64], verdicts[80];
	long times;
	struct err why;
};

static void finish(void *arg)
{
	struct boot *b = arg;

	b->machine = NULL;
	loop_stop(b->loop);
}

static void boot(struct boot *b);

static void show_console(const struct boot *b)
{
	static char text[64 * 1024]; /* once */

	if (b->spec.console)
		(void)fwrite(text, 1, machine_console(b->machine, text, sizeof(text)), stderr);
}

static void on_waited(void *arg, const struct err *why)
{
	struct boot *b = arg;
	cJSON *o = cJSON_CreateObject();
	char *text;

	machine_describe(b->machine, o);
	text = cJSON_PrintUnformatted(o);
	puts(text);
	fflush(stdout);
	cJSON_free(text);
	cJSON_Delete(o);
	if (why || b->times == 1)
		show_console(b);
	if (why) {
		b->why = *why;
		b->times = 0;
		machine_close(b->machine, finish, b);
	} else if (--b->times <= 0) {
		machine_close(b->machine, finish, b);
	} else {
		machine_stop(b->machine);
	}
}

static void boot(struct boot *b)
{
	if (!machine_wait(b->machine, WAIT_MS, on_waited, b, &b->why))
		machine_close(b->machine, finish, b);
}

static void on_changed(void *arg)
{
	struct boot *b = arg;

	if (!b->machine || machine_state(b->machine) != MACHINE_STOPPED || b->times <= 0)
		return;
	machine_start(b->machine, true);
	boot(b);
}

static int make_image(struct boot *b, char **argv, struct err *e)
{
	const struct vm_image_opts o = { .arch = argv[3],
					 .agent = argv[4],
					 .kernel = argv[5],
					 .modules = argv[6],
					 .dir = b->dir,
					 .transport = b->driver->transport };

	if (b->driver == &vm_driver_process)
		return vm_process_image(b->dir, "", &b->image, e);
	return vm_image_make(&o, &b->image, e);
}

static enum vm_accel accel_of(const char *name)
{
	for (int a = VM_ACCEL_NONE; a <= VM_ACCEL_TCG; a++)
		if (strcmp(name, vm_accel_name((enum vm_accel)a)) == 0)
			return (enum vm_accel)a;
	return VM_ACCEL_NONE;
}

static int start_spawner(struct boot *b, struct err *e)
{
	/* The spawner has its copy of all this. */
	const struct spawn_rule rule = { .kind = SPAWN_QEMU,
					 .program = b->spec.program,
					 .decide = vm_spawn_decide,
					 .arg = &b->bounds };
	const struct spawner_opts o = { .rule = &rule, .rules = 1 };

	b->bounds = (struct vm_bounds){ b->driver, &b->spec };
	return spawner_new(&b->spawner, &o, e) == 0 || e->code == ERR_UNSUPPORTED ? 0 : -1;
}

static int prepare(struct boot *b, char **argv, struct err *e)
{
	struct machine_opts o = { .changed = on_changed, .arg = b, .verdicts = b->verdicts };

	b->driver = strcmp(argv[1], "process") == 0 ? &vm_driver_process : &vm_driver_qemu;
	b->times = strtol(argv[8], NULL, 10);
	b->spec = (struct vm_spec){ .program = b->driver == &vm_driver_process ? argv[4] : argv[2],
				    .arch = argv[3],
				    .image = &b->image,
				    .dir = b->dir,
				    .memory_mib = 128,
				    .cpus = 1,
				    .mac = { 0x5a, 0x94, 0xef, 0, 0, 1 },
				    .console = getenv("CONSOLE") != NULL };
	(void)str_fmt(b->verdicts, sizeof(b->verdicts), "%s/verdicts", b->dir);
	if (make_image(b, argv, e) != 0 || start_spawner(b, e) != 0 || loop_new(&b->loop, e) != 0)
		return -1;
	if (b->spawner && spawner_attach(b->spawner, b->loop, e) != 0)
		return -1;
	o.loop = b->loop;
	o.driver = b->driver;
	o.spec = b->spec;
	o.accel = accel_of(argv[7]);
	b->machine = machine_new(&o, e);
	return b->machine ? 0 : -1;
}

static void remove_dir(const struct boot *b)
{
	static const char *const names[] = { "verdicts", "conf", "initrd", "kernel" };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)str_fmt(path, sizeof(path), "%s/%s", b->dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(b->dir);
}

int main(int argc, char **argv)
{
	struct boot b = { .dir = "/tmp/awsocks-boot-XXXXXX" };

	if (argc != 9 || !mkdtemp(b.dir)) {
		fputs("usage: DRIVER PROGRAM ARCH AGENT KERNEL MODULES ACCEL TIMES\n", stderr);
		return 64;
	}
	if (prepare(&b, argv, &b.why) == 0) {
		boot(&b);
		loop_run(b.loop);
	}
	spawner_free(b.spawner);
	if (b.loop)
		loop_free(b.loop);
	remove_dir(&b);
	if (b.why.code)
		fprintf(stderr, "%s\n", b.why.msg);
	return b.why.code ? 1 : 0;
}
