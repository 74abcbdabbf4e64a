/*
 * The backend of vm-direct, and descriptors for libraries, over a machine that the test makes: its
 * functions are defined here, so that the linker takes them and not those of the library. Links
 * and guests are real.
 */
#include "tests/unit/vm_guest.h"

#include <poll.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "backend/backend.h"
#include "base/list.h"
#include "base/log.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"
#include "tests/support/until.h"
#include "vm/conn.h"
#include "vm/machine.h"
#include "vm/vm_backend.h"

/* ---- the machine ---- */

struct machine {
	struct loop *l;
	enum machine_state state;
	bool first;
	struct err why;
	struct vm_conn *conn;
	struct guest guest;
	bool has_guest;
	struct list waits;
	struct loop_post post;
	int starts, wait_calls;
	unsigned limit_ms;
	bool refuses; /* machine_wait() fails at once */
};

struct machine_wait {
	struct list node;
	struct machine *m;
	void (*waited)(void *arg, const struct err *why);
	void *arg;
};

enum machine_state machine_state(const struct machine *m)
{
	return m->state;
}
const struct err *machine_why(const struct machine *m)
{
	return m->state == MACHINE_FAILED ? &m->why : NULL;
}
uint64_t machine_next_try_ms(const struct machine *m)
{
	return m->state == MACHINE_FAILED ? loop_now_ms(m->l) + 500 : 0;
}
bool machine_first_start(const struct machine *m)
{
	return m->first && m->state == MACHINE_STARTING;
}
void machine_start(struct machine *m, bool by_command)
{
	assert_false(by_command);
	m->starts++;
	if (m->state == MACHINE_STOPPED)
		m->state = MACHINE_STARTING;
}
struct vm_conn *machine_conn(struct machine *m)
{
	return m->state == MACHINE_RUNNING ? m->conn : NULL;
}

static void serve_waits(void *arg)
{
	struct machine *m = arg;
	struct list *node;

	while (m->state != MACHINE_STARTING && (node = list_pop(&m->waits))) {
		struct machine_wait w = *CONTAINER_OF(node, struct machine_wait, node);

		mem_free(CONTAINER_OF(node, struct machine_wait, node));
		w.waited(w.arg, m->state == MACHINE_RUNNING ? NULL : &m->why);
	}
}

struct machine_wait *machine_wait(struct machine *m, unsigned limit_ms,
				  void (*waited)(void *arg, const struct err *why), void *arg,
				  struct err *e)
{
	struct machine_wait *w = m->refuses ? NULL : mem_alloc(sizeof(*w));

	m->wait_calls++;
	m->limit_ms = limit_ms;
	if (!w) {
		(void)err_set(e, ERR_NOMEM, "no machine");
		return NULL;
	}
	*w = (struct machine_wait){ .m = m, .waited = waited, .arg = arg };
	list_add_tail(&m->waits, &w->node);
	if (m->state == MACHINE_STOPPED)
		m->state = MACHINE_STARTING;
	loop_post(m->l, &m->post, serve_waits, m);
	return w;
}
void machine_wait_cancel(struct machine_wait *w)
{
	list_del(&w->node);
	mem_free(w);
}

/* ---- the test's hand on it ---- */

struct fix {
	struct loop *l;
	struct machine m;
	struct backend *b;
	size_t fds;
	struct until clock;
	bool (*until)(struct fix *);
	bool in_call;
	bool closed;
	int starts;
	struct err start_why;
	int dones;
	struct err why;
	struct stream *s;
	bool stream_closed;
	char address[ADDR_TEXT];
	int fd;
};

static void on_network(void *arg, const struct frame_network *n)
{
	struct machine *m = arg;

	(void)n;
	m->state = MACHINE_RUNNING;
	m->first = false;
	loop_post(m->l, &m->post, serve_waits, m);
}

static void on_lost(void *arg, const struct err *why)
{
	struct machine *m = arg;

	vm_conn_free(m->conn, why);
	m->conn = NULL;
	m->state = MACHINE_STARTING; /* again, after a pause of none */
	m->why = *why;
}
static const struct vm_conn_handler owner = { .network = on_network, .lost = on_lost };

static void machine_boots(struct machine *m)
{
	struct frame_hello hello = { .least = 1, .most = 1, .agent = "test" };
	struct vm_conn_opts o = { .loop = m->l };
	struct err e;
	int fd[2];

	if (m->has_guest)
		guest_end(&m->guest);
	unix_pair(fd);
	m->conn = vm_conn_new(fd[0], &o, &owner, m, &e);
	assert_non_null(m->conn);
	guest_start(&m->guest, m->l, fd[1], &hello);
	guest_network(&m->guest, true);
	m->has_guest = true;
}

static void machine_breaks(struct machine *m, enum err_code code)
{
	m->state = MACHINE_FAILED;
	(void)err_set(&m->why, code, "no VM here");
	loop_post(m->l, &m->post, serve_waits, m);
}

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

static bool done(struct fix *f)
{
	return f->dones > 0;
}
static bool running(struct fix *f)
{
	return f->m.state == MACHINE_RUNNING;
}
static bool asked(struct fix *f)
{
	return f->m.guest.resolves > 0;
}
static bool waiting_again(struct fix *f)
{
	return f->m.wait_calls > 0 && !f->m.conn;
}
static bool closed(struct fix *f)
{
	return f->closed;
}
static bool started(struct fix *f)
{
	return f->starts > 0;
}

static void on_closed(void *arg)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->closed = true;
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open(), .fd = -1 };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	until_begin(&f.clock, f.l, TEST_LIMIT_MS, &f);
	f.m.l = f.l;
	f.m.first = true;
	list_init(&f.m.waits);
	f.b = vm_backend_new(
		&(struct vm_backend_opts){ .loop = f.l, .machine = &f.m, .limit_ms = 20000 }, &e);
	*state = &f;
	return f.b ? 0 : -1;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	if (!f->closed) {
		backend_close(f->b, on_closed, f);
		run_until(f, closed);
	}
	vm_conn_free(f->m.conn, NULL);
	if (f->m.has_guest)
		guest_end(&f->m.guest);
	if (f->fd >= 0)
		close(f->fd);
	loop_unpost(&f->m.post);
	until_end(&f->clock);
	loop_free(f->l);
	return list_empty(&f->m.waits) && fds_open() == f->fds ? 0 : -1;
}

static void stream_closed(void *arg, const struct err *why)
{
	struct fix *f = arg;

	(void)why;
	f->s = NULL;
	f->stream_closed = true;
}
static const struct stream_handler stream_handler = { .closed = stream_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	assert_true(!d != !why);
	f->dones++;
	if (why)
		f->why = *why;
	if (!d)
		return;
	f->s = d->stream;
	(void)snprintf(f->address, sizeof(f->address), "%s", d->address);
	stream_attach(f->s, &stream_handler, f);
}

static struct dial *go_to(struct fix *f, const char *host, struct err *e)
{
	const struct dest to = { .host = host, .port = 443 };
	struct dial *d;

	f->in_call = true;
	d = backend_dial(f->b, &to, dialed, f, e);
	f->in_call = false;
	return d;
}

static struct dial *go(struct fix *f, const char *host)
{
	struct dial *d = go_to(f, host, NULL);

	assert_non_null(d);
	return d;
}

/* ---- dials ---- */

static void a_dial_starts_the_machine(void **state)
{
	struct fix *f = *state;

	assert_int_equal(backend_state(f->b), BACKEND_IDLE);
	go(f, "two.test");
	assert_int_equal(backend_state(f->b), BACKEND_INITIALIZING);
	assert_int_equal(f->m.limit_ms, 20000);
	machine_boots(&f->m);
	run_until(f, done);
	assert_string_equal(f->address, "192.0.2.7:443");
	assert_int_equal(backend_state(f->b), BACKEND_ACTIVE);
}

static void one_that_runs_is_not_waited_for(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	run_until(f, running);
	go(f, "192.0.2.1");
	run_until(f, done);
	assert_int_equal(f->m.wait_calls, 0);
	assert_non_null(f->s);
}

static void a_machine_that_fails(void **state)
{
	struct fix *f = *state;

	go(f, "two.test");
	machine_breaks(&f->m, ERR_TARGET);
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_TARGET);
	assert_int_equal(backend_state(f->b), BACKEND_FAILED);
}

static void a_machine_that_cannot_be_waited_for(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->m.refuses = true;
	assert_null(go_to(f, "two.test", &e));
	assert_int_equal(e.code, ERR_NOMEM);
}

static void no_vm_is_started_for_what_nobody_may_reach(void **state)
{
	struct fix *f = *state;
	struct err e;

	assert_null(go_to(f, "127.0.0.1", &e));
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(f->m.state, MACHINE_STOPPED);
}

static void an_answer_is_final(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	run_until(f, running);
	f->m.guest.mode = GUEST_REFUSES;
	f->m.guest.cause = FRAME_CAUSE_REFUSED;
	go(f, "192.0.2.1");
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_REFUSED);
	assert_int_equal(f->m.guest.opens, 1);
}

static void a_lost_link_is_waited_for_once(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	run_until(f, running);
	go(f, "silent.test");
	run_until(f, asked);
	guest_hang_up(&f->m.guest);
	run_until(f, waiting_again);
	assert_int_equal(f->dones, 0);
	machine_boots(&f->m);
	run_until(f, asked);
	guest_hang_up(&f->m.guest);
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_CLOSED);
	assert_int_equal(f->m.wait_calls, 1);
}

static void cancelled(void **state)
{
	struct fix *f = *state;
	struct dial *waits = go(f, "two.test"), *dials;

	backend_cancel(waits);
	assert_true(list_empty(&f->m.waits));
	machine_boots(&f->m);
	run_until(f, running);
	dials = go(f, "silent.test");
	run_until(f, asked);
	backend_cancel(dials);
	assert_int_equal(f->dones, 0);
}

/* ---- life ---- */

static void states(void **state)
{
	static const struct {
		enum machine_state machine;
		enum backend_state backend;
	} pairs[] = {
		{ MACHINE_STOPPED, BACKEND_IDLE },   { MACHINE_STARTING, BACKEND_INITIALIZING },
		{ MACHINE_RUNNING, BACKEND_ACTIVE }, { MACHINE_STOPPING, BACKEND_IDLE },
		{ MACHINE_FAILED, BACKEND_FAILED },
	};
	struct fix *f = *state;
	struct cJSON *o = cJSON_CreateObject();

	for (size_t i = 0; i < COUNT(pairs); i++) {
		f->m.state = pairs[i].machine;
		assert_int_equal(backend_state(f->b), pairs[i].backend);
	}
	(void)err_set(&f->m.why, ERR_TARGET, "no VM here");
	backend_describe(f->b, o);
	assert_string_equal(cJSON_GetObjectItem(o, "state")->valuestring, "failed");
	assert_string_equal(cJSON_GetObjectItem(o, "reason")->valuestring, "no VM here");
	assert_true(cJSON_GetObjectItem(o, "next_try_ms")->valuedouble > 0);
	cJSON_Delete(o);
}

static void woken(void **state)
{
	struct fix *f = *state;

	assert_false(backend_first_init(f->b));
	backend_wake(f->b);
	assert_int_equal(f->m.starts, 1);
	assert_true(backend_first_init(f->b));
	machine_boots(&f->m);
	run_until(f, running);
	assert_false(backend_first_init(f->b));
}

static void on_started(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->starts++;
	if (why)
		f->start_why = *why;
}

static void start_that_works(void **state)
{
	struct fix *f = *state;

	backend_start(f->b, on_started, f);
	assert_int_equal(f->starts, 0);
	machine_boots(&f->m);
	run_until(f, started);
	assert_int_equal(f->start_why.code, ERR_NONE);
}

static void start_that_fails(void **state)
{
	struct fix *f = *state;

	backend_start(f->b, on_started, f);
	machine_breaks(&f->m, ERR_TARGET);
	run_until(f, started);
	assert_int_equal(f->start_why.code, ERR_TARGET);
	f->m.refuses = true;
	f->starts = 0;
	backend_start(f->b, on_started, f);
	assert_int_equal(f->starts, 0);
	run_until(f, started);
	assert_int_equal(f->start_why.code, ERR_NOMEM);
}

static void closed_with_dials_under_way(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	run_until(f, running);
	go(f, "silent.test");
	f->m.state = MACHINE_STARTING;
	go(f, "two.test");
	backend_start(f->b, on_started, f);
	f->in_call = true;
	backend_close(f->b, on_closed, f);
	f->in_call = false;
	run_until(f, closed);
	assert_int_equal(f->dones, 2);
	assert_int_equal(f->starts, 1);
	assert_int_equal(f->why.code, ERR_CLOSED);
}

/* ---- descriptors ---- */

static void fd_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	assert_int_equal(fd < 0, why != NULL);
	f->dones++;
	f->fd = fd;
	if (why)
		f->why = *why;
	else
		addr_format(to, f->address);
}

static struct vm_fd_dial *fd_go(struct fix *f, const char *host, unsigned limit_ms)
{
	struct vm_fd_dial *d;

	f->in_call = true;
	d = vm_fd_dial(f->b, f->l, host, 443, limit_ms, fd_dialed, f, NULL);
	f->in_call = false;
	assert_non_null(d);
	return d;
}

static void fd_up(struct fix *f)
{
	machine_boots(&f->m);
	fd_go(f, "two.test", 20000);
	run_until(f, done);
	assert_true(f->fd >= 0);
	assert_string_equal(f->address, "192.0.2.7:443");
}

static bool readable(struct fix *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static bool guest_has_no_stream(struct fix *f)
{
	return f->m.guest.stream_count == 1 && f->m.guest.streams[0].ended;
}

static bool host_has_no_stream(struct fix *f)
{
	return vm_conn_streams(f->m.conn) == 0;
}

static void fd_carries_bytes(void **state)
{
	struct fix *f = *state;
	char got[8];

	fd_up(f);
	assert_int_equal(write(f->fd, "hello", 5), 5);
	run_until(f, readable);
	assert_int_equal(read(f->fd, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(shutdown(f->fd, SHUT_WR), 0);
	run_until(f, readable);
	assert_int_equal(read(f->fd, got, sizeof(got)), 0);
	run_until(f, guest_has_no_stream);
	run_until(f, host_has_no_stream);
}

static void fd_closed_by_the_library(void **state)
{
	struct fix *f = *state;

	fd_up(f);
	assert_int_equal(write(f->fd, "last", 4), 4);
	close(f->fd);
	f->fd = -1;
	run_until(f, guest_has_no_stream);
	run_until(f, host_has_no_stream);
}

static void heard_nothing(void *arg)
{
	(void)arg;
}
static const struct stream_handler mute = { .data = guest_data,
					    .eof = heard_nothing,
					    .closed = guest_closed };

/* The far side neither speaks nor ends, so that no event tells of it. */
static void fd_closed_before_a_far_side_that_is_mute(void **state)
{
	struct fix *f = *state;

	fd_up(f);
	stream_attach(f->m.guest.streams[0].stream, &mute, &f->m.guest.streams[0]);
	close(f->fd);
	f->fd = -1;
	run_until(f, guest_has_no_stream);
	run_until(f, host_has_no_stream);
}

static void fd_ended_by_the_far_side(void **state)
{
	struct fix *f = *state;
	char got[8];

	fd_up(f);
	stream_abort(f->m.guest.streams[0].stream);
	run_until(f, readable);
	assert_true(read(f->fd, got, sizeof(got)) <= 0);
}

static void fd_ended_by_the_death_of_the_vm(void **state)
{
	struct fix *f = *state;
	char got[8];

	fd_up(f);
	guest_hang_up(&f->m.guest);
	run_until(f, readable);
	assert_true(read(f->fd, got, sizeof(got)) <= 0);
}

static void fd_limit(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	fd_go(f, "silent.test", 50);
	run_until(f, done);
	assert_int_equal(f->fd, -1);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
}

static void fd_refused(void **state)
{
	struct fix *f = *state;

	machine_boots(&f->m);
	f->m.guest.cause = FRAME_CAUSE_NO_NAME;
	fd_go(f, "no.test", 20000);
	run_until(f, done);
	assert_int_equal(f->why.code, ERR_RESOLVE);
}

static void fd_cancelled(void **state)
{
	struct fix *f = *state;

	vm_fd_dial_cancel(fd_go(f, "two.test", 20000));
	assert_true(list_empty(&f->m.waits));
	assert_int_equal(f->dones, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_dial_starts_the_machine),
		T(one_that_runs_is_not_waited_for),
		T(a_machine_that_fails),
		T(a_machine_that_cannot_be_waited_for),
		T(no_vm_is_started_for_what_nobody_may_reach),
		T(an_answer_is_final),
		T(a_lost_link_is_waited_for_once),
		T(cancelled),
		T(states),
		T(woken),
		T(start_that_works),
		T(start_that_fails),
		T(closed_with_dials_under_way),
		T(fd_carries_bytes),
		T(fd_closed_by_the_library),
		T(fd_closed_before_a_far_side_that_is_mute),
		T(fd_ended_by_the_far_side),
		T(fd_ended_by_the_death_of_the_vm),
		T(fd_limit),
		T(fd_refused),
		T(fd_cancelled),
	};
	struct loop *first; /* the libraries' own descriptors stay */

	if (log_set_level("error", NULL) != 0 || loop_new(&first, NULL) != 0)
		return 1;
	loop_free(first);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
