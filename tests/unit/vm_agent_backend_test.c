/*
 * The backend of vm-direct over a real machine, whose VM is the agent as a process (or something
 * that only says so): what clients of the route see when it dies, hangs or talks nonsense, and that
 * service returns by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "backend/backend.h"
#include "base/log.h"
#include "net/loop.h"
#include "stream/stream.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/until.h"
#include "tests/unit/vm_apart.h"
#include "vm/machine.h"
#include "vm/vm_backend.h"

enum { GRANT = 64 * 1024, FLOWS = 4 };

struct flow {
	struct stream *s;
	uint64_t moved;
	bool answered, ended;
	struct err why;
};
struct fix {
	struct loop *l;
	struct machine *m;
	struct backend *b;
	struct vm_image image;
	char dir[64], script[96];
	size_t fds;
	struct until clock;
	bool (*until)(struct fix *);
	bool backend_closed, machine_closed;
	struct flow flows[FLOWS];
	size_t count;
	int fd;
	bool fd_answered;
	pid_t pid; /* the last that was seen */
};

/* ---- running ---- */

static bool is_so(void *arg)
{
	struct fix *f = arg;

	return f->until(f);
}

static void run_until(struct fix *f, bool (*until)(struct fix *))
{
	f->until = until;
	until_so(&f->clock, is_so);
}

static bool all_answered(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->flows[i].answered)
			return false;
	return true;
}
static bool all_ended(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->flows[i].ended)
			return false;
	return true;
}
static bool last_moves(struct fix *f)
{
	return f->flows[f->count - 1].moved > 8 * 1024 * 1024;
}
static bool closed(struct fix *f)
{
	return f->backend_closed && (!f->m || f->machine_closed);
}

/* ---- dials ---- */

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct flow *w = arg;

	(void)p;
	w->moved += n;
	stream_credit(w->s, n);
}
static void on_closed(void *arg, const struct err *why)
{
	struct flow *w = arg;

	w->s = NULL;
	w->ended = true;
	if (why)
		w->why = *why;
}
static const struct stream_handler handler = { .data = on_data, .closed = on_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct flow *w = arg;

	w->answered = true;
	if (why) {
		w->why = *why;
		return;
	}
	w->s = d->stream;
	stream_attach(w->s, &handler, w);
	stream_credit(w->s, GRANT);
}

static struct flow *dial_to(struct fix *f, const char *host, uint16_t port)
{
	const struct dest to = { .host = host, .port = port };
	struct flow *w = &f->flows[f->count++];

	*w = (struct flow){ 0 };
	assert_non_null(backend_dial(f->b, &to, dialed, w, NULL));
	return w;
}

/* ---- the machine ---- */

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open(), .dir = "/tmp/vm_agent_backend.XXXXXX", .fd = -1 };
	if (!mkdtemp(f.dir) || loop_new(&f.l, &e) != 0)
		return -1;
	if (vm_process_image(f.dir,
			     "address=10.0.2.15/24\ngateway=10.0.2.2\ndns=10.0.2.3\nlog=warn\n",
			     &f.image, &e) != 0)
		return -1;
	until_begin(&f.clock, f.l, TEST_LIMIT_MS, &f);
	*state = &f;
	return 0;
}

static void begin(struct fix *f, const char *program, unsigned boot_ms)
{
	const struct machine_opts o = { .loop = f->l,
					.driver = &vm_driver_process,
					.spec = { .program = program,
						  .arch = vm_host_arch(),
						  .image = &f->image,
						  .dir = f->dir },
					.boot_ms = boot_ms,
					.pause_ms = 50 };
	struct vm_backend_opts b = { .loop = f->l, .limit_ms = TEST_LIMIT_MS / 2 };
	struct err e;

	f->m = machine_new(&o, &e);
	assert_non_null(f->m);
	b.machine = f->m;
	f->b = vm_backend_new(&b, &e);
	assert_non_null(f->b);
}

/* A program that takes the agent's place. */
static void begin_script(struct fix *f, const char *text, unsigned boot_ms)
{
	FILE *o;

	(void)snprintf(f->script, sizeof(f->script), "%s/vmm", f->dir);
	o = fopen(f->script, "we");
	assert_non_null(o);
	assert_true(fputs(text, o) > 0);
	assert_int_equal(fclose(o), 0);
	assert_int_equal(chmod(f->script, 0700), 0);
	begin(f, f->script, boot_ms);
}

static pid_t pid_of(struct fix *f)
{
	struct cJSON *o = cJSON_CreateObject();
	const struct cJSON *pid;

	machine_describe(f->m, o);
	pid = cJSON_GetObjectItem(o, "pid");
	f->pid = pid ? (pid_t)pid->valuedouble : 0;
	cJSON_Delete(o);
	return f->pid;
}

static void begin_agent(struct fix *f)
{
	if (!apart)
		skip();
	begin(f, agent, 0);
	dial_to(f, HOST, ports[SOURCE]);
	run_until(f, last_moves);
	assert_true(pid_of(f) > 0);
}

static void on_backend_closed(void *arg)
{
	struct fix *f = arg;

	f->backend_closed = true;
}

static void on_machine_closed(void *arg)
{
	struct fix *f = arg;

	f->machine_closed = true;
}

static int teardown(void **state)
{
	struct fix *f = *state;
	char conf[128];

	if (f->b) {
		backend_close(f->b, on_backend_closed, f);
		machine_close(f->m, on_machine_closed, f);
		run_until(f, closed);
	}
	for (size_t i = 0; i < f->count; i++)
		if (f->flows[i].s)
			stream_abort(f->flows[i].s);
	if (f->fd >= 0)
		close(f->fd);
	until_end(&f->clock);
	loop_free(f->l);
	(void)snprintf(conf, sizeof(conf), "%s/conf", f->dir);
	(void)unlink(conf);
	if (f->script[0])
		(void)unlink(f->script);
	(void)rmdir(f->dir);
	if (f->pid > 0 && kill(f->pid, 0) == 0)
		return -1; /* it was left behind */
	return fds_open() == f->fds ? 0 : -1;
}

/* ---- tests ---- */

static void service_returns_after_the_agent_was_killed(void **state)
{
	struct fix *f = *state;
	pid_t first;

	begin_agent(f);
	first = f->pid;
	assert_int_equal(kill(first, SIGKILL), 0);
	run_until(f, all_ended);
	assert_true(f->flows[0].why.code == ERR_CLOSED || f->flows[0].why.code == ERR_RESET);
	dial_to(f, HOST, ports[SOURCE]);
	run_until(f, last_moves);
	assert_true(pid_of(f) > 0 && f->pid != first);
}

static bool has_stopped(struct fix *f)
{
	return machine_state(f->m) == MACHINE_STOPPED;
}

static void stopped_by_command(void **state)
{
	struct fix *f = *state;

	begin_agent(f);
	machine_stop(f->m);
	run_until(f, has_stopped);
	run_until(f, all_ended);
	dial_to(f, HOST, ports[SOURCE]);
	run_until(f, all_answered);
	assert_int_equal(f->flows[1].why.code, ERR_CLOSED);
	assert_int_equal(backend_state(f->b), BACKEND_IDLE);
	machine_start(f->m, true);
	dial_to(f, HOST, ports[SOURCE]);
	run_until(f, last_moves);
}

static void causes_reach_the_client(void **state)
{
	struct fix *f = *state;
	uint16_t port = 0;

	begin_agent(f);
	close(listen_on(&port));
	dial_to(f, HOST, port);
	dial_to(f, "198.51.100.1", 80);
	dial_to(f, "localhost", 80);
	run_until(f, all_answered);
	assert_int_equal(f->flows[1].why.code, ERR_REFUSED);
	assert_int_equal(f->flows[2].why.code, ERR_NETUNREACH);
	assert_int_equal(f->flows[3].why.code, ERR_DENIED);
}

static void a_vm_that_talks_nonsense(void **state)
{
	struct fix *f = *state;

	begin_script(f, "#!/bin/sh\nexec head -c 1000000 /dev/zero >&0\n", 0);
	dial_to(f, HOST, 80);
	run_until(f, all_answered);
	assert_int_equal(f->flows[0].why.code, ERR_PROTO);
	/* or the next try has begun */
	assert_true(backend_state(f->b) == BACKEND_FAILED ||
		    backend_state(f->b) == BACKEND_INITIALIZING);
}

static void a_vm_that_says_nothing(void **state)
{
	struct fix *f = *state;

	begin_script(f, "#!/bin/sh\nexec sleep 1000\n", 300);
	dial_to(f, HOST, 80);
	run_until(f, all_answered);
	assert_int_equal(f->flows[0].why.code, ERR_TIMEOUT);
	(void)pid_of(f);
}

static void a_vm_that_cannot_run(void **state)
{
	struct fix *f = *state;

	begin(f, "/nonexistent/vmm", 0);
	dial_to(f, HOST, 80);
	run_until(f, all_answered);
	assert_true(f->flows[0].why.code != ERR_NONE && f->flows[0].why.code != ERR_TIMEOUT);
}

/* ---- a descriptor, as AWS's libraries have it ---- */

static void fd_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct fix *f = arg;

	(void)to;
	assert_int_equal(fd < 0, why != NULL);
	f->fd = fd;
	f->fd_answered = true;
}

static bool fd_answered(struct fix *f)
{
	return f->fd_answered;
}

static bool fd_has_something(struct fix *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Reads what there is. False: its end. */
static bool fd_drain(struct fix *f)
{
	char p[4096];
	ssize_t n;

	do
		n = read(f->fd, p, sizeof(p));
	while (n > 0);
	return n < 0 && errno == EAGAIN;
}

static void a_descriptor(void **state)
{
	struct fix *f = *state;

	begin_agent(f);
	assert_non_null(vm_fd_dial(f->b, f->l, HOST, ports[SOURCE], 0, fd_dialed, f, NULL));
	run_until(f, fd_answered);
	assert_true(f->fd >= 0);
	run_until(f, fd_has_something);
	assert_true(fd_drain(f));
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	while (fd_drain(f))
		run_until(f, fd_has_something);
	run_until(f, all_ended);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(service_returns_after_the_agent_was_killed),
		T(stopped_by_command),
		T(causes_reach_the_client),
		T(a_vm_that_talks_nonsense),
		T(a_vm_that_says_nothing),
		T(a_vm_that_cannot_run),
		T(a_descriptor),
	};
	struct loop *first; /* the libraries' own descriptors stay */
	int failed;

	find_agent(argc > 1 ? argv[1] : argv[0]);
	apart = go_apart();
	if (log_set_level("error", NULL) != 0 || loop_new(&first, NULL) != 0)
		return 1;
	loop_free(first);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	apart_end();
	return failed;
}
