/* The websocket client, against tests/support/clients_peer.py. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/ws.h"
#include "net/ws_frame.h"
#include "tests/support/clients_peer.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

static struct clients_peer peer;

struct fix {
	struct loop *l;
	struct ws_context *ctx;
	size_t fds;
	struct loop_timer limit;
	bool late, freed, paused;

	struct ws *ws;
	unsigned opened, closed, messages, writables;
	size_t bytes;
	bool text;
	struct buf last;     /* the last message */
	struct buf first[3]; /* the first ones */
	int code;
	char reason[128];
	bool clean;
	struct err why;

	unsigned stop_at; /* messages; the loop stops there */
	void (*on_open)(struct fix *);
	void (*on_message)(struct fix *, const uint8_t *p, size_t n);
	void (*on_writable)(struct fix *);
	unsigned sent;
	char go[80]; /* many_up(): lets the peer read */
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	f->late = true;
	print_error("too long: %u opened, %u closed, %u messages\n", f->opened, f->closed,
		    f->messages);
	loop_stop(f->l);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	f.ctx = ws_context_new(f.l, &e);
	buf_init(&f.last, 64 << 20);
	for (size_t i = 0; i < COUNT(f.first); i++)
		buf_init(&f.first[i], 1 << 20);
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return f.ctx ? 0 : -1;
}

static void on_freed(void *arg)
{
	struct fix *f = arg;

	f->freed = true;
	loop_stop(f->l);
}

static int teardown(void **state)
{
	struct fix *f = *state;
	bool late = f->late;

	if (f->ctx)
		ws_context_free(f->ctx, on_freed, f);
	while (!f->freed && !late)
		loop_run(f->l);
	timer_disarm(f->l, &f->limit);
	loop_free(f->l);
	buf_free(&f->last);
	for (size_t i = 0; i < COUNT(f->first); i++)
		buf_free(&f->first[i]);
	return fds_open() == f->fds && !late && f->freed ? 0 : -1;
}

static void on_open(void *arg)
{
	struct fix *f = arg;

	f->opened++;
	if (f->on_open)
		f->on_open(f);
}

static void on_message(void *arg, bool text, const uint8_t *p, size_t n)
{
	struct fix *f = arg;

	if (f->messages < COUNT(f->first))
		assert_int_equal(buf_add(&f->first[f->messages], p, n, NULL), 0);
	f->messages++;
	f->bytes += n;
	f->text = text;
	buf_clear(&f->last);
	assert_int_equal(buf_add(&f->last, p, n, NULL), 0);
	if (f->on_message)
		f->on_message(f, p, n);
	if (f->messages == f->stop_at)
		loop_stop(f->l);
}

static void on_writable(void *arg)
{
	struct fix *f = arg;

	f->writables++;
	if (f->on_writable)
		f->on_writable(f);
}

static void on_closed(void *arg, int code, const char *reason, const struct err *why)
{
	struct fix *f = arg;

	f->ws = NULL;
	f->closed++;
	f->code = code;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	f->clean = why == NULL;
	f->why = why ? *why : (struct err){ 0 };
	loop_stop(f->l);
}

static const struct ws_handler handler = { on_open, on_message, on_writable, on_closed };

static const char *url(bool tls, const char *host, const char *path)
{
	static char text[512];

	snprintf(text, sizeof(text), "%s://%s:%u%s", tls ? "wss" : "ws", host,
		 tls ? peer.tls : peer.plain, path);
	return text;
}

static void start_with(struct fix *f, const struct ws_opts *o)
{
	struct ws_opts opts = *o;
	struct err e = { 0 };

	f->opened = f->closed = f->messages = 0;
	f->bytes = 0;
	if (!opts.limit_ms)
		opts.limit_ms = TEST_LIMIT_MS;
	f->ws = ws_open(f->ctx, &opts, &handler, f, &e);
	if (!f->ws)
		print_error("ws_open: %s\n", e.msg);
	assert_non_null(f->ws);
	assert_int_equal(f->opened, 0);
}

static void start(struct fix *f, const char *path)
{
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", path) });
}

/* Runs until closed() or until the n-th message. */
static void run_until(struct fix *f, unsigned n)
{
	f->stop_at = n;
	loop_run(f->l);
	assert_false(f->late);
}

static void end(struct fix *f)
{
	ws_close(f->ws);
	ws_close(f->ws);
	run_until(f, 0);
	assert_int_equal(f->closed, 1);
	assert_true(f->clean);
}

static bool last_is(struct fix *f, const char *want)
{
	return buf_len(&f->last) == strlen(want) &&
	       memcmp(buf_ptr(&f->last), want, strlen(want)) == 0;
}

static bool nth_is(struct fix *f, size_t n, const char *want)
{
	return buf_len(&f->first[n]) == strlen(want) &&
	       memcmp(buf_ptr(&f->first[n]), want, strlen(want)) == 0;
}

static bool last_has(struct fix *f, const char *want)
{
	return memmem(buf_ptr(&f->last), buf_len(&f->last), want, strlen(want)) != NULL;
}

static void stop_now(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct fix *f, unsigned ms)
{
	struct loop_timer t = { 0 };

	timer_arm(f->l, &t, ms, stop_now, f->l);
	f->stop_at = 0;
	loop_run(f->l);
	timer_disarm(f->l, &t);
}

/* ---- what the peer has seen ---- */

static void on_seen(void *arg, const struct http_reply *r, const struct err *why)
{
	struct fix *f = arg;

	assert_null(why);
	buf_clear(&f->last);
	assert_int_equal(buf_add(&f->last, r->body, r->body_len, NULL), 0);
	loop_stop(f->l);
}

static void see(struct fix *f)
{
	struct http *h = http_new(f->l, NULL);
	char text[64];

	snprintf(text, sizeof(text), "http://127.0.0.1:%u/seen", peer.plain);
	assert_non_null(http_send(h, &(struct http_request){ .method = "GET", .url = text },
				  on_seen, f, NULL));
	loop_run(f->l);
	http_free(h);
}

/* Waits for it: what was sent last may still be on its way to the peer's thread. */
static void peer_sees(struct fix *f, const char *what)
{
	do {
		see(f);
		assert_false(f->late);
	} while (!last_has(f, what));
}

/* ---- tests ---- */

static void one_echo(struct fix *f, bool text, const uint8_t *p, size_t n)
{
	unsigned before = f->messages;

	assert_true(ws_send(f->ws, text, p, n));
	run_until(f, before + 1);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->text, text);
	assert_int_equal(buf_len(&f->last), n);
	if (n)
		assert_memory_equal(buf_ptr(&f->last), p, n);
}

static void stop_on_open(struct fix *f)
{
	loop_stop(f->l);
}

static void echo_all_sizes(struct fix *f)
{
	static const size_t sizes[] = { 0,     1,     125,   126,   127,    1024,   16383,
					16384, 16385, 65535, 65536, 100000, 1048576 };
	uint8_t *p = mem_alloc(1048576);

	for (size_t i = 0; i < 1048576; i++)
		p[i] = (uint8_t)('a' + (i + i / 26) % 26);
	f->on_open = stop_on_open;
	loop_run(f->l);
	assert_int_equal(f->opened, 1);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		one_echo(f, true, p, sizes[i]);
		p[0] = 0xff; /* not UTF-8 */
		one_echo(f, false, p, sizes[i]);
		p[0] = 'a';
	}
	mem_free(p);
	end(f);
	peer_sees(f, "close 1000");
}

static void echo_plain(void **state)
{
	struct fix *f = *state;

	start(f, "/ws/echo");
	echo_all_sizes(f);
}

static void echo_tls(void **state)
{
	struct fix *f = *state;
	char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	start_with(f,
		   &(struct ws_opts){ .url = url(true, "localhost", "/ws/echo"), .ca_file = ca });
	echo_all_sizes(f);
}

static void request_is_verbatim(void **state)
{
	static char token[9001];
	static const struct http_header h[] = { { "X-Amz-Security-Token", token },
						{ "Authorization", "AWS4-HMAC-SHA256 x, y" } };
	struct fix *f = *state;
	char want[64];

	memset(token, 'T', sizeof(token) - 1);
	start_with(f, &(struct ws_opts){
			      .url = url(false, "localhost", "/ws/who/../who//?a=x+y/z%2B==&b=%20"),
			      .headers = h,
			      .header_count = COUNT(h) });
	run_until(f, 0);
	peer_sees(f, "GET /ws/who/../who//?a=x+y/z%2B==&b=%20");
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/who?a=x+y/z%2B=="),
					 .headers = h,
					 .header_count = COUNT(h) });
	run_until(f, 1);
	assert_true(last_has(f, "/ws/who?a=x+y/z%2B==\n"));
	assert_true(last_has(f, token));
	assert_true(last_has(f, "authorization: AWS4-HMAC-SHA256 x, y"));
	snprintf(want, sizeof(want), "host: localhost:%u\n", peer.plain);
	assert_true(last_has(f, want));
	assert_false(last_has(f, "origin"));
	assert_false(last_has(f, "sec-websocket-protocol"));
	assert_false(last_has(f, "sec-websocket-extensions"));
	end(f);
}

static void long_path(void **state)
{
	static const size_t lengths[] = { 1900, 2000, 2010, 2020, 2021, 2022, 2023, 2024,
					  2025, 2026, 2030, 2040, 2050, 2100, 8000, 16000 };
	static const struct http_header h = { "X-Behind", "it" };
	struct fix *f = *state;
	struct err e = { 0 };
	char *path = mem_alloc(20000), *text = mem_alloc(40000);

	for (size_t i = 0; i < COUNT(lengths); i++) {
		memset(path, 'p', lengths[i]);
		path[lengths[i]] = '\0';
		snprintf(text, 40000, "ws://localhost:%u/ws/who?%s", peer.plain, path);
		start_with(f, &(struct ws_opts){ .url = text, .headers = &h, .header_count = 1 });
		run_until(f, 1);
		path[lengths[i]] = '\n'; /* the peer's line end */
		path[lengths[i] + 1] = '\0';
		assert_true(last_has(f, path));
		assert_true(last_has(f, "pragma: no-cache"));
		assert_true(last_has(f, "x-behind: it"));
		end(f);
	}
	memset(text + 30, 'q', 39000);
	assert_null(ws_open(f->ctx, &(struct ws_opts){ .url = text }, &handler, f, &e));
	assert_int_equal(e.code, ERR_USAGE);
	mem_free(text);
	mem_free(path);
}

static void request_that_is_too_long(void **state)
{
	static char token[70000];
	static const struct http_header h = { "X-Amz-Security-Token", token };
	struct fix *f = *state;

	memset(token, 'T', sizeof(token) - 1);
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/echo"),
					 .headers = &h,
					 .header_count = 1 });
	run_until(f, 0);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, ERR_LIMIT);
}

static void fragments_and_pings(void **state)
{
	struct fix *f = *state;

	start(f, "/ws/fragments");
	run_until(f, 3);
	assert_true(nth_is(f, 0, "h\xc3\xa9llo"));
	assert_int_equal(buf_len(&f->first[1]), 200000);
	assert_int_equal(buf_ptr(&f->first[1])[99999], 'a');
	assert_int_equal(buf_ptr(&f->first[1])[100000], 'b');
	assert_true(nth_is(f, 2, "pong 10 ping between"));
	end(f);
}

static void frames_behind_the_head(void **state)
{
	struct fix *f = *state;

	start(f, "/ws/early");
	run_until(f, 0);
	assert_int_equal(f->messages, 2);
	assert_true(nth_is(f, 0, "early"));
	assert_true(nth_is(f, 1, "bird"));
}

static void ends(void **state)
{
	static const struct {
		const char *path;
		unsigned messages;
		int code;
		const char *reason;
		enum err_code want, or ;
		const char *words;
	} cases[] = {
		{ "/ws/bye", 1, 1000, "Bye", ERR_CLOSED, 0, "1000 Bye" },
		{ "/ws/code?1001", 0, 1001, "", ERR_CLOSED, 0, "1001" },
		{ "/ws/code?1003", 0, 1003, "", ERR_CLOSED, 0, "1003" },
		{ "/ws/code?1011", 0, 1011, "", ERR_CLOSED, 0, "1011" },
		{ "/ws/code?4000", 0, 4000, "", ERR_CLOSED, 0, "4000" },
		{ "/ws/nocode", 0, 0, "", ERR_CLOSED, 0, "" },
		{ "/ws/cut", 1, 0, "", ERR_CLOSED, ERR_RESET, "localhost" },
		{ "/ws/reset", 0, 0, "", ERR_RESET, ERR_CLOSED, "localhost" },
		{ "/ws/hangup", 0, 0, "", ERR_CLOSED, ERR_RESET, "localhost" },
		{ "/ws/403", 0, 0, "", ERR_CREDS, 0, "403" },
		{ "/ws/500", 0, 0, "", ERR_PROTO, 0, "500" },
		{ "/ws/302", 0, 0, "", ERR_PROTO, 0, "302" },
		{ "/ws/silent", 0, 0, "", ERR_TIMEOUT, 0, "200 ms" },
		{ "/ws/badframe", 0, 0, "", ERR_PROTO, 0, "broken" },
		{ "/ws/badutf8", 0, 0, "", ERR_PROTO, ERR_CLOSED, "localhost" },
		{ "/ws/huge", 0, 0, "", ERR_LIMIT, 0, "2097152" },
		{ "/ws/404", 0, 0, "", ERR_PROTO, 0, "404" },
		{ "/ws/badaccept", 0, 0, "", ERR_PROTO, 0, "upgrade" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		bool timed = cases[i].want == ERR_TIMEOUT;

		start_with(f, &(struct ws_opts){ .url = url(false, "localhost", cases[i].path),
						 .limit_ms = timed ? 200 : 0 });
		run_until(f, 0);
		if (f->why.code != cases[i].want || !strstr(f->why.msg, cases[i].words))
			print_error("%s: %d %s: %s %s\n", cases[i].path, f->code, f->reason,
				    err_name(f->why.code), f->why.msg);
		assert_int_equal(f->closed, 1);
		assert_int_equal(f->messages, cases[i].messages);
		assert_int_equal(f->code, cases[i].code);
		assert_string_equal(f->reason, cases[i].reason);
		assert_true(f->why.code == cases[i].want ||
			    (cases[i].or &&f->why.code == cases[i].or));
		assert_non_null(strstr(f->why.msg, cases[i].words));
	}
	peer_sees(f, "bye close 1000"); /* it was answered */
}

/* What the other side says about a refusal reaches whoever reads the log. */
static void refusals_have_their_text(void **state)
{
	struct fix *f = *state;

	start(f, "/ws/403");
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_CREDS);
	assert_non_null(strstr(f->why.msg, "HTTP status 403: <AccessDeniedException/>"));
	start(f, "/ws/500"); /* it keeps the connection open */
	run_until(f, 0);
	assert_non_null(strstr(f->why.msg, "HTTP status 500: oops"));
}

static void ipv6_literal(void **state)
{
	struct fix *f = *state;
	char ca[128];

	if (!peer.v6)
		skip();
	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	for (int tls = 0; tls < 2; tls++) {
		f->on_open = stop_on_open;
		start_with(f,
			   &(struct ws_opts){ .url = url(tls, "[::1]", "/ws/who"), .ca_file = ca });
		run_until(f, 0);
		if (!f->opened)
			print_error("%s\n", f->why.msg);
		assert_int_equal(f->opened, 1);
		if (f->messages == 0)
			run_until(f, 1);
		assert_true(last_has(f, "host: [::1]:"));
		end(f);
	}
}

/* Each is told to the peer by its code (RFC 6455, 7.4.1). */
static void broken_rules_have_codes(void **state)
{
	static const struct {
		const char *path, *seen, *words;
	} cases[] = {
		{ "/ws/badframe", "badframe close 1002", "reserved bit" },
		{ "/ws/masked", "masked close 1002", "masked" },
		{ "/ws/badutf8", "badutf8 close 1007", "not UTF-8" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		start(f, cases[i].path);
		run_until(f, 0);
		assert_int_equal(f->why.code, ERR_PROTO);
		assert_non_null(strstr(f->why.msg, cases[i].words));
		peer_sees(f, cases[i].seen);
	}
}

static void ping_until_close(struct fix *f, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	loop_stop(f->l);
}

/* A hundred thousand pings fill no queue, and the last one is answered. */
static void flood_of_pings(void **state)
{
	struct fix *f = *state;

	f->on_message = ping_until_close;
	start(f, "/ws/pings?100000");
	run_until(f, 1);
	assert_true(last_is(f, "last 99999"));
	end(f);
}

static void tls_failures(void **state)
{
	static const struct {
		const char *host, *ca;
		const char *words;
	} cases[] = {
		{ "localhost", "other.pem", "unable to get local issuer" },
		{ "localhost", NULL, "unable to get local issuer" },
		{ "127.0.0.1", "ca.pem", "mismatch" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		size_t k = i % COUNT(cases);
		char ca[128];

		snprintf(ca, sizeof(ca), "%s/%s", peer.dir, cases[k].ca ? cases[k].ca : "");
		start_with(f, &(struct ws_opts){ .url = url(true, cases[k].host, "/ws/echo"),
						 .ca_file = cases[k].ca ? ca : NULL });
		run_until(f, 0);
		if (!strstr(f->why.msg, cases[k].words))
			print_error("%zu: %s %s\n", k, err_name(f->why.code), f->why.msg);
		assert_int_equal(f->opened, 0);
		assert_int_equal(f->why.code, ERR_TLS);
		assert_non_null(strstr(f->why.msg, cases[k].words));
	}
}

/* A server that does not speak TLS. */
static void tls_to_a_plain_server(void **state)
{
	struct fix *f = *state;
	char text[64];

	snprintf(text, sizeof(text), "wss://localhost:%u/ws/echo", peer.plain);
	start_with(f, &(struct ws_opts){ .url = text, .limit_ms = 2000 });
	run_until(f, 0);
	/* It waits for the end of a line that never comes, or answers in the clear. */
	assert_true(f->why.code == ERR_TLS || f->why.code == ERR_TIMEOUT ||
		    f->why.code == ERR_CLOSED || f->why.code == ERR_RESET);
}

static void ca_file_is_read_again_when_it_changes(void **state)
{
	static const char *const froms[] = { "other.pem", "ca.pem" };
	struct fix *f = *state;
	char ca[128], from[128], cmd[600];
	struct err e = { 0 };

	snprintf(ca, sizeof(ca), "%s/tmp.pem", peer.dir);
	assert_null(ws_open(
		f->ctx,
		&(struct ws_opts){ .url = url(true, "localhost", "/ws/echo"), .ca_file = ca },
		&handler, f, &e));
	assert_int_equal(e.code, ERR_TLS);
	for (size_t i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "%s/%s", peer.dir, froms[i]);
		snprintf(cmd, sizeof(cmd), "cp %s %s.new && mv %s.new %s", from, ca, ca, ca);
		assert_int_equal(system(cmd), 0);
		f->on_open = stop_on_open;
		start_with(f, &(struct ws_opts){ .url = url(true, "localhost", "/ws/echo"),
						 .ca_file = ca });
		run_until(f, 0);
		assert_int_equal(f->opened, i);
	}
	end(f);
}

static void dial_failures_keep_their_cause(void **state)
{
	struct fix *f = *state;
	char text[160];
	uint16_t port;
	int unheard = tcp_unheard(&port);

	snprintf(text, sizeof(text), "ws://127.0.0.1:%u/", port);
	start_with(f, &(struct ws_opts){ .url = text });
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_REFUSED);
	snprintf(text, sizeof(text), "wss://localhost:%u/", port);
	start_with(f, &(struct ws_opts){ .url = text });
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_REFUSED);
	close(unheard);
	/* A label of 64 bytes: no resolver asks the network for that. */
	snprintf(text, sizeof(text), "ws://%064d.invalid/", 7);
	start_with(f, &(struct ws_opts){ .url = text });
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_RESOLVE);
}

static void environment_is_not_asked(void **state)
{
	struct fix *f = *state;

	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("https_proxy", "http://127.0.0.1:9", 1);
	f->on_open = stop_on_open;
	start(f, "/ws/echo");
	run_until(f, 0);
	unsetenv("http_proxy");
	unsetenv("https_proxy");
	assert_int_equal(f->opened, 1);
	end(f);
}

static void wrong_options(void **state)
{
	static const struct http_header line_end = { "X", "a\r\nHost: evil" };
	static const struct ws_opts cases[] = {
		{ .url = "http://localhost/" },
		{ .url = "ws://user@localhost/" },
		{ .url = "ws://localhost/a b" },
		{ .url = "ws://localhost:0/" },
		{ .url = "ws://localhost/#x" },
		{ .url = "ws://localhost/", .headers = &line_end, .header_count = 1 },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };

		assert_null(ws_open(f->ctx, &cases[i], &handler, f, &e));
		assert_true(e.code == ERR_USAGE || e.code == ERR_UNSUPPORTED);
	}
}

enum { MANY = 20000, KIB = 1024 };

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void send_many(struct fix *f)
{
	uint8_t msg[KIB];

	while (f->sent < MANY) {
		for (size_t i = 0; i < KIB; i++)
			msg[i] = (uint8_t)(f->sent * 31 + i);
		if (!ws_send(f->ws, false, msg, KIB)) {
			touch(f->go); /* the peer has not read a byte yet: there is back-pressure */
			return;
		}
		f->sent++;
	}
}

static void digest_of_many(char hex[65])
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t msg[KIB], md[32];

	EVP_DigestInit_ex(c, EVP_sha256(), NULL);
	for (size_t k = 0; k < MANY; k++) {
		for (size_t i = 0; i < KIB; i++)
			msg[i] = (uint8_t)(k * 31 + i);
		EVP_DigestUpdate(c, msg, KIB);
	}
	EVP_DigestFinal_ex(c, md, NULL);
	EVP_MD_CTX_free(c);
	str_hex(md, 32, hex);
}

static void many_up(struct fix *f, bool tls)
{
	char ca[128], path[160], want[65];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	snprintf(f->go, sizeof(f->go), "%s/go-%d", peer.dir, tls);
	snprintf(path, sizeof(path), "/ws/count?%d,%d,%s", MANY, KIB, f->go);
	f->on_open = f->on_writable = send_many;
	start_with(f, &(struct ws_opts){ .url = url(tls, "localhost", path), .ca_file = ca });
	run_until(f, 1);
	assert_int_equal(f->sent, MANY);
	assert_true(f->writables > 0);
	digest_of_many(want);
	assert_true(last_is(f, want));
	f->on_open = f->on_writable = NULL;
	unlink(f->go);
	end(f);
}

static void many_up_plain(void **state)
{
	many_up(*state, false);
}

static void many_up_tls(void **state)
{
	many_up(*state, true);
}

static void check_numbered(struct fix *f, const uint8_t *p, size_t n)
{
	unsigned i = f->messages - 1;

	assert_int_equal(n, KIB);
	assert_int_equal((unsigned)(p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]), i);
	assert_int_equal(p[4], i & 255);
	assert_int_equal(p[KIB - 1], i & 255);
}

static void many_down(struct fix *f, bool tls)
{
	char ca[128], path[64];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	snprintf(path, sizeof(path), "/ws/flood?%d,%d", MANY, KIB);
	f->on_message = check_numbered;
	start_with(f, &(struct ws_opts){ .url = url(tls, "localhost", path), .ca_file = ca });
	run_until(f, MANY);
	end(f);
}

static void many_down_plain(void **state)
{
	many_down(*state, false);
}

static void many_down_tls(void **state)
{
	many_down(*state, true);
}

static void pause_often(struct fix *f, const uint8_t *p, size_t n)
{
	check_numbered(f, p, n);
	assert_false(f->paused); /* it stops at once */
	if (f->messages % 1000 == 500) {
		f->paused = true;
		ws_pause(f->ws, true);
		loop_stop(f->l);
	}
}

/* Paused at once: nothing comes; resumed: everything does, in order. */
static void pause_and_resume(struct fix *f, bool tls)
{
	char ca[128], path[64];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	snprintf(path, sizeof(path), "/ws/flood?%d,%d", MANY, KIB);
	f->on_message = pause_often;
	start_with(f, &(struct ws_opts){ .url = url(tls, "localhost", path), .ca_file = ca });
	while (f->messages < MANY) {
		unsigned before;

		f->stop_at = MANY;
		loop_run(f->l);
		assert_int_equal(f->closed, 0);
		if (f->messages == MANY)
			break;
		before = f->messages;
		run_for(f, 5);
		assert_int_equal(f->messages, before);
		f->paused = false;
		ws_pause(f->ws, false);
	}
	f->on_message = NULL;
	end(f);
}

static void pause_plain(void **state)
{
	pause_and_resume(*state, false);
}

static void pause_tls(void **state)
{
	pause_and_resume(*state, true);
}

static void pings_keep_it_alive(void **state)
{
	struct fix *f = *state;

	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/ponger"),
					 .ping_ms = 20,
					 .pong_limit_ms = 20000 });
	run_until(f, 5);
	assert_true(last_is(f, "ping keepalive"));
	end(f);
}

static void silence_is_death(void **state)
{
	struct fix *f = *state;

	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/deaf"),
					 .ping_ms = 30,
					 .pong_limit_ms = 60 });
	run_until(f, 0);
	assert_int_equal(f->opened, 1);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_non_null(strstr(f->why.msg, "no pong for 60 ms"));
}

/* Alone it leaves when its time is over; in company at once, and in order. */
static void some_may_wait(void **state)
{
	enum { LONG_MS = 3600 * 1000 };
	static const uint8_t block[WS_BLOCK] = { 7 };
	struct fix *f = *state;

	f->on_open = stop_on_open;
	start(f, "/ws/echo");
	run_until(f, 0);
	assert_true(ws_send_soon(f->ws, "alone", 5, 20));
	run_until(f, 1);
	assert_true(last_is(f, "alone"));
	assert_true(ws_send_soon(f->ws, "first", 5, LONG_MS));
	assert_true(ws_send(f->ws, true, "second", 6));
	run_until(f, 3);
	assert_true(nth_is(f, 1, "first"));
	assert_true(nth_is(f, 2, "second"));
	assert_true(ws_send_soon(f->ws, block, sizeof(block), LONG_MS));
	run_until(f, 4);
	assert_true(ws_send_soon(f->ws, "late", 4, LONG_MS));
	run_for(f, 30);
	assert_int_equal(f->messages, 4);
	f->stop_at = 5;
	ws_close(f->ws); /* what was sent still goes, and comes back too late to be told */
	run_until(f, 0);
	assert_true(f->clean);
}

static void fill(struct fix *f)
{
	static const uint8_t msg[16 * KIB];

	while (ws_send(f->ws, false, msg, sizeof(msg)))
		f->sent++;
}

static void fill_and_stop(struct fix *f)
{
	fill(f);
	loop_stop(f->l);
}

/* A ping that cannot even leave because the peer reads nothing. */
static void silence_behind_a_full_queue_is_death(void **state)
{
	struct fix *f = *state;

	f->on_open = f->on_writable = fill;
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/deaf"),
					 .ping_ms = 100,
					 .pong_limit_ms = 200 });
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	assert_true(f->sent * 16 * KIB > WS_SEND_MAX / 2);
}

static void pause_on_open(struct fix *f)
{
	ws_pause(f->ws, true);
	loop_stop(f->l);
}

static void paused_is_not_dead(void **state)
{
	enum { PONG_MS = 2000 }; /* once it reads again, the peer has to answer within that */
	struct fix *f = *state;

	f->on_open = pause_on_open;
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/ponger"),
					 .ping_ms = 10,
					 .pong_limit_ms = PONG_MS });
	run_until(f, 0);
	run_for(f, PONG_MS + PONG_MS / 2);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->messages, 0);
	ws_pause(f->ws, false);
	run_until(f, 2);
	assert_int_equal(f->closed, 0);
	end(f);
}

static void message_over_the_limit(void **state)
{
	struct fix *f = *state;
	static const uint8_t msg[2000];

	f->on_open = stop_on_open;
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/flood?1,2000"),
					 .message_max = 1999 });
	run_until(f, 0);
	if (!f->closed) /* the message may have come with the head */
		run_until(f, 0);
	assert_int_equal(f->opened, 1);
	assert_int_equal(f->why.code, ERR_LIMIT);
	start_with(f, &(struct ws_opts){ .url = url(false, "localhost", "/ws/echo"),
					 .message_max = 1999 });
	run_until(f, 0);
	assert_false(ws_send(f->ws, false, msg, sizeof(msg)));
	run_until(f, 0);
	assert_int_equal(f->why.code, ERR_LIMIT);
}

/* ws_close() in every state, and a peer that does not answer the close. */
static void closed_at_every_stage(void **state)
{
	static const unsigned after_ms[] = { 0, 1, 2, 5, 20 };
	static const char *const paths[] = { "/ws/silent", "/ws/deaf", "/ws/flood?20000,1024",
					     "/ws/bye" };
	struct fix *f = *state;
	char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	for (size_t p = 0; p < COUNT(paths); p++)
		for (size_t i = 0; i < COUNT(after_ms); i++) {
			start_with(f, &(struct ws_opts){ .url = url(i % 2, "localhost", paths[p]),
							 .ca_file = ca });
			if (after_ms[i])
				run_for(f, after_ms[i]);
			if (p == 1 && f->opened && i != 4)
				continue; /* these wait for the 2 s */
			if (f->closed)
				continue; /* "Bye" was faster */
			end(f);
		}
}

static void close_in_message(struct fix *f, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	ws_close(f->ws);
}

/* After ws_close() only closed() comes. */
static void closed_from_inside(void **state)
{
	struct fix *f = *state;

	f->on_message = close_in_message;
	start(f, "/ws/flood?20000,1024");
	run_until(f, 0);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->messages, 1);
	assert_true(f->clean);
}

/* What was sent before ws_close() arrives. */
static void close_flushes(void **state)
{
	struct fix *f = *state;

	f->on_open = fill_and_stop;
	start(f, "/ws/echo");
	run_until(f, 0);
	assert_int_equal(f->opened, 1);
	end(f);
	peer_sees(f, "close 1000");
}

static void freed_with_connections(void **state)
{
	struct fix *f = *state;

	f->on_open = stop_on_open;
	start(f, "/ws/echo");
	run_until(f, 0);
	start(f, "/ws/silent");
	start(f, "/ws/echo");
	ws_context_free(f->ctx, on_freed, f);
	f->ctx = NULL;
	while (!f->freed)
		loop_run(f->l);
	assert_int_equal(f->closed, 3);
	assert_true(f->clean);
}

static void many_connections(void **state)
{
	struct fix *f = *state;
	struct err e;
	unsigned n = 60;
	char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	for (unsigned i = 0; i < n; i++)
		assert_non_null(
			ws_open(f->ctx,
				&(struct ws_opts){ .url = url(i % 2, "localhost", "/ws/bye"),
						   .ca_file = ca },
				&handler, f, &e));
	while (f->closed < n)
		loop_run(f->l);
	assert_int_equal(f->messages, n);
	assert_int_equal(f->code, 1000);
}

/* The first use of libuv, curl and OpenSSL opens what they keep for good. */
static int start_peer(void **state)
{
	void *f;

	(void)state;
	clients_peer_start(&peer);
	if (setup(&f) != 0)
		return -1;
	start_with(f, &(struct ws_opts){ .url = url(true, "localhost", "/ws/bye") });
	run_until(f, 0);
	(void)teardown(&f);
	return 0;
}

static int stop_peer(void **state)
{
	(void)state;
	clients_peer_stop(&peer);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(echo_plain),
		T(echo_tls),
		T(request_is_verbatim),
		T(long_path),
		T(request_that_is_too_long),
		T(fragments_and_pings),
		T(frames_behind_the_head),
		T(ends),
		T(refusals_have_their_text),
		T(ipv6_literal),
		T(broken_rules_have_codes),
		T(flood_of_pings),
		T(tls_failures),
		T(tls_to_a_plain_server),
		T(ca_file_is_read_again_when_it_changes),
		T(dial_failures_keep_their_cause),
		T(environment_is_not_asked),
		T(wrong_options),
		T(many_up_plain),
		T(many_up_tls),
		T(many_down_plain),
		T(many_down_tls),
		T(pause_plain),
		T(pause_tls),
		T(pings_keep_it_alive),
		T(silence_is_death),
		T(silence_behind_a_full_queue_is_death),
		T(some_may_wait),
		T(paused_is_not_dead),
		T(message_over_the_limit),
		T(closed_at_every_stage),
		T(closed_from_inside),
		T(close_flushes),
		T(freed_with_connections),
		T(many_connections),
	};

	return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
