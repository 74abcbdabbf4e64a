/* The websocket client against one that others wrote: libwebsockets, in lws_peer_cli. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/loop.h"
#include "net/ws.h"
#include "tests/support/clients_peer.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/limit.h"

static struct clients_peer keys; /* its certificates */
static struct {
	char program[512];
	unsigned plain, tls;
	pid_t pid;
	int in;
} lws;

struct fix {
	struct loop *l;
	struct ws_context *ctx;
	struct ws *ws;
	struct loop_timer limit;
	bool late, freed, text, clean;
	unsigned opened, closed, messages, stop_at;
	struct buf last;
	int code;
	char reason[128];
	struct err why;
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	f->late = true;
	print_error("too long: %u messages\n", f->messages);
	loop_stop(f->l);
}

static int setup(void **state)
{
	static struct fix f;

	f = (struct fix){ 0 };
	if (loop_new(&f.l, NULL) != 0)
		return -1;
	f.ctx = ws_context_new(f.l, NULL);
	buf_init(&f.last, 4 << 20);
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return f.ctx ? 0 : -1;
}

static void on_freed(void *arg)
{
	((struct fix *)arg)->freed = true;
	loop_stop(((struct fix *)arg)->l);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	ws_context_free(f->ctx, on_freed, f);
	while (!f->freed && !f->late)
		loop_run(f->l);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	buf_free(&f->last);
	return f->late ? -1 : 0;
}

static void on_open(void *arg)
{
	struct fix *f = arg;

	f->opened++;
	loop_stop(f->l);
}

static void on_message(void *arg, bool text, const uint8_t *p, size_t n)
{
	struct fix *f = arg;

	f->text = text;
	buf_clear(&f->last);
	assert_int_equal(buf_add(&f->last, p, n, NULL), 0);
	if (++f->messages == f->stop_at)
		loop_stop(f->l);
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_closed(void *arg, int code, const char *reason, const struct err *why)
{
	struct fix *f = arg;

	f->closed++;
	f->code = code;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	f->clean = !why;
	f->why = why ? *why : (struct err){ 0 };
	loop_stop(f->l);
}

static const struct ws_handler handler = { on_open, on_message, on_writable, on_closed };

static void start(struct fix *f, bool tls, unsigned ping_ms)
{
	char url[64], ca[128];

	snprintf(url, sizeof(url), "%s://localhost:%u/", tls ? "wss" : "ws",
		 tls ? lws.tls : lws.plain);
	snprintf(ca, sizeof(ca), "%s/ca.pem", keys.dir);
	f->ws = ws_open(f->ctx,
			&(struct ws_opts){ .url = url,
					   .ca_file = ca,
					   .ping_ms = ping_ms,
					   .pong_limit_ms = ping_ms ? 10000 : 0 },
			&handler, f, &f->why);
	assert_non_null(f->ws);
	loop_run(f->l);
	if (!f->opened)
		print_error("%s\n", f->why.msg);
	assert_int_equal(f->opened, 1);
}

static void run_until(struct fix *f, unsigned messages)
{
	f->stop_at = messages;
	loop_run(f->l);
	assert_false(f->late);
}

static void echo(struct fix *f, bool text, const uint8_t *p, size_t n)
{
	assert_true(ws_send(f->ws, text, p, n));
	run_until(f, f->messages + 1);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->text, text);
	assert_int_equal(buf_len(&f->last), n);
	assert_memory_equal(buf_ptr(&f->last), p, n);
}

static void echoes(struct fix *f, bool tls)
{
	static const size_t sizes[] = { 1,     5,     125,   126,   999,   1000,   1001,
					16384, 32768, 32769, 65535, 65536, 100000, 1048576 };
	uint8_t *p = mem_alloc(1048576), *letters = mem_alloc(1048576);

	random_bytes(p, 1048576);
	for (size_t i = 0; i < 1048576; i++)
		letters[i] = (uint8_t)('a' + i % 26);
	start(f, tls, 1); /* pings in between */
	for (size_t i = 0; i < COUNT(sizes); i++) {
		echo(f, false, p, sizes[i]);
		echo(f, true, letters, sizes[i]);
	}
	mem_free(p);
	mem_free(letters);
	ws_close(f->ws);
	run_until(f, 0);
	assert_int_equal(f->closed, 1);
	assert_true(f->clean);
	assert_int_equal(f->code, 1000);
}

static void echoes_plain(void **state)
{
	echoes(*state, false);
}

static void echoes_tls(void **state)
{
	echoes(*state, true);
}

static void many(struct fix *f, bool tls)
{
	uint8_t msg[1144] = { 0 };

	start(f, tls, 0);
	for (unsigned i = 0; i < 400; i++) {
		msg[0] = (uint8_t)i;
		assert_true(ws_send(f->ws, false, msg, sizeof(msg)));
	}
	run_until(f, 400);
	assert_int_equal(f->messages, 400);
	assert_int_equal(buf_ptr(&f->last)[0], 399 & 255);
}

static void many_plain(void **state)
{
	many(*state, false);
}

static void many_tls(void **state)
{
	many(*state, true);
}

static void it_closes(void **state)
{
	struct fix *f = *state;

	start(f, false, 0);
	assert_true(ws_send(f->ws, true, "bye", 3));
	run_until(f, 0);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->code, 4001);
	assert_string_equal(f->reason, "as told");
	assert_int_equal(f->why.code, ERR_CLOSED);
}

static int start_lws(void **state)
{
	int in[2], out[2];
	char cert[128], key[128];
	FILE *f;

	(void)state;
	clients_peer_start(&keys);
	snprintf(cert, sizeof(cert), "%s/host.pem", keys.dir);
	snprintf(key, sizeof(key), "%s/host.key", keys.dir);
	if (pipe(in) != 0 || pipe(out) != 0)
		return -1;
	lws.pid = fork();
	if (lws.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execl(lws.program, lws.program, cert, key, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	lws.in = in[1];
	f = fdopen(out[0], "r");
	if (!f || fscanf(f, "%u %u", &lws.plain, &lws.tls) != 2) {
		print_error("%s does not start\n", lws.program);
		return -1;
	}
	fclose(f);
	return 0;
}

static int stop_lws(void **state)
{
	int status = -1;

	(void)state;
	close(lws.in);
	waitpid(lws.pid, &status, 0);
	clients_peer_stop(&keys);
	return status;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(echoes_plain), T(echoes_tls), T(many_plain), T(many_tls), T(it_closes),
	};

	(void)argc;
	snprintf(lws.program, sizeof(lws.program), "%s/lws_peer_cli", dirname(argv[0]));
	return cmocka_run_group_tests(tests, start_lws, stop_lws);
}
