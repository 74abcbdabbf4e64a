/* Listening sockets: TCP, Unix paths of all ages, shortage of descriptors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/listen.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tcp.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

struct fix {
	struct loop *l;
	size_t fds;
	struct loop_timer limit;
	char dir[64], path[96];
	struct addr at;
	int fd[64];
	size_t n, stop_at;
	struct addr peer;
	struct listen_socket *close_in_callback;
	bool late, limited;
	struct listen_socket *gated;
	size_t places, waited;
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	f->late = true;
	loop_stop(f->l);
}

static int setup(void **state)
{
	static struct fix f;
	char text[128];
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	snprintf(f.dir, sizeof(f.dir), "/tmp/listen-test-XXXXXX");
	if (loop_new(&f.l, &e) != 0 || !mkdtemp(f.dir))
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	snprintf(f.path, sizeof(f.path), "%s/s", f.dir);
	snprintf(text, sizeof(text), "unix:%s", f.path);
	*state = &f;
	return addr_parse(text, &f.at, &e);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	while (f->n)
		close(f->fd[--f->n]);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	unlink(f->path);
	return rmdir(f->dir) == 0 && fds_open() == f->fds ? 0 : -1;
}

static void accepted(void *arg, int fd, const struct addr *peer)
{
	struct fix *f = arg;

	f->fd[f->n++] = fd;
	f->peer = *peer;
	if (f->close_in_callback)
		listen_close(f->close_in_callback);
	if (f->n >= f->stop_at)
		loop_stop(f->l);
}

static struct listen_socket *open_at(struct fix *f, const char *text)
{
	struct listen_socket *ls;
	struct addr a;
	struct err e = { 0 };

	assert_int_equal(addr_parse(text, &a, &e), 0);
	ls = listen_open(f->l, &a, accepted, f, &e);
	if (!ls)
		fail_msg("%s", e.msg);
	return ls;
}

static int dial(const struct addr *a)
{
	int fd = sock_cloexec(socket(a->ss.ss_family, SOCK_STREAM, 0));

	if (connect(fd, (const struct sockaddr *)&a->ss, a->len) == 0)
		return fd;
	close(fd);
	return -1;
}

static void tcp_accepts(void **state)
{
	static const char *const where[] = { "127.0.0.1:0", "[::1]:0" };
	struct fix *f = *state;
	size_t i;

	for (i = 0; i < 2; i++) {
		struct listen_socket *ls = open_at(f, where[i]);
		int c, on = 0;

		assert_int_not_equal(addr_port(listen_addr(ls)), 0);
		c = dial(listen_addr(ls));
		assert_true(c >= 0);
		f->stop_at = i + 1;
		loop_run(f->l);
		assert_int_equal(f->n, i + 1);
		assert_true(fcntl(f->fd[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(f->fd[i], F_GETFD) & FD_CLOEXEC);
		assert_int_equal(getsockopt(f->fd[i], SOL_SOCKET, SO_KEEPALIVE, &on,
					    &(socklen_t){ sizeof(on) }),
				 0);
		assert_true(on); /* inherited */
		assert_true(addr_is_loopback(&f->peer));
		close(c);
		listen_close(ls);
	}
}

static void burst_is_taken_whole(void **state)
{
	struct fix *f = *state;
	struct listen_socket *ls = open_at(f, "127.0.0.1:0");
	int c[40], i;

	for (i = 0; i < 40; i++)
		assert_true((c[i] = dial(listen_addr(ls))) >= 0);
	f->stop_at = 40;
	loop_run(f->l);
	assert_false(f->late);
	assert_int_equal(f->n, 40);
	for (i = 0; i < 40; i++)
		close(c[i]);
	listen_close(ls);
}

static void may_close_in_its_callback(void **state)
{
	struct fix *f = *state;
	struct listen_socket *ls = open_at(f, "127.0.0.1:0");
	int c = dial(listen_addr(ls)), d = dial(listen_addr(ls));

	f->close_in_callback = ls;
	loop_run(f->l);
	assert_int_equal(f->n, 1);
	close(c);
	close(d);
}

static void port_in_use_is_an_error(void **state)
{
	struct fix *f = *state;
	struct listen_socket *ls = open_at(f, "127.0.0.1:0");
	struct err e = { 0 };

	assert_null(listen_open(f->l, listen_addr(ls), accepted, f, &e));
	assert_int_equal(e.sys, EADDRINUSE);
	assert_non_null(strstr(e.msg, "listen at 127.0.0.1:"));
	listen_close(ls);
}

/* ---- several sockets at one address ---- */

struct counter {
	struct fix *f;
	unsigned count;
};

static void counted(void *arg, int fd, const struct addr *peer)
{
	struct counter *c = arg;

	c->count++;
	accepted(c->f, fd, peer);
}

static void sharing_spreads_or_is_unsupported(void **state)
{
	enum { SOCKETS = 3, CALLS = 60 };
	struct fix *f = *state;
	struct listen_bound b[SOCKETS], other;
	struct listen_socket *ls[SOCKETS];
	struct counter n[SOCKETS];
	struct err e = { 0 };
	struct addr a, at;
	int c[CALLS];

	assert_int_equal(addr_parse("127.0.0.1:0", &a, &e), 0);
	assert_int_equal(listen_bind(&b[0], &a, 0, &e), 0);
	at = b[0].addr;
	if (sock_share_port(b[0].fd) != 0) {
		assert_int_equal(listen_bind_more(&b[0], &b[1], &e), -1);
		assert_int_equal(e.code, ERR_UNSUPPORTED);
		assert_int_equal(b[1].fd, -1);
		listen_drop(&b[0]);
		return;
	}
	for (int i = 1; i < SOCKETS; i++)
		assert_int_equal(listen_bind_more(&b[0], &b[i], &e), 0);
	for (int i = 0; i < SOCKETS; i++) {
		assert_int_equal(addr_port(&b[i].addr), addr_port(&at));
		n[i] = (struct counter){ .f = f };
		assert_non_null(ls[i] = listen_serve(f->l, &b[i], counted, &n[i], &e));
		assert_int_equal(b[i].fd, -1);
	}
	/* nobody else of this user slips in */
	assert_int_equal(listen_bind(&other, &at, 0, &e), -1);
	assert_int_equal(e.sys, EADDRINUSE);
	for (int i = 0; i < CALLS; i++)
		assert_true((c[i] = dial(&at)) >= 0);
	f->stop_at = CALLS;
	loop_run(f->l);
	assert_false(f->late);
	for (int i = 0; i < SOCKETS; i++) { /* by chance none: once in 10^10 */
		assert_int_not_equal(n[i].count, 0);
		listen_close(ls[i]);
	}
	for (int i = 0; i < CALLS; i++)
		close(c[i]);
}

/* As on a system that wants the option before the first one is bound. */
static void an_address_that_is_not_shared_has_one_socket(void **state)
{
	struct listen_bound first, other, more;
	struct addr a;
	struct err e;
	int shares;

	(void)state;
	assert_int_equal(addr_parse("127.0.0.1:0", &a, &e), 0);
	assert_int_equal(listen_bind(&first, &a, 0, &e), 0);
	assert_int_equal(listen_bind(&other, &a, 0, &e), 0);
	shares = first.fd;
	first.addr = other.addr; /* which never gets the option */
	assert_int_equal(listen_bind_more(&first, &more, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(more.fd, -1);
	assert_int_equal(first.fd, shares);
	listen_drop(&first);
	listen_drop(&other);
}

static void a_unix_path_has_one_socket(void **state)
{
	struct fix *f = *state;
	struct listen_bound b, more;
	struct err e = { 0 };
	struct stat st;

	assert_int_equal(listen_bind(&b, &f->at, 0600, &e), 0);
	assert_int_equal(listen_bind_more(&b, &more, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	listen_drop(&b);
	assert_int_equal(stat(f->path, &st), -1);
}

static void unix_socket_is_private_and_removed(void **state)
{
	struct fix *f = *state;
	struct err e;
	struct listen_socket *ls = listen_open(f->l, &f->at, accepted, f, &e);
	struct stat st;
	int c;

	assert_non_null(ls);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true((c = dial(&f->at)) >= 0);
	loop_run(f->l);
	assert_int_equal(f->n, 1);
	close(c);
	listen_close(ls);
	assert_int_equal(stat(f->path, &st), -1);
}

static void dead_unix_socket_is_replaced(void **state)
{
	struct fix *f = *state;
	struct listen_socket *ls;
	struct err e;
	int dead = socket(AF_UNIX, SOCK_STREAM, 0), c;

	assert_int_equal(bind(dead, (struct sockaddr *)&f->at.ss, f->at.len), 0);
	assert_int_equal(listen(dead, 1), 0);
	close(dead);
	ls = listen_open(f->l, &f->at, accepted, f, &e);
	assert_non_null(ls);
	assert_true((c = dial(&f->at)) >= 0);
	close(c);
	listen_close(ls);
}

static void live_unix_socket_is_left_alone(void **state)
{
	struct fix *f = *state;
	struct err e = { 0 };
	struct listen_socket *ls = listen_open(f->l, &f->at, accepted, f, &e);
	struct stat st;

	assert_null(listen_open(f->l, &f->at, accepted, f, &e));
	assert_non_null(strstr(e.msg, "another process listens there"));
	assert_int_equal(stat(f->path, &st), 0);
	listen_close(ls);
}

static void other_file_is_left_alone(void **state)
{
	struct fix *f = *state;
	struct err e = { 0 };
	int fd = open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	struct stat st;

	close(fd);
	assert_null(listen_open(f->l, &f->at, accepted, f, &e));
	assert_non_null(strstr(e.msg, "no socket"));
	assert_int_equal(stat(f->path, &st), 0);
}

static void successor_of_the_path_stays(void **state)
{
	struct fix *f = *state;
	struct err e;
	struct listen_socket *old = listen_open(f->l, &f->at, accepted, f, &e), *new;
	struct stat st;

	assert_int_equal(unlink(f->path), 0);
	new = listen_open(f->l, &f->at, accepted, f, &e);
	assert_non_null(new);
	listen_close(old);
	assert_int_equal(stat(f->path, &st), 0);
	listen_close(new);
	assert_int_equal(stat(f->path, &st), -1);
}

static bool enter(void *arg)
{
	struct fix *f = arg;

	if (f->places == 0)
		return false;
	f->places--;
	return true;
}

static void leave(void *arg)
{
	((struct fix *)arg)->places++;
}

static void open_gate(void *arg)
{
	struct fix *f = arg;

	f->waited = f->n;
	f->places = 2;
	if (f->gated)
		listen_resume(f->gated);
}

/* So many are taken as have entered; the rest waits until it is told to go on, or looks by itself.
 */
static void a_gate_is_asked_first(void **state)
{
	static const struct listen_gate gate = { enter, leave };
	struct fix *f = *state;
	struct listen_socket *ls = open_at(f, "127.0.0.1:0");
	struct loop_timer later = { 0 };
	int c[4];

	listen_set_gate(ls, &gate);
	listen_resume(ls); /* nothing waits: no harm */
	f->places = 2;
	for (size_t i = 0; i < 4; i++)
		assert_true((c[i] = dial(listen_addr(ls))) >= 0);
	f->gated = ls;
	f->stop_at = 3;
	timer_arm(f->l, &later, 250, open_gate, f);
	loop_run(f->l);
	assert_int_equal(f->waited, 2);
	f->gated = NULL;
	f->stop_at = 4;
	loop_run(f->l);
	f->places = 0;
	close(c[0]);
	assert_true((c[0] = dial(listen_addr(ls))) >= 0);
	f->stop_at = 5;
	timer_arm(f->l, &later, 250, open_gate, f); /* and nobody says so */
	loop_run(f->l);
	assert_int_equal(f->waited, 4);
	for (size_t i = 0; i < 4; i++)
		close(c[i]);
	listen_close(ls);
}

struct spare {
	struct fix *f;
	struct listen_socket *ls;
	int fd[3], second;
};

static void free_spare(void *arg)
{
	struct spare *s = arg;

	s->f->limited = s->f->n == 0;
	close(s->fd[0]);
	close(s->fd[1]);
	close(s->fd[2]);
	s->second = dial(listen_addr(s->ls)); /* valgrind takes and drops the first */
}

/* In a child, because the limit holds for the process. The status tells where it failed. */
static int starve(struct fix *f)
{
	struct listen_socket *ls = open_at(f, "127.0.0.1:0");
	struct loop_timer later = { 0 };
	struct rusage before, after;
	struct rlimit rl;
	struct spare spare = { f, ls, { dup(0), dup(0), dup(0) }, -1 };
	int c = dial(listen_addr(ls)), status = 0;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = (rlim_t)c + 1;
	setrlimit(RLIMIT_NOFILE, &rl);
	getrusage(RUSAGE_SELF, &before);
	timer_arm(f->l, &later, 250, free_spare, &spare);
	f->stop_at = 1;
	loop_run(f->l);
	getrusage(RUSAGE_SELF, &after);
	if (f->late || f->n != 1)
		status = 1;
	else if (!f->limited)
		status = 2; /* it was taken at once: the limit did not bite */
	else if (after.ru_nvcsw - before.ru_nvcsw > 50) /* it sleeps a few times, or spins */
		status = 3;
	while (f->n)
		close(f->fd[--f->n]);
	close(c);
	close(spare.second);
	listen_close(ls);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return status;
}

static void shortage_pauses_accepting(void **state)
{
	struct fix *f = *state;
	struct err e;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct fix mine = { .n = 0 };

		if (loop_new(&mine.l, &e) != 0)
			_exit(9);
		timer_arm(mine.l, &mine.limit, TEST_LIMIT_MS, too_long, &mine);
		status = starve(&mine);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)f;
}

static bool enter_always(void *arg)
{
	(void)arg;
	return true;
}

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static size_t descriptors_left(void)
{
	size_t n = 0;

	while (dup(0) >= 0)
		n++;
	return n;
}

/* More clients wait than there are descriptors, through several pauses. In a child, as above. */
static int keep_the_last(void)
{
	static const struct listen_gate gate = { .enter = enter_always };
	enum { WAITING = 40, KEPT = 16, PAUSES_MS = 350 };
	struct fix f = { .stop_at = WAITING };
	struct loop_timer later = { 0 };
	struct listen_bound b;
	struct listen_socket *ls;
	struct rlimit rl;
	struct addr a;
	struct err e;
	int top = 0, result;

	if (addr_parse("127.0.0.1:0", &a, &e) != 0 || listen_bind(&b, &a, 0600, &e) != 0)
		return 1;
	for (int i = 0; i < WAITING; i++)
		top = dial(&b.addr);
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = (rlim_t)top + 32; /* the loop has some of them itself */
	if (top < 0 || setrlimit(RLIMIT_NOFILE, &rl) != 0 || loop_new(&f.l, &e) != 0)
		return 2;
	ls = listen_serve(f.l, &b, accepted, &f, &e);
	if (!ls)
		return 3;
	listen_set_gate(ls, &gate);
	timer_arm(f.l, &later, PAUSES_MS, stop, &f);
	loop_run(f.l);
	result = f.n == 0 || f.n == WAITING ? 4 : 0;
	/* the one too many is told by its number */
	if (result == 0 && descriptors_left() < KEPT - 1)
		result = 5;
	listen_close(ls);
	loop_free(f.l);
	return result;
}

static void the_last_descriptors_are_not_for_clients(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(keep_the_last());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
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
		T(tcp_accepts),
		T(burst_is_taken_whole),
		T(may_close_in_its_callback),
		T(port_in_use_is_an_error),
		T(sharing_spreads_or_is_unsupported),
		cmocka_unit_test(an_address_that_is_not_shared_has_one_socket),
		T(a_unix_path_has_one_socket),
		T(unix_socket_is_private_and_removed),
		T(dead_unix_socket_is_replaced),
		T(live_unix_socket_is_left_alone),
		T(other_file_is_left_alone),
		T(successor_of_the_path_stays),
		T(a_gate_is_asked_first),
		T(shortage_pauses_accepting),
		T(the_last_descriptors_are_not_for_clients),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
