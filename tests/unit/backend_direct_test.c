/* The direct backend: dials, the guard's question, cancelling, start and close. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "backend/backend.h"
#include "backend/direct.h"
#include "net/loop.h"
#include "stream/stream.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

struct fix {
	struct loop *l;
	struct backend *b;
	size_t fds;
	struct loop_timer limit;
	bool in_call;
	int dones, closes, starts, stream_ends;
	struct stream *s;
	struct dialed got;
	enum err_code why;
	char log[32];
};

static void note(struct fix *f, char c)
{
	size_t n = strlen(f->log);

	f->log[n] = c;
	f->log[n + 1] = 0;
	loop_stop(f->l);
}

static void too_long(void *arg)
{
	note(arg, '!');
}

static void closed(void *arg)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	f->b = NULL;
	note(f, 'c');
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	f.b = direct_backend_new(&(struct direct_opts){ .loop = f.l, .limit_ms = TEST_LIMIT_MS },
				 &e);
	*state = &f;
	return f.b ? 0 : -1;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	if (f->b) {
		backend_close(f->b, closed, f);
		while (f->b)
			loop_run(f->l);
	}
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	return !strchr(f->log, '!') && fds_open() == f->fds ? 0 : -1;
}

static void stream_closed(void *arg, const struct err *why)
{
	struct fix *f = arg;

	(void)why;
	f->s = NULL;
	loop_stop(f->l);
}
static const struct stream_handler handler = { .closed = stream_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	assert_true(!d != !why);
	if (d) {
		f->got = *d;
		f->s = d->stream;
		stream_attach(f->s, &handler, f);
	} else {
		f->why = why->code;
	}
	note(f, d ? 'd' : 'f');
}

static struct dial *go(struct fix *f, const char *host, uint16_t port, struct dest dest)
{
	struct dial *d;
	struct err e = { 0 };

	dest.host = host;
	dest.port = port;
	f->in_call = true;
	d = backend_dial(f->b, &dest, dialed, f, &e);
	f->in_call = false;
	assert_non_null(d);
	return d;
}

static void dial_gives_a_stream_and_its_address(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 5), c;
	char want[ADDR_TEXT], x;

	go(f, "127.0.0.1", port, (struct dest){ 0 });
	loop_run(f->l);
	assert_string_equal(f->log, "d");
	snprintf(want, sizeof(want), "127.0.0.1:%u", port);
	assert_string_equal(f->got.address, want);
	assert_string_equal(f->got.session, "");
	c = accept(l, NULL, NULL);
	assert_int_equal(stream_write(f->s, (const uint8_t *)"x", 1), 1);
	assert_int_equal(recv(c, &x, 1, 0), 1);
	stream_close(f->s);
	loop_run(f->l);
	close(c);
	close(l);
}

static void refusal_is_told(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_unheard(&port);

	go(f, "127.0.0.1", port, (struct dest){ 0 });
	loop_run(f->l);
	assert_string_equal(f->log, "f");
	assert_int_equal(f->why, ERR_REFUSED);
	close(l);
}

static bool deny(void *arg, const struct addr *a, struct err *e)
{
	(void)arg;
	assert_true(addr_is_loopback(a));
	(void)err_set(e, ERR_DENIED, "loopback is guarded");
	return false;
}

static void guard_is_asked(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 1);

	go(f, "localhost", port, (struct dest){ .allow = deny });
	loop_run(f->l);
	assert_int_equal(f->why, ERR_DENIED);
	close(l);
}

static void cancelled_dial_says_nothing(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 1);

	backend_cancel(go(f, "127.0.0.1", port, (struct dest){ 0 }));
	backend_cancel(go(f, "localhost", port, (struct dest){ 0 }));
	backend_cancel(NULL);
	backend_close(f->b, closed, f);
	loop_run(f->l);
	assert_string_equal(f->log, "c");
	close(l);
}

static void close_answers_dials_and_keeps_streams(void **state)
{
	struct fix *f = *state;
	uint16_t port;
	int l = tcp_listen(&port, 8), c;
	struct dest dest = { .host = "127.0.0.1", .port = port };
	struct err e;
	char x;

	go(f, "127.0.0.1", port, (struct dest){ 0 });
	loop_run(f->l);
	go(f, "localhost", port, (struct dest){ 0 });
	f->in_call = true;
	backend_close(f->b, closed, f);
	assert_null(backend_dial(f->b, &dest, dialed, f, &e));
	assert_int_equal(e.code, ERR_CLOSED);
	f->in_call = false;
	while (f->b)
		loop_run(f->l);
	assert_string_equal(f->log, "dfc");
	assert_int_equal(f->why, ERR_CLOSED);
	c = accept(l, NULL, NULL);
	assert_int_equal(stream_write(f->s, (const uint8_t *)"x", 1), 1);
	assert_int_equal(recv(c, &x, 1, 0), 1);
	stream_close(f->s);
	while (f->s)
		loop_run(f->l);
	close(c);
	close(l);
}

static void started(void *arg, const struct err *why)
{
	struct fix *f = arg;

	assert_false(f->in_call);
	note(f, why ? 'x' : 's');
}

static void it_is_always_active(void **state)
{
	struct fix *f = *state;
	cJSON *o = cJSON_CreateObject();

	assert_string_equal(backend_name(f->b), "direct");
	assert_int_equal(backend_state(f->b), BACKEND_ACTIVE);
	assert_false(backend_first_init(f->b));
	backend_wake(f->b);
	backend_set_creds(f->b, NULL);
	f->in_call = true;
	backend_start(f->b, started, f);
	backend_start(f->b, started, f);
	f->in_call = false;
	loop_run(f->l);
	assert_string_equal(f->log, "ss");
	backend_describe(f->b, o);
	assert_string_equal(cJSON_GetObjectItem(o, "state")->valuestring, "active");
	assert_string_equal(cJSON_GetObjectItem(o, "name")->valuestring, "direct");
	cJSON_Delete(o);
}

static void state_names(void **state)
{
	(void)state;
	assert_string_equal(backend_state_name(BACKEND_IDLE), "idle");
	assert_string_equal(backend_state_name(BACKEND_FAILED), "failed");
	assert_string_equal(backend_state_name(BACKEND_STATE_COUNT), "unknown");
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
		T(dial_gives_a_stream_and_its_address),
		T(refusal_is_told),
		T(guard_is_asked),
		T(cancelled_dial_says_nothing),
		T(close_answers_dials_and_keeps_streams),
		T(it_is_always_active),
		cmocka_unit_test(state_names),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
