/* The host's end of the link, and the backend, when memory runs out. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/backend.h"
#include "net/loop.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/mem_fail.h"
#include "vm/conn.h"
#include "vm/machine.h"
#include "vm/vm_backend.h"

/* A machine that does not run, and never will. */
struct machine {
	int waits;
};
struct machine_wait {
	int unused;
};

static struct machine_wait the_wait;

enum machine_state machine_state(const struct machine *m)
{
	(void)m;
	return MACHINE_STARTING;
}
const struct err *machine_why(const struct machine *m)
{
	(void)m;
	return NULL;
}
uint64_t machine_next_try_ms(const struct machine *m)
{
	(void)m;
	return 0;
}
bool machine_first_start(const struct machine *m)
{
	(void)m;
	return true;
}
void machine_start(struct machine *m, bool by_command)
{
	(void)m;
	(void)by_command;
}
struct vm_conn *machine_conn(struct machine *m)
{
	(void)m;
	return NULL;
}
struct machine_wait *machine_wait(struct machine *m, unsigned limit_ms,
				  void (*waited)(void *arg, const struct err *why), void *arg,
				  struct err *e)
{
	(void)limit_ms;
	(void)waited;
	(void)arg;
	(void)e;
	m->waits++;
	return &the_wait;
}
void machine_wait_cancel(struct machine_wait *w)
{
	(void)w;
}

static void never(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
	fail();
}

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	assert_null(d);
	assert_int_equal(why->code, ERR_CLOSED);
	++*(int *)arg;
}

static void fd_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	(void)to;
	assert_int_equal(fd, -1);
	assert_int_equal(why->code, ERR_CLOSED);
	++*(int *)arg;
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void run_once(struct loop *l)
{
	struct loop_timer t = { 0 };

	timer_arm(l, &t, 0, stop, l);
	loop_run(l);
	timer_disarm(l, &t);
}

static void link_and_dial(void **state)
{
	const struct vm_conn_handler nobody = { .lost = never };
	const struct dest to = { .host = "host.test", .port = 80 };
	struct loop *l;
	size_t fds, held;
	struct err e;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	fds = fds_open();
	held = mem_held;
	while (mem_fail_next()) {
		const struct vm_conn_opts o = { .loop = l };
		struct vm_conn *c;
		int fd[2], told = 0, dials = 0;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		c = vm_conn_new(fd[0], &o, &nobody, NULL, &e);
		if (!c)
			assert_int_equal(e.code, ERR_NOMEM);
		if (c && vm_conn_dial(c, VM_USER_CLIENT, &to, 1000, dialed, &told, &e))
			dials++;
		else if (c)
			assert_int_equal(e.code, ERR_NOMEM);
		vm_conn_free(c, NULL);
		run_once(l);
		run_once(l);
		assert_int_equal(told, dials);
		close(fd[1]);
		assert_int_equal(mem_held, held);
		assert_int_equal(fds_open(), fds);
	}
	loop_free(l);
}

static void on_closed(void *arg)
{
	++*(int *)arg;
}

static void backend_and_dials(void **state)
{
	const struct dest to = { .host = "host.test", .port = 80 };
	struct loop *l;
	size_t held;
	struct err e;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	held = mem_held;
	while (mem_fail_next()) {
		struct machine m = { 0 };
		const struct vm_backend_opts o = { .loop = l, .machine = &m };
		struct backend *b = vm_backend_new(&o, &e);
		int told = 0, dials = 0, closed = 0;

		if (!b) {
			assert_int_equal(e.code, ERR_NOMEM);
			continue;
		}
		if (backend_dial(b, &to, dialed, &told, &e))
			dials++;
		else
			assert_int_equal(e.code, ERR_NOMEM);
		if (vm_fd_dial(b, l, "host.test", 80, 1000, fd_dialed, &told, &e))
			dials++;
		else
			assert_int_equal(e.code, ERR_NOMEM);
		assert_int_equal(m.waits, dials);
		backend_close(b, on_closed, &closed);
		run_once(l);
		assert_int_equal(closed, 1);
		assert_int_equal(told, dials);
		assert_int_equal(mem_held, held);
	}
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_and_dial),
		cmocka_unit_test(backend_and_dials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
