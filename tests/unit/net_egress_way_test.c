/* A way out that is not this host's own (net/egress.h): who takes it, what stays here and that
 * curl is content with one end of a tcp_pair(). */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "net/egress.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/tcp_pair.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

enum { PATIENCE_MS = 1234 };

struct fix {
	struct loop *l;
	struct egress *egress;
	struct http *http;
	size_t fds;
	struct loop_timer limit;
	bool late;
	/* the way */
	char asked[80];
	unsigned dials, cancelled;
	bool hold; /* never answer */
	const char *no_clear;
	struct loop_post post;
	net_dialed_fn *done;
	void *done_arg;
	/* its far end */
	struct loop_watch far;
	char request[400];
	/* what came back */
	int status;
	char body[16];
	struct err why;
	unsigned replies;
};

static void too_long(void *arg)
{
	struct fix *f = arg;

	f->late = true;
	loop_stop(f->l);
}

static void on_far(void *arg, unsigned ready)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	struct fix *f = arg;
	size_t n = strlen(f->request);
	ssize_t got = recv(f->far.fd, f->request + n, sizeof(f->request) - 1 - n, MSG_DONTWAIT);

	(void)ready;
	if (got <= 0)
		watch_close(f->l, &f->far);
	else if (strstr(f->request, "\r\n\r\n"))
		assert_int_equal(send(f->far.fd, answer, strlen(answer), MSG_NOSIGNAL),
				 (ssize_t)strlen(answer));
}

static void answer(void *arg)
{
	struct fix *f = arg;
	const struct addr nowhere = { 0 };
	struct err e;
	int pair[2];

	assert_int_equal(tcp_pair(pair, &e), 0);
	assert_int_equal(watch_add(f->l, &f->far, pair[1], WATCH_READ, on_far, f, &e), 0);
	f->done(f->done_arg, pair[0], &nowhere, NULL);
}

static void *way_dial(void *arg, const char *host, uint16_t port, unsigned limit_ms,
		      net_dialed_fn *done, void *done_arg, struct err *e)
{
	struct fix *f = arg;

	(void)e;
	assert_int_equal(limit_ms, TEST_LIMIT_MS);
	(void)str_fmt(f->asked, sizeof(f->asked), "%s:%u", host, port);
	f->dials++;
	f->done = done;
	f->done_arg = done_arg;
	if (!f->hold)
		loop_post(f->l, &f->post, answer, f);
	return f;
}

static void way_cancel(void *dial)
{
	struct fix *f = dial;

	loop_unpost(&f->post);
	f->cancelled++;
}

static unsigned way_patience(void *arg)
{
	(void)arg;
	return PATIENCE_MS;
}

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct fix *f = arg;

	f->replies++;
	if (r) {
		f->status = r->status;
		(void)str_fmt(f->body, sizeof(f->body), "%s", r->body);
	} else {
		f->why = *why;
	}
	loop_stop(f->l);
}

static void make(struct fix *f, const char *proxy)
{
	struct egress_way way = { way_dial, way_cancel, way_patience, f, f->no_clear };
	struct egress_opts o = { .http_proxy = proxy, .http_name = "HTTP_PROXY" };
	struct err e;

	o.loop = f->l;
	f->egress = egress_new(&o, &e);
	assert_non_null(f->egress);
	egress_set_way(f->egress, &way);
	http_set_egress(f->http, f->egress);
}

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	f.http = http_new(f.l, &e);
	timer_arm(f.l, &f.limit, TEST_LIMIT_MS, too_long, &f);
	*state = &f;
	return f.http ? 0 : -1;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	timer_disarm(f->l, &f->limit);
	http_free(f->http);
	egress_free(f->egress);
	if (f->far.added)
		watch_close(f->l, &f->far);
	loop_free(f->l);
	return fds_open() == f->fds && !f->late ? 0 : -1;
}

static struct http_call *get(struct fix *f, const char *url, bool no_proxy)
{
	struct http_request r = {
		.method = "GET", .url = url, .limit_ms = TEST_LIMIT_MS, .no_proxy = no_proxy
	};
	struct err e;
	struct http_call *c = http_send(f->http, &r, on_reply, f, &e);

	assert_non_null(c);
	return c;
}

static void requests_take_it(void **state)
{
	struct fix *f = *state;

	make(f, NULL);
	(void)get(f, "http://sts.example:81/x", false);
	loop_run(f->l);
	assert_string_equal(f->asked, "sts.example:81");
	assert_int_equal(f->status, 200);
	assert_string_equal(f->body, "hi");
	assert_non_null(strstr(f->request, "Host: sts.example:81\r\n"));
}

static void a_proxy_is_dialled_by_it(void **state)
{
	struct fix *f = *state;

	make(f, "http://proxy.example:3128");
	f->hold = true;
	http_cancel(get(f, "http://sts.example/", false));
	assert_string_equal(f->asked, "proxy.example:3128");
	assert_int_equal(f->cancelled, 1);
}

/* What only this host has is asked from here, whoever asks. */
static void some_stay_here(void **state)
{
	static const struct {
		const char *host;
		bool here;
	} rows[] = {
		{ "169.254.169.254", true },
		{ "169.254.170.2", true },
		{ "169.254.170.23", true },
		{ "fd00:ec2::254", true },
		{ "FD00:EC2::23", true },
		{ "fe80::1", true },
		{ "127.0.0.1", true },
		{ "127.8.8.8", true },
		{ "::1", true },
		{ "::ffff:127.0.0.1", true },
		{ "localhost", true },
		{ "LocalHost.", true },
		{ "aws.localhost", true },
		{ "notlocalhost", false },
		{ "localhost.example", false },
		{ "10.0.0.1", false },
		{ "192.0.2.1", false },
		{ "2001:db8::1", false },
		{ "sts.amazonaws.com", false },
		{ "", false },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < COUNT(rows); i++)
		if (egress_stays_here(rows[i].host) != rows[i].here)
			fail_msg("%s", rows[i].host);
	make(f, NULL);
	http_cancel(get(f, "http://127.0.0.1:1/", false));
	assert_int_equal(f->dials, 0);
	http_set_egress(f->http, NULL);
	http_cancel(get(f, "http://127.0.0.1:1/", false));
	assert_int_equal(f->dials, 0);
}

/* Session tokens, and the keys that STS gives, would be read by who carries them. */
static void not_in_clear(void **state)
{
	static const char *const urls[] = { "http://sts.example/", "http://10.0.0.1:81/" };
	struct fix *f = *state;
	struct err e;

	f->no_clear = "them (do that)";
	f->hold = true;
	make(f, NULL);
	for (size_t i = 0; i < COUNT(urls); i++) {
		struct http_request r = { .method = "GET",
					  .url = urls[i],
					  .limit_ms = TEST_LIMIT_MS };

		assert_null(http_send(f->http, &r, on_reply, f, &e));
		assert_int_equal(e.code, ERR_CONFIG);
		assert_non_null(strstr(e.msg, "them (do that)"));
	}
	assert_int_equal(f->dials, 0);
	http_cancel(get(f, "https://sts.example/", false));
	assert_int_equal(f->dials, 1);
	http_cancel(get(f, "http://127.0.0.1:1/", false));
	assert_int_equal(f->dials, 1);
}

/* Nor to a proxy, whose connection is no more than the next one. */
static void not_in_clear_by_a_proxy(void **state)
{
	struct fix *f = *state;
	struct http_request r = { .method = "GET",
				  .url = "http://sts.example/",
				  .limit_ms = TEST_LIMIT_MS };
	struct err e;

	f->no_clear = "them";
	make(f, "http://proxy.example:3128");
	assert_null(http_send(f->http, &r, on_reply, f, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_int_equal(f->dials, 0);
}

static void patience(void **state)
{
	struct fix *f = *state;

	assert_int_equal(egress_patience_ms(NULL), 0);
	make(f, NULL);
	assert_int_equal(egress_patience_ms(f->egress), PATIENCE_MS);
}

/* What libuv opens once and for all is not counted. */
static int first_loop(void **state)
{
	struct loop *l;
	struct err e;

	(void)state;
	if (loop_new(&l, &e) != 0)
		return -1;
	return loop_free(l) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_take_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_proxy_is_dialled_by_it, setup, teardown),
		cmocka_unit_test_setup_teardown(some_stay_here, setup, teardown),
		cmocka_unit_test_setup_teardown(not_in_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(not_in_clear_by_a_proxy, setup, teardown),
		cmocka_unit_test_setup_teardown(patience, setup, teardown),
	};

	return cmocka_run_group_tests(tests, first_loop, NULL);
}
