/* The HTTP client, against tests/support/clients_peer.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/http.h"
#include "net/loop.h"
#include "tests/support/clients_peer.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"

static struct clients_peer peer;

struct fix {
	struct loop *l;
	struct http *http;
	size_t fds;
	struct loop_timer limit;
	bool late;

	/* the last reply */
	unsigned replies, pending;
	int status;
	struct buf body;
	char x_method[16], x_type[64], x_twice[16], x_early[16], x_empty[16];
	bool has_empty;
	struct err why;
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
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	f.http = http_new(f.l, &e);
	buf_init(&f.body, 64 << 20);
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return f.http ? 0 : -1;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	http_free(f->http);
	loop_free(f->l);
	buf_free(&f->body);
	return fds_open() == f->fds && !f->late ? 0 : -1;
}

static void keep(const struct http_reply *r, const char *name, char *out, size_t size)
{
	const char *value = http_reply_header(r, name);

	snprintf(out, size, "%s", value ? value : "(none)");
}

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct fix *f = arg;

	f->replies++;
	buf_clear(&f->body);
	f->status = r ? r->status : 0;
	f->why = why ? *why : (struct err){ 0 };
	assert_int_equal(r == NULL, why != NULL);
	if (r) {
		assert_int_equal(r->body[r->body_len], '\0');
		assert_int_equal(buf_add(&f->body, r->body, r->body_len, NULL), 0);
		keep(r, "x-method", f->x_method, sizeof(f->x_method));
		keep(r, "X-Seen-Type", f->x_type, sizeof(f->x_type));
		keep(r, "x-TWICE", f->x_twice, sizeof(f->x_twice));
		keep(r, "x-early", f->x_early, sizeof(f->x_early));
		f->has_empty = http_reply_header(r, "X-Empty") != NULL;
	}
	if (--f->pending == 0)
		loop_stop(f->l);
}

static struct http_call *start(struct fix *f, const struct http_request *r)
{
	struct err e = { 0 };
	struct http_request request = *r;
	struct http_call *c;

	if (!request.limit_ms)
		request.limit_ms = TEST_LIMIT_MS;
	c = http_send(f->http, &request, on_reply, f, &e);

	if (!c)
		print_error("http_send: %s\n", e.msg);
	assert_non_null(c);
	f->pending++;
	return c;
}

static void fetch(struct fix *f, const struct http_request *r)
{
	unsigned before = f->replies;

	start(f, r);
	assert_int_equal(f->replies, before); /* never from inside the call */
	loop_run(f->l);
	assert_int_equal(f->replies, before + 1);
}

static const char *url(bool tls, const char *host, const char *path)
{
	static char text[4][512];
	static unsigned at;

	at = (at + 1) % 4;
	snprintf(text[at], sizeof(text[at]), "%s://%s:%u%s", tls ? "https" : "http", host,
		 tls ? peer.tls : peer.plain, path);
	return text[at];
}

static bool body_is(struct fix *f, const char *want)
{
	return buf_len(&f->body) == strlen(want) &&
	       memcmp(buf_ptr(&f->body), want, strlen(want)) == 0;
}

static bool body_has(struct fix *f, const char *want)
{
	return memmem(buf_ptr(&f->body), buf_len(&f->body), want, strlen(want)) != NULL;
}

static void methods_and_bodies(void **state)
{
	static const struct {
		const char *method, *body, *type;
	} cases[] = {
		{ "GET", "", NULL },
		{ "POST", "", NULL },
		{ "POST", "{\"a\":1}", "application/x-amz-json-1.1" },
		{ "PUT", "", NULL },
		{ "PUT", "x", NULL },
		{ "DELETE", "", NULL },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct http_header h = { "Content-Type", cases[i].type };
		struct http_request r = { .method = cases[i].method,
					  .url = url(false, "localhost", "/echo"),
					  .headers = &h,
					  .header_count = cases[i].type ? 1 : 0,
					  .body = cases[i].body,
					  .body_len = strlen(cases[i].body) };

		fetch(f, &r);
		assert_int_equal(f->status, 200);
		assert_string_equal(f->x_method, cases[i].method);
		assert_string_equal(f->x_type, cases[i].type ? cases[i].type : "none");
		assert_string_equal(f->x_twice, "two");
		assert_true(f->has_empty);
		assert_true(body_is(f, cases[i].body));
	}
}

static void big_body_both_ways(void **state)
{
	struct fix *f = *state;
	size_t n = 3 << 20;
	char *body = mem_alloc(n);
	struct http_request r = { .method = "POST",
				  .url = url(true, "localhost", "/echo"),
				  .body = body,
				  .body_len = n };
	char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	r.ca_file = ca;
	for (size_t i = 0; i < n; i++)
		body[i] = (char)(i * 7 + i / 1000);
	fetch(f, &r);
	assert_int_equal(f->status, 200);
	assert_int_equal(buf_len(&f->body), n);
	assert_memory_equal(buf_ptr(&f->body), body, n);
	mem_free(body);
}

static void kinds_of_replies(void **state)
{
	struct fix *f = *state;

	fetch(f, &(struct http_request){ .method = "GET", .url = url(false, "127.0.0.1", "/x/y") });
	assert_int_equal(f->status, 404);
	assert_true(body_is(f, "/x/y"));
	fetch(f, &(struct http_request){ .method = "GET",
					 .url = url(false, "127.0.0.1", "/interim") });
	assert_int_equal(f->status, 200);
	assert_string_equal(f->x_early, "(none)");
	assert_true(body_is(f, "late"));
	fetch(f, &(struct http_request){ .method = "GET",
					 .url = url(false, "127.0.0.1", "/chunked") });
	assert_true(body_is(f, "abcde"));
	fetch(f, &(struct http_request){ .method = "GET",
					 .url = url(false, "127.0.0.1", "/redirect") });
	assert_int_equal(f->status, 302);
	fetch(f,
	      &(struct http_request){ .method = "HEAD", .url = url(false, "127.0.0.1", "/echo") });
	assert_int_equal(f->status, 200);
	assert_string_equal(f->x_method, "HEAD");
	assert_true(body_is(f, ""));
}

static void target_goes_out_verbatim(void **state)
{
	static const char *const paths[] = { "/a/../b/./c//d?x=%2B+y/z==&t=a%20b", "/%41%2f",
					     "?only=query", "" };
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(paths); i++) {
		char want[128];

		fetch(f, &(struct http_request){ .method = "GET",
						 .url = url(false, "127.0.0.1", paths[i]) });
		snprintf(want, sizeof(want), "%s%s", paths[i][0] == '/' ? "" : "/", paths[i]);
		assert_true(body_is(f, want));
	}
}

static void headers_go_out(void **state)
{
	static const struct http_header h[] = { { "X-Amz-Date", "20261122T000000Z" },
						{ "X-Empty", "" },
						{ "Authorization", "AWS4 x, y;z" } };
	struct fix *f = *state;
	char want[64];

	fetch(f, &(struct http_request){ .method = "GET",
					 .url = url(false, "localhost", "/headers"),
					 .headers = h,
					 .header_count = COUNT(h) });
	snprintf(want, sizeof(want), "host: localhost:%u\n", peer.plain);
	assert_true(body_has(f, want));
	assert_true(body_has(f, "x-amz-date: 20261122T000000Z"));
	assert_true(body_has(f, "x-empty: "));
	assert_true(body_has(f, "authorization: AWS4 x, y;z"));
	assert_false(body_has(f, "expect"));
	assert_false(body_has(f, "content-type"));
}

/* 64 bytes where 63 are allowed: no resolver asks the network for that. */
#define LONG_LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void failures_say_why(void **state)
{
	static const struct {
		const char *host, *path;
		bool tls;
		const char *ca;
		enum err_code want;
		const char *words;
	} cases[] = {
		{ "localhost", "/silent", false, NULL, ERR_TIMEOUT, "300 ms" },
		{ "localhost", "/big?9000000", false, NULL, ERR_LIMIT, "longer than" },
		{ "localhost", "/cut", false, NULL, ERR_CLOSED, "localhost:" },
		{ "localhost", "/garbage", false, NULL, ERR_PROTO, "" },
		{ "localhost", "/manyheaders", false, NULL, ERR_LIMIT, "head" },
		{ "localhost", "/echo", true, NULL, ERR_TLS, "certificate" },
		{ "localhost", "/echo", true, "other.pem", ERR_TLS, "certificate" },
		{ "localhost", "/echo", true, "none.pem", ERR_TLS, "none.pem" },
		{ "127.0.0.1", "/echo", true, "ca.pem", ERR_TLS, "127.0.0.1" },
		{ LONG_LABEL ".invalid", "/echo", false, NULL, ERR_RESOLVE, "invalid" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		char ca[128];
		struct http_request r = { .method = "GET",
					  .url = url(cases[i].tls, cases[i].host, cases[i].path),
					  .limit_ms = cases[i].want == ERR_TIMEOUT ? 300 : 0 };

		snprintf(ca, sizeof(ca), "%s/%s", peer.dir, cases[i].ca ? cases[i].ca : "");
		r.ca_file = cases[i].ca ? ca : NULL;
		fetch(f, &r);
		if (f->why.code != cases[i].want || !strstr(f->why.msg, cases[i].words))
			print_error("case %zu: %s %s\n", i, err_name(f->why.code), f->why.msg);
		assert_int_equal(f->why.code, cases[i].want);
		assert_non_null(strstr(f->why.msg, cases[i].words));
	}
}

static void refused(void **state)
{
	struct fix *f = *state;
	char text[64];
	uint16_t port;
	int unheard = tcp_unheard(&port);

	snprintf(text, sizeof(text), "http://127.0.0.1:%u/", port);
	fetch(f, &(struct http_request){ .method = "GET", .url = text });
	assert_int_equal(f->why.code, ERR_REFUSED);
	snprintf(text, sizeof(text), "https://localhost:%u/", port);
	fetch(f, &(struct http_request){ .method = "GET", .url = text });
	assert_int_equal(f->why.code, ERR_REFUSED);
	close(unheard);
}

static void tls_with_ca_file(void **state)
{
	struct fix *f = *state;
	char ca[128];

	snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
	fetch(f, &(struct http_request){
			 .method = "GET", .url = url(true, "localhost", "/echo"), .ca_file = ca });
	assert_int_equal(f->status, 200);
	/* Trusted for the request that asked for it alone. */
	fetch(f, &(struct http_request){ .method = "GET", .url = url(true, "localhost", "/echo") });
	assert_int_equal(f->why.code, ERR_TLS);
}

static void environment_is_not_asked(void **state)
{
	struct fix *f = *state;

	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("ALL_PROXY", "socks5h://127.0.0.1:9", 1);
	fetch(f,
	      &(struct http_request){ .method = "GET", .url = url(false, "localhost", "/echo") });
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	assert_int_equal(f->status, 200);
}

static void wrong_requests_are_refused_at_once(void **state)
{
	static const struct http_header line_end = { "X", "a\r\nHost: evil" };
	static const struct http_header colon = { "X: y", "a" };
	static const struct http_request cases[] = {
		{ .method = "GET", .url = "ftp://localhost/" },
		{ .method = "GET", .url = "http://user@localhost/" },
		{ .method = "GET", .url = "http://localhost/a b" },
		{ .method = "GET", .url = "http://localhost:0/" },
		{ .method = "GET", .url = "http://localhost:99999/" },
		{ .method = "GET", .url = "http://:80/" },
		{ .method = "GET", .url = "http://local\rhost/" },
		{ .method = "GET /x", .url = "http://localhost/" },
		{ .method = "GET",
		  .url = "http://localhost/",
		  .headers = &line_end,
		  .header_count = 1 },
		{ .method = "GET",
		  .url = "http://localhost/",
		  .headers = &colon,
		  .header_count = 1 },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };

		assert_null(http_send(f->http, &cases[i], on_reply, f, &e));
		assert_int_equal(e.code, ERR_USAGE);
	}
}

struct cancel {
	struct fix *f;
	struct http_call *call;
	struct loop_timer t;
};

static void cancel_now(void *arg)
{
	struct cancel *c = arg;

	http_cancel(c->call);
	c->f->pending--;
}

static void stop_now(void *arg)
{
	loop_stop(arg);
}

/* At every stage: before the dial, while connecting, in TLS, waiting, in the body. */
static void cancelled_calls_never_come(void **state)
{
	static const unsigned after_ms[] = { 0, 1, 2, 5, 20, 50 };
	struct fix *f = *state;
	struct cancel c[COUNT(after_ms) * 2] = { 0 };
	struct loop_timer end = { 0 };

	for (size_t i = 0; i < COUNT(c); i++) {
		char ca[128];
		struct http_request r = { .method = "GET",
					  .url = url(i % 2, "localhost", "/silent"),
					  .ca_file = ca };

		snprintf(ca, sizeof(ca), "%s/ca.pem", peer.dir);
		c[i].f = f;
		c[i].call = start(f, &r);
		timer_arm(f->l, &c[i].t, after_ms[i / 2], cancel_now, &c[i]);
	}
	http_cancel(start(f, &(struct http_request){ .method = "GET",
						     .url = url(false, "localhost", "/echo") }));
	f->pending--;
	timer_arm(f->l, &end, 120, stop_now, f->l);
	loop_run(f->l);
	assert_int_equal(f->pending, 0);
	assert_int_equal(f->replies, 0);
}

static void many_at_once(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 50; i++)
		start(f, &(struct http_request){ .method = "POST",
						 .url = url(false, "localhost", "/echo"),
						 .body = "hello",
						 .body_len = 5 });
	loop_run(f->l);
	assert_int_equal(f->replies, 50);
	assert_int_equal(f->status, 200);
}

/* Teardown checks that nothing is left of them. */
static void freed_with_calls_under_way(void **state)
{
	struct fix *f = *state;
	struct loop_timer end = { 0 };

	for (int i = 0; i < 4; i++)
		start(f, &(struct http_request){ .method = "GET",
						 .url = url(false, "localhost", "/silent") });
	timer_arm(f->l, &end, 30, stop_now, f->l);
	loop_run(f->l);
	start(f,
	      &(struct http_request){ .method = "GET", .url = url(false, "localhost", "/echo") });
	http_free(f->http);
	f->http = NULL;
	timer_arm(f->l, &end, 10, stop_now, f->l);
	loop_run(f->l);
	assert_int_equal(f->replies, 0);
}

/* The first use of libuv, curl and OpenSSL opens what they keep for good. */
static int start_peer(void **state)
{
	void *f;

	(void)state;
	clients_peer_start(&peer);
	if (setup(&f) != 0)
		return -1;
	fetch(f, &(struct http_request){ .method = "GET", .url = url(true, "localhost", "/") });
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
		T(methods_and_bodies),
		T(big_body_both_ways),
		T(kinds_of_replies),
		T(target_goes_out_verbatim),
		T(headers_go_out),
		T(failures_say_why),
		T(refused),
		T(tls_with_ca_file),
		T(environment_is_not_asked),
		T(wrong_requests_are_refused_at_once),
		T(cancelled_calls_never_come),
		T(many_at_once),
		T(freed_with_calls_under_way),
	};

	return cmocka_run_group_tests(tests, start_peer, stop_peer);
}
