/*
 * The HTTP and websocket clients, and what they stand on, when each allocation
 * fails in turn: an error or a success, never a hang, and nothing is left.
 */
#include <stdio.h>
#include <string.h>

#include "net/http.h"
#include "net/loop.h"
#include "net/ws.h"
#include "tests/support/clients_peer.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/limit.h"
#include "tests/support/mem_fail.h"

static struct clients_peer peer;

struct turn {
	struct loop *l;
	struct ws *ws;
	struct loop_timer limit;
	bool replied, late, freed;
	unsigned messages, closed;
	struct err why;
};

static void too_long(void *arg)
{
	struct turn *t = arg;

	t->late = true;
	loop_stop(t->l);
}

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct turn *t = arg;

	t->replied = r != NULL;
	if (why)
		t->why = *why;
	loop_stop(t->l);
}

static void http_turn(struct turn *t)
{
	static const struct http_header h = { "X", "y" };
	char url[64];
	struct http *http = http_new(t->l, &t->why);

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/echo", peer.plain);
	if (http && http_send(http,
			      &(struct http_request){ .method = "POST",
						      .url = url,
						      .headers = &h,
						      .header_count = 1,
						      .body = "secret",
						      .body_len = 6,
						      .limit_ms = TEST_LIMIT_MS / 2 },
			      on_reply, t, &t->why))
		loop_run(t->l);
	http_free(http);
}

static void on_open(void *arg)
{
	struct turn *t = arg;

	if (!ws_send(t->ws, true, "secret", 6))
		ws_close(t->ws);
}

static void on_message(void *arg, bool text, const uint8_t *p, size_t n)
{
	struct turn *t = arg;

	(void)text;
	(void)p;
	assert_int_equal(n, 6);
	t->messages++;
	ws_close(t->ws);
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_closed(void *arg, int code, const char *reason, const struct err *why)
{
	struct turn *t = arg;

	(void)code;
	(void)reason;
	t->closed++;
	if (why)
		t->why = *why;
	loop_stop(t->l);
}

static void on_freed(void *arg)
{
	struct turn *t = arg;

	t->freed = true;
	loop_stop(t->l);
}

static void ws_turn(struct turn *t)
{
	static const struct ws_handler handler = { on_open, on_message, on_writable, on_closed };
	static const struct http_header h = { "X-Amz-Security-Token", "y" };
	struct ws_context *c = ws_context_new(t->l, &t->why);
	char url[64];

	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/ws/echo", peer.plain);
	if (!c)
		return;
	t->ws = ws_open(c,
			&(struct ws_opts){ .url = url,
					   .headers = &h,
					   .header_count = 1,
					   .limit_ms = TEST_LIMIT_MS / 2 },
			&handler, t, &t->why);
	if (t->ws) {
		loop_run(t->l);
		assert_int_equal(t->closed, 1);
	}
	ws_context_free(c, on_freed, t);
	while (!t->freed)
		loop_run(t->l);
}

static void each_allocation(void (*body)(struct turn *), bool (*done)(const struct turn *))
{
	unsigned good = 0, bad = 0;

	while (mem_fail_next()) {
		struct turn t = { 0 };

		if (loop_new(&t.l, &t.why) == 0) {
			timer_arm(t.l, &t.limit, TEST_LIMIT_MS, too_long, &t);
			body(&t);
			timer_disarm(t.l, &t.limit);
			loop_free(t.l);
		}
		assert_false(t.late);
		assert_int_equal(mem_held, 0);
		if (done(&t)) {
			good++;
			continue;
		}
		bad++;
		if (t.why.code != ERR_NOMEM && t.why.code != ERR_NONE)
			print_error("%s: %s\n", err_name(t.why.code), t.why.msg);
		/* NONE: our own ws_close() after a ws_send() that failed */
		assert_true(t.why.code == ERR_NOMEM || t.why.code == ERR_NONE);
	}
	assert_true(good > 0 && bad > 5);
}

static bool http_done(const struct turn *t)
{
	return t->replied;
}

static bool ws_done(const struct turn *t)
{
	return t->messages == 1;
}

static void http(void **state)
{
	(void)state;
	each_allocation(http_turn, http_done);
}

static void websocket(void **state)
{
	(void)state;
	each_allocation(ws_turn, ws_done);
}

static int start_peer(void **state)
{
	(void)state;
	clients_peer_start(&peer);
	return 0;
}

static int stop_peer(void **state)
{
	(void)state;
	clients_peer_stop(&peer);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http),
		cmocka_unit_test(websocket),
	};

	return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
