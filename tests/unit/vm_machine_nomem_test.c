/* Every allocation of a machine's life fails once: nothing hangs, nothing leaks, the reason is
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/loop.h"
#include "net/self.h"
#include "tests/support/mem_fail.h"
#include "tests/unit/vm_fake_guest.h"
#include "vm/driver_impl.h"
#include "vm/machine.h"

enum { LIMIT_MS = 20000 };

struct fix {
	struct loop *l;
	struct machine *m;
	struct machine_opts opts;
	struct vm_image image;
	struct loop_timer limit;
	char dir[32];
	int told, closed;
	struct err why;
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
static const struct vm_driver fake = { "fake", VM_VIRTIO_SERIAL, false, fake_command };

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static void on_waited(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->told++;
	f->why = why ? *why : (struct err){ 0 };
	loop_stop(f->l);
}

static void on_closed(void *arg)
{
	((struct fix *)arg)->closed++;
	stop(arg);
}

static void live(struct fix *f)
{
	struct err e = { 0 };

	f->told = f->closed = 0;
	f->m = machine_new(&f->opts, &e);
	if (!f->m) {
		assert_int_equal(e.code, ERR_NOMEM);
		return;
	}
	if (machine_wait(f->m, LIMIT_MS, on_waited, f, &e)) {
		loop_run(f->l);
		assert_int_equal(f->told, 1);
		assert_true(f->why.code == ERR_NONE || f->why.code == ERR_NOMEM);
	} else {
		assert_int_equal(e.code, ERR_NOMEM);
	}
	machine_close(f->m, on_closed, f);
	loop_run(f->l);
	assert_int_equal(f->closed, 1);
}

static void every_allocation_fails_once(void **state)
{
	struct fix f = { .dir = "/tmp/awsocks-test-XXXXXX" };
	char path[64];
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(f.dir));
	assert_int_equal(vm_process_image(f.dir, "mode=ok\n", &f.image, &e), 0);
	while (mem_fail_next()) {
		if (loop_new(&f.l, &e) != 0) {
			assert_int_equal(mem_held, 0);
			continue;
		}
		f.opts = (struct machine_opts){ .loop = f.l,
						.driver = &fake,
						.spec = { .program = program,
							  .arch = "x86_64",
							  .image = &f.image,
							  .dir = f.dir },
						.boot_ms = LIMIT_MS,
						.on_demand = true };
		timer_arm(f.l, &f.limit, LIMIT_MS, stop, &f);
		live(&f);
		assert_true(timer_armed(&f.limit));
		timer_disarm(f.l, &f.limit);
		loop_free(f.l);
		assert_int_equal(mem_held, 0);
	}
	snprintf(path, sizeof(path), "%s/starts", f.dir);
	unlink(path);
	unlink(f.image.initrd);
	rmdir(f.dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once) };

	if (argc >= 4 && strcmp(argv[1], "--conf") == 0)
		return guest(argv[2], argv[3], NULL);
	if (!self_path(program, sizeof(program)))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
