/* A socket as a stream: credit, ends, short writes, resets, handing on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

/* LINGERS_MS: net/tcp.c's */
enum { MIB = 1024 * 1024, LINGERS_MS = 1000 };

struct fix {
	struct loop *l;
	size_t fds;
	struct loop_timer limit;
	struct stream *s;
	int peer;
	bool in_call; /* inside a stream_ function: no handler may run */
	uint8_t got[256 * 1024];
	size_t n;
	int eofs, writables, closes;
	enum err_code why;
	size_t stop_at;                 /* bytes */
	void (*on_data)(struct fix *f); /* besides taking it */
	int taken_fd;
};

static void stop(void *arg)
{
	loop_stop(((struct fix *)arg)->l);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	assert_true(f->n + n <= sizeof(f->got));
	memcpy(f->got + f->n, p, n);
	f->n += n;
	if (f->on_data)
		f->on_data(f);
	if (f->stop_at && f->n >= f->stop_at)
		loop_stop(f->l);
}
static void on_eof(void *arg)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->eofs++;
	loop_stop(f->l);
}
static void on_writable(void *arg)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->writables++;
	loop_stop(f->l);
}
static void on_closed(void *arg, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->closes++;
	f->why = why ? why->code : ERR_NONE;
	f->s = NULL;
	loop_stop(f->l);
}
static const struct stream_handler handler = { on_data, on_eof, on_writable, on_closed };

static int setup(void **state)
{
	static struct fix f;
	struct err e;
	int fd[2];

	memset(&f, 0, sizeof(f));
	f.fds = fds_open();
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, stop, &f);
	pair_open(fd);
	f.peer = fd[0];
	f.s = tcp_stream_new(f.l, fd[1], &e);
	if (!f.s)
		return -1;
	stream_attach(f.s, &handler, &f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	if (f->s) {
		stream_close(f->s);
		loop_run(f->l);
	}
	if (f->peer >= 0)
		close(f->peer);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

/* Long enough for anything that is wrongly on its way; nothing is expected. */
static void settle(struct fix *f)
{
	struct loop_timer t = { 0 };

	timer_arm(f->l, &t, 20, stop, f);
	loop_run(f->l);
	timer_disarm(f->l, &t);
}

static void run_to(struct fix *f, size_t n)
{
	f->stop_at = n;
	if (f->n < n)
		loop_run(f->l);
	f->stop_at = 0;
	assert_int_equal(f->n, n);
}

#define CALL(f, what) ((f)->in_call = true, what, (f)->in_call = false)

static void peer_sends(struct fix *f, size_t n)
{
	uint8_t *p = malloc(n);

	pattern_fill(1, 0, p, n);
	assert_int_equal(send(f->peer, p, n, 0), n);
	free(p);
}

static void reads_only_by_credit(void **state)
{
	struct fix *f = *state;

	peer_sends(f, 1000);
	settle(f);
	assert_int_equal(f->n, 0);
	CALL(f, stream_credit(f->s, 100));
	run_to(f, 100);
	settle(f);
	assert_int_equal(f->n, 100);
	CALL(f, stream_credit(f->s, 50));
	CALL(f, stream_credit(f->s, 1));
	run_to(f, 151);
	settle(f);
	assert_int_equal(f->n, 151);
	CALL(f, stream_credit(f->s, SIZE_MAX));
	CALL(f, stream_credit(f->s, SIZE_MAX));
	run_to(f, 1000);
	assert_true(pattern_is(1, 0, f->got, 1000));
	shutdown(f->peer, SHUT_WR);
	loop_run(f->l);
	assert_int_equal(f->eofs, 1);
	assert_int_equal(f->closes, 0);
}

static void end_needs_credit_too(void **state)
{
	struct fix *f = *state;

	peer_sends(f, 10);
	shutdown(f->peer, SHUT_WR);
	CALL(f, stream_credit(f->s, 10));
	run_to(f, 10);
	CALL(f, stream_credit(f->s, 1));
	loop_run(f->l);
	assert_int_equal(f->eofs, 1);
	settle(f);
	assert_int_equal(f->eofs, 1);
}

static void directions_end_alone(void **state)
{
	struct fix *f = *state;
	char c[10];

	stream_credit(f->s, 100);
	shutdown(f->peer, SHUT_WR);
	loop_run(f->l);
	assert_int_equal(f->eofs, 1);
	assert_int_equal(stream_write(f->s, (const uint8_t *)"still", 5), 5);
	assert_int_equal(recv(f->peer, c, sizeof(c), 0), 5);
	CALL(f, stream_shutdown(f->s));
	assert_int_equal(recv(f->peer, c, sizeof(c), 0), 0);
	assert_int_equal(f->closes, 0);
}

static void our_end_first(void **state)
{
	struct fix *f = *state;
	char c;

	assert_int_equal(stream_write(f->s, (const uint8_t *)"q", 1), 1);
	stream_shutdown(f->s);
	stream_shutdown(f->s);
	assert_int_equal(recv(f->peer, &c, 1, 0), 1);
	assert_int_equal(recv(f->peer, &c, 1, 0), 0);
	peer_sends(f, 1000);
	stream_credit(f->s, 5000);
	run_to(f, 1000);
	close(f->peer);
	f->peer = -1;
	loop_run(f->l);
	assert_int_equal(f->eofs, 1);
}

/* Writes the pattern from `at` until it is not taken; returns the new place. */
static uint64_t fill(struct fix *f, uint64_t at)
{
	static uint8_t block[MIB];
	size_t n;

	do {
		pattern_fill(2, at, block, sizeof(block));
		f->in_call = true;
		n = stream_write(f->s, block, sizeof(block));
		f->in_call = false;
		at += n;
	} while (n == sizeof(block));
	return at;
}

static uint64_t peer_reads(struct fix *f, uint64_t from, uint64_t to)
{
	static uint8_t block[65536];

	while (from < to) {
		ssize_t n = recv(f->peer, block, sizeof(block), 0);

		assert_true(n > 0);
		assert_true(pattern_is(2, from, block, (size_t)n));
		from += (uint64_t)n;
	}
	return from;
}

/* The same until the sockets hold all that they ever will: on a busy machine what was written
 * last arrives at the peer a moment later, and then there is room again though it reads nothing. */
static uint64_t fill_up(struct fix *f, uint64_t at)
{
	uint64_t before;
	int told;

	for (at = fill(f, at);;) {
		told = f->writables;
		settle(f);
		if (f->writables == told)
			return at;
		assert_int_equal(f->writables, told + 1);
		before = at;
		at = fill(f, at);
		assert_true(at > before); /* it was true */
	}
}

static void short_write_then_writable(void **state)
{
	struct fix *f = *state;
	uint64_t at = 0, read = 0;
	int told;

	for (int i = 0; i < 4; i++) {
		at = fill_up(f, at); /* nothing is told of a peer that reads nothing */
		told = f->writables;
		read = peer_reads(f, read, at);
		loop_run(f->l);
		assert_int_equal(f->writables, told + 1);
		settle(f);
		assert_int_equal(f->writables, told + 1); /* once per short write */
	}
}

static void close_is_clean_and_idempotent(void **state)
{
	struct fix *f = *state;
	char c;

	assert_int_equal(stream_write(f->s, (const uint8_t *)"x", 1), 1);
	CALL(f, stream_close(f->s));
	CALL(f, stream_close(f->s));
	loop_run(f->l);
	assert_int_equal(f->closes, 1);
	assert_int_equal(f->why, ERR_NONE);
	assert_int_equal(recv(f->peer, &c, 1, 0), 1);
	assert_int_equal(recv(f->peer, &c, 1, 0), 0);
}

static void abort_resets_the_peer(void **state)
{
	struct fix *f = *state;
	char c;

	CALL(f, stream_abort(f->s));
	loop_run(f->l);
	assert_int_equal(f->closes, 1);
	assert_int_equal(recv(f->peer, &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void reset_of_the_peer_is_told(void **state)
{
	struct fix *f = *state;

	stream_credit(f->s, 1);
	sock_reset(f->peer);
	f->peer = -1;
	loop_run(f->l);
	assert_int_equal(f->closes, 1);
	assert_int_equal(f->why, ERR_RESET);
	assert_int_equal(f->eofs, 0);
}

static void answer_of_a_broken_peer_is_delivered(void **state)
{
	struct fix *f = *state;
	char big[1000] = "";

	peer_sends(f, 100);
	sock_reset(f->peer);
	f->peer = -1;
	settle(f);
	CALL(f, stream_write(f->s, (const uint8_t *)big, sizeof(big)));
	CALL(f, stream_write(f->s, (const uint8_t *)big, sizeof(big)));
	settle(f);
	assert_int_equal(f->closes, 0);
	stream_credit(f->s, 1000);
	loop_run(f->l);
	assert_int_equal(f->n, 100);
	assert_int_equal(f->closes, 1);
	assert_int_equal(f->why, ERR_RESET);
}

/* A new stream with a peer, for one more try. */
static void again(struct fix *f)
{
	struct err e;
	int fd[2];

	close(f->peer);
	pair_open(fd);
	f->peer = fd[0];
	f->s = tcp_stream_new(f->l, fd[1], &e);
	assert_non_null(f->s);
	stream_attach(f->s, &handler, f);
	f->closes = 0;
}

/* False: the machine stood still for so long that the time for it was over. */
static bool last_words_survive(struct fix *f)
{
	uint64_t begun = clock_mono_ms(&clock_system);
	ssize_t sent, words, end;
	char c[20], more[60000] = "";

	peer_sends(f, 60000);
	settle(f);
	assert_int_equal(stream_write(f->s, (const uint8_t *)"refused", 7), 7);
	stream_close(f->s);
	settle(f); /* the peer has not ended: it is being listened to */
	sent = send(f->peer, more, sizeof(more), MSG_NOSIGNAL);
	settle(f);
	words = recv(f->peer, c, sizeof(c), 0);
	end = recv(f->peer, c, sizeof(c), 0);
	if (f->closes && clock_mono_ms(&clock_system) - begun >= LINGERS_MS)
		return false;
	assert_int_equal(f->closes, 0);
	assert_int_equal(sent, sizeof(more));
	assert_int_equal(words, 7);
	assert_int_equal(end, 0);
	return true;
}

static void last_words_survive_unread_input(void **state)
{
	struct fix *f = *state;

	for (int tries = 0; !last_words_survive(f); tries++) {
		assert_true(tries < 100);
		again(f);
	}
	close(f->peer);
	f->peer = -1;
	loop_run(f->l);
	assert_int_equal(f->closes, 1);
	assert_int_equal(f->why, ERR_NONE);
}

static void lingering_ends_by_itself(void **state)
{
	struct fix *f = *state;

	peer_sends(f, 10);
	stream_close(f->s);
	loop_run(f->l); /* the peer neither sends nor ends */
	assert_int_equal(f->closes, 1);
}

static void close_it(struct fix *f)
{
	CALL(f, stream_close(f->s));
}

static void close_from_a_handler(void **state)
{
	struct fix *f = *state;

	f->on_data = close_it;
	peer_sends(f, 1000);
	stream_credit(f->s, 10);
	close(f->peer);
	f->peer = -1;
	loop_run(f->l);
	assert_int_equal(f->n, 10);
	assert_int_equal(f->closes, 1);
}

static void take_it(struct fix *f)
{
	f->in_call = true;
	f->taken_fd = stream_release_fd(f->s);
	f->in_call = false;
	f->s = NULL;
}

static void check_taken(struct fix *f)
{
	uint8_t c[100];

	assert_true(f->taken_fd >= 0);
	assert_int_equal(recv(f->taken_fd, c, sizeof(c), 0), 90); /* what was not read is there */
	assert_true(pattern_is(1, 10, c, 90));
	assert_int_equal(send(f->taken_fd, "x", 1, 0), 1);
	assert_int_equal(recv(f->peer, c, 1, 0), 1);
	settle(f);
	assert_int_equal(f->closes, 0);
	close(f->taken_fd);
}

static void descriptor_is_released(void **state)
{
	struct fix *f = *state;

	peer_sends(f, 100);
	stream_credit(f->s, 10);
	run_to(f, 10);
	take_it(f);
	check_taken(f);
}

static void descriptor_is_released_within_a_handler(void **state)
{
	struct fix *f = *state;

	f->on_data = take_it;
	peer_sends(f, 100);
	stream_credit(f->s, 10);
	run_to(f, 10);
	check_taken(f);
}

static void closing_stream_keeps_its_descriptor(void **state)
{
	struct fix *f = *state;

	stream_close(f->s);
	assert_int_equal(stream_release_fd(f->s), -1);
	loop_run(f->l);
	assert_int_equal(f->closes, 1);
}

static void bad_descriptor_is_refused(void **state)
{
	struct fix *f = *state;
	struct err e = { 0 };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	assert_null(tcp_stream_new(f->l, fd, &e));
	assert_int_equal(e.sys, EBADF);
}

static void unix_sockets_too(void **state)
{
	struct fix *f = *state;
	struct stream *first = f->s;
	struct err e;
	int p[2];

	stream_close(first);
	loop_run(f->l);
	close(f->peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	f->peer = p[0];
	f->s = tcp_stream_new(f->l, p[1], &e);
	assert_non_null(f->s);
	stream_attach(f->s, &handler, f);
	stream_credit(f->s, 1000);
	peer_sends(f, 1000);
	run_to(f, 1000);
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
		T(reads_only_by_credit),
		T(end_needs_credit_too),
		T(directions_end_alone),
		T(our_end_first),
		T(short_write_then_writable),
		T(close_is_clean_and_idempotent),
		T(abort_resets_the_peer),
		T(reset_of_the_peer_is_told),
		T(answer_of_a_broken_peer_is_delivered),
		T(last_words_survive_unread_input),
		T(lingering_ends_by_itself),
		T(close_from_a_handler),
		T(descriptor_is_released),
		T(descriptor_is_released_within_a_handler),
		T(closing_stream_keeps_its_descriptor),
		T(bad_descriptor_is_refused),
		T(unix_sockets_too),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
