/* Two descriptors as a stream: pipes, sockets, files; credit, shutdown, a slow reader. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "net/stdio_stream.h"
#include "stream/stream.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

enum { BIG = 512 * 1024 };

struct seen {
	struct loop *loop;
	struct stream *stream;
	size_t bytes, writables, wanted;
	bool eof, closed;
	uint8_t last;
	struct err why;
	struct loop_timer limit;
};

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct seen *s = arg;

	s->bytes += n;
	s->last = p[n - 1];
	if (s->wanted && s->bytes >= s->wanted)
		loop_stop(s->loop);
}

static void on_eof(void *arg)
{
	struct seen *s = arg;

	s->eof = true;
	loop_stop(s->loop);
}

static void on_writable(void *arg)
{
	struct seen *s = arg;

	s->writables++;
	loop_stop(s->loop);
}

static void on_closed(void *arg, const struct err *why)
{
	struct seen *s = arg;

	s->closed = true;
	if (why)
		s->why = *why;
	loop_stop(s->loop);
}

static const struct stream_handler handler = { on_data, on_eof, on_writable, on_closed };

static void out_of_time(void *arg)
{
	(void)arg;
	fail_msg("nothing happened in time");
}

static void begin(struct seen *s, int in, int out)
{
	struct err e = { 0 };

	memset(s, 0, sizeof(*s));
	assert_int_equal(loop_new(&s->loop, &e), 0);
	s->stream = stdio_stream_new(s->loop, in, out, &e);
	assert_non_null(s->stream);
	stream_attach(s->stream, &handler, s);
	timer_arm(s->loop, &s->limit, TEST_LIMIT_MS, out_of_time, s);
}

static void end(struct seen *s)
{
	if (!s->closed) {
		stream_close(s->stream);
		assert_false(s->closed); /* never from inside the call */
		loop_run(s->loop);
	}
	assert_true(s->closed);
	timer_disarm(s->loop, &s->limit);
	loop_free(s->loop);
}

static void reads_by_credit_then_the_end(void **state)
{
	struct seen s;
	int in[2], out[2];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	begin(&s, in[0], out[1]);
	assert_int_equal(write(in[1], "0123456789", 10), 10);
	close(in[1]);
	s.wanted = 4;
	stream_credit(s.stream, 4);
	loop_run(s.loop);
	assert_int_equal(s.bytes, 4);
	assert_int_equal(s.last, '3');
	assert_false(s.eof);
	s.wanted = 0;
	stream_credit(s.stream, 100);
	loop_run(s.loop);
	assert_int_equal(s.bytes, 10);
	assert_true(s.eof);
	end(&s);
	close(in[0]);
	close(out[0]);
	close(out[1]);
}

/* Its own end of writing is the end of reading, though whoever holds `in` says nothing. */
static void ends_together(void **state)
{
	struct seen s;
	int in[2], out[2];
	char c;

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	begin(&s, in[0], out[1]);
	stdio_stream_end_together(s.stream);
	stream_credit(s.stream, 10);
	assert_int_equal(stream_write(s.stream, (const uint8_t *)"x", 1), 1);
	stream_shutdown(s.stream);
	assert_false(s.eof); /* never from inside the call */
	loop_run(s.loop);
	assert_true(s.eof);
	assert_int_equal(read(out[0], &c, 1), 1);
	assert_int_equal(read(out[0], &c, 1), 0);
	end(&s);
	begin(&s, in[0], dup(out[0]));
	stdio_stream_end_together(s.stream);
	stream_shutdown(s.stream); /* and closed before it is told */
	end(&s);
	assert_false(s.eof);
	close(in[0]);
	close(in[1]);
	close(out[0]);
}

/* Writes BIG bytes to `out`, whose other end `from` is read only when the stream is full. */
static void write_to_a_slow_reader(int in, int out, int from)
{
	static uint8_t data[BIG], got[BIG];
	struct seen s;
	size_t sent = 0, received = 0;

	for (size_t i = 0; i < BIG; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	begin(&s, in, out);
	while (sent < BIG) {
		size_t n = stream_write(s.stream, data + sent, BIG - sent);
		ssize_t r;

		sent += n;
		while ((r = recv(from, got + received, BIG - received, MSG_DONTWAIT)) > 0 ||
		       (r < 0 && (r = read(from, got + received, BIG - received)) > 0))
			received += (size_t)r;
		if (sent < BIG)
			loop_run(s.loop);
	}
	stream_shutdown(s.stream);
	for (;;) {
		ssize_t r = read(from, got + received, BIG - received);

		if (r <= 0)
			break;
		received += (size_t)r;
	}
	assert_int_equal(received, BIG);
	assert_memory_equal(data, got, BIG);
	assert_true(s.writables > 0);
	end(&s);
}

static void a_full_pipe_makes_the_writer_wait(void **state)
{
	int in[2], out[2];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	write_to_a_slow_reader(in[0], out[1], out[0]);
	close(in[0]);
	close(in[1]);
	close(out[0]);
}

static void a_full_socket_makes_the_writer_wait(void **state)
{
	int in[2], pair[2];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	write_to_a_slow_reader(in[0], pair[1], pair[0]);
	close(in[0]);
	close(in[1]);
	close(pair[0]);
}

static void a_file_is_always_ready(void **state)
{
	char path[] = "/tmp/awsocks-stdio.XXXXXX";
	int fd = mkstemp(path), out = open("/dev/null", O_WRONLY);
	struct seen s;

	(void)state;
	assert_true(fd >= 0 && out >= 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	begin(&s, fd, out);
	stream_credit(s.stream, 100);
	loop_run(s.loop);
	assert_int_equal(s.bytes, 5);
	assert_true(s.eof);
	assert_int_equal(stream_write(s.stream, (const uint8_t *)"x", 1), 1);
	end(&s);
	close(fd);
	close(out);
	unlink(path);
}

static void a_reader_that_has_gone_is_an_error(void **state)
{
	struct seen s;
	int in[2], pair[2];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	begin(&s, in[0], pair[1]);
	close(pair[0]);
	assert_int_equal(stream_write(s.stream, (const uint8_t *)"x", 1), 0);
	assert_false(s.closed);
	loop_run(s.loop);
	assert_true(s.closed);
	assert_int_equal(s.why.code, ERR_RESET);
	end(&s);
	close(in[0]);
	close(in[1]);
	close(pair[1]);
}

static void no_descriptor_is_left(void **state)
{
	size_t before = fds_open();

	reads_by_credit_then_the_end(state);
	a_file_is_always_ready(state);
	assert_int_equal(fds_open(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_by_credit_then_the_end),
		cmocka_unit_test(ends_together),
		cmocka_unit_test(a_full_pipe_makes_the_writer_wait),
		cmocka_unit_test(a_full_socket_makes_the_writer_wait),
		cmocka_unit_test(a_file_is_always_ready),
		cmocka_unit_test(a_reader_that_has_gone_is_an_error),
		cmocka_unit_test(no_descriptor_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
