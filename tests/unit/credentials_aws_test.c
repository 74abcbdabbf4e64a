/*
 * credentials/aws.c on an HTTP of the test's own (these three functions stand
 * before the archive's): what is sent, what is retried, what a cancel stops.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/creds.h"
#include "credentials/provider_impl.h"
#include "net/http.h"
#include "net/loop.h"
#include "tests/support/cmocka_all.h"

struct http_call {
	http_fn *fn;
	void *arg;
	char *url, *body, *headers;
	unsigned limit_ms;
};
struct http {
	int sent, cancelled;
	bool refuse;
	struct http_call *call; /* under way */
	struct loop *loop;
};

static char *joined(const struct http_request *r)
{
	char text[4096] = "";

	for (size_t i = 0; i < r->header_count; i++) {
		size_t n = strlen(text);

		assert_true(str_fmt(text + n, sizeof(text) - n, "%s: %s\n", r->headers[i].name,
				    r->headers[i].value));
	}
	return mem_strdup(text);
}

struct http_call *http_send(struct http *h, const struct http_request *r, http_fn *fn, void *arg,
			    struct err *e)
{
	struct http_call *c;

	assert_null(h->call);
	h->sent++;
	loop_stop(h->loop);
	if (h->refuse) {
		(void)err_set(e, ERR_NOMEM, "no");
		return NULL;
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct http_call){
		fn,        arg,        mem_strdup(r->url), mem_strndup(r->body, r->body_len),
		joined(r), r->limit_ms
	};
	h->call = c;
	return c;
}

static void call_free(struct http_call *c)
{
	mem_free(c->url);
	mem_free(c->body);
	mem_free(c->headers);
	mem_free(c);
}

static struct http *the_http; /* http_cancel() is given the call alone */

void http_cancel(struct http_call *c)
{
	the_http->cancelled++;
	the_http->call = NULL;
	call_free(c);
}

const char *http_reply_header(const struct http_reply *r, const char *name)
{
	return str_eq_nocase(name, "date") ? (const char *)r->impl : NULL;
}

struct world {
	struct loop *loop;
	struct http http;
	struct provider *provider;
	struct aws_client *client;
	int answers, status;
	char code[64], text[330], body[64];
	enum err_code class;
};

static int set_up(void **state)
{
	static struct world w;
	struct creds *c = creds_new("AKID", "secret", "tok", 0, NULL, "test", NULL);
	struct err e;

	w = (struct world){ 0 };
	assert_int_equal(loop_new(&w.loop, &e), 0);
	w.http.loop = w.loop;
	the_http = &w.http;
	w.provider = static_new(w.loop, c, &e);
	creds_unref(c);
	w.client = aws_client_new(&(struct aws_client_opts){ .loop = w.loop,
							     .http = &w.http,
							     .provider = w.provider,
							     .region = "eu-west-1" },
				  &e);
	assert_non_null(w.client);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	aws_client_free(w->client);
	assert_null(w->http.call);
	provider_close(w->provider);
	loop_free(w->loop);
	return 0;
}

static void on_answer(void *arg, const struct aws_reply *reply, const char *code,
		      const struct err *why)
{
	struct world *w = arg;

	w->answers++;
	loop_stop(w->loop);
	(void)str_fmt(w->code, sizeof(w->code), "%s", code);
	if (reply) {
		w->status = reply->status;
		(void)str_fmt(w->body, sizeof(w->body), "%s", reply->body);
	} else {
		w->class = why->code;
		(void)str_fmt(w->text, sizeof(w->text), "%s", why->msg);
	}
}

static const struct aws_request start_session = { .protocol = AWS_JSON11,
						  .service = "ssm",
						  .endpoint = "https://ssm.example:443/vpc",
						  .target = "AmazonSSM.StartSession",
						  .body = "{}" };

/* Sends, and runs until it is at the HTTP layer. */
static struct aws_call *send_to_http(struct world *w, const struct aws_request *r)
{
	struct aws_call *call = aws_send(w->client, r, on_answer, w, NULL);

	assert_non_null(call);
	assert_int_equal(w->http.sent, 0); /* not from inside the call */
	loop_run(w->loop);
	assert_int_equal(w->http.sent, 1);
	return call;
}

static void reply(struct world *w, int status, const char *body, const char *date)
{
	struct http_call *c = w->http.call;

	assert_non_null(c);
	w->http.call = NULL;
	c->fn(c->arg,
	      &(struct http_reply){ .status = status,
				    .body = body,
				    .body_len = strlen(body),
				    .impl = (const struct http_reply_impl *)(const void *)date },
	      NULL);
	call_free(c);
}

static void reply_error(struct world *w, enum err_code code)
{
	struct http_call *c = w->http.call;
	struct err e;

	w->http.call = NULL;
	(void)err_set(&e, code, "cause");
	c->fn(c->arg, NULL, &e);
	call_free(c);
}

static void what_is_sent(void **state)
{
	struct world *w = *state;
	const char *h;

	send_to_http(w, &start_session);
	h = w->http.call->headers;
	assert_string_equal(w->http.call->url, "https://ssm.example:443/vpc");
	assert_string_equal(w->http.call->body, "{}");
	assert_true(str_starts(h, "Content-Type: application/x-amz-json-1.1\n"
				  "X-Amz-Target: AmazonSSM.StartSession\nX-Amz-Date: 20"));
	assert_non_null(strstr(h, "/eu-west-1/ssm/aws4_request, SignedHeaders=content-type;host;"
				  "x-amz-date;x-amz-security-token;x-amz-target, "));
	assert_non_null(strstr(h, "X-Amz-Security-Token: tok\n"));
	assert_null(strstr(h, "secret"));
	reply(w, 200, "{\"a\":1}", NULL);
	assert_int_equal(w->status, 200);
	assert_string_equal(w->body, "{\"a\":1}");
}

static void unsigned_requests(void **state)
{
	struct world *w = *state;
	struct aws_request r = start_session;

	r.unsigned_request = true;
	r.endpoint = "http://h";
	send_to_http(w, &r);
	assert_string_equal(w->http.call->url, "http://h/");
	assert_null(strstr(w->http.call->headers, "Authorization"));
	reply(w, 204, "", NULL);
	assert_int_equal(w->status, 204);
}

static void answers_that_stand(void **state)
{
	struct world *w = *state;

	send_to_http(w, &start_session);
	reply(w, 400, "{\"__type\":\"TargetNotConnected\",\"message\":\"i-1 is not connected.\"}",
	      NULL);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_TARGET);
	assert_string_equal(w->code, "TargetNotConnected");
	assert_string_equal(w->text, "ssm: StartSession: TargetNotConnected: i-1 is not connected. "
				     "(HTTP 400)");
}

static void no_retry_when_told_so(void **state)
{
	struct world *w = *state;
	struct aws_request r = start_session;

	r.no_retry = true;
	send_to_http(w, &r);
	reply(w, 500, "", NULL);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_AWS);
}

/* Even then: a request refused for its date was not carried out. */
static void clock_is_tried_once_more(void **state)
{
	struct world *w = *state;
	struct aws_request r = start_session;
	static const char skewed[] = "{\"__type\":\"InvalidSignatureException\",\"message\":\"m\"}";

	r.no_retry = true;
	send_to_http(w, &r);
	reply(w, 400, skewed, "Thu, 29 Feb 2024 23:59:59 GMT");
	assert_int_equal(w->answers, 0);
	loop_run(w->loop);
	assert_int_equal(w->http.sent, 2);
	assert_non_null(strstr(w->http.call->headers, "X-Amz-Date: 20240"));
	assert_true(aws_skew_ms(w->client) < -1000);
	assert_true(aws_skew_at(w->client, "https://ssm.example") == aws_skew_ms(w->client));
	assert_true(aws_skew_at(w->client, "https://ssm.example:8443") == 0);
	assert_true(aws_skew_at(w->client, "https://ec2.example") == 0);
	reply(w, 400, skewed, "Thu, 29 Feb 2020 23:59:59 GMT");
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_CREDS);
}

static void three_tries(void **state)
{
	struct world *w = *state;

	send_to_http(w, &start_session);
	reply_error(w, ERR_RESET);
	loop_run(w->loop);
	reply(w, 503, "", NULL);
	loop_run(w->loop);
	assert_int_equal(w->http.sent, 3);
	reply_error(w, ERR_TIMEOUT);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_TIMEOUT);
	assert_string_equal(w->text, "ssm: StartSession: cause");
}

static void tls_is_not_retried(void **state)
{
	struct world *w = *state;

	send_to_http(w, &start_session);
	reply_error(w, ERR_TLS);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_TLS);
}

static void limit_of_it_all(void **state)
{
	struct world *w = *state;
	struct aws_request r = start_session;

	r.limit_ms = 1500; /* long enough to come to HTTP before, on a machine that stalls */
	send_to_http(w, &r);
	assert_true(w->http.call->limit_ms <= 1500);
	loop_run(w->loop);
	assert_int_equal(w->class, ERR_TIMEOUT);
	assert_int_equal(w->http.cancelled, 1);
}

static void cancelled_anywhere(void **state)
{
	struct world *w = *state;
	struct aws_call *call = aws_send(w->client, &start_session, on_answer, w, NULL);

	aws_cancel(call); /* before anything */
	call = send_to_http(w, &start_session);
	aws_cancel(call); /* at HTTP */
	assert_int_equal(w->http.cancelled, 1);
	w->http.sent = 0;
	call = send_to_http(w, &start_session);
	reply(w, 500, "", NULL);
	aws_cancel(call); /* in the pause */
	w->http.sent = 0;
	send_to_http(w, &start_session); /* left to aws_client_free() */
	assert_int_equal(w->answers, 0);
}

static void http_that_refuses(void **state)
{
	struct world *w = *state;

	w->http.refuse = true;
	send_to_http(w, &start_session);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->class, ERR_NOMEM);
	assert_null(aws_send(w->client,
			     &(struct aws_request){ .service = "x", .endpoint = "h", .body = "" },
			     on_answer, w, NULL));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_sent),
		CASE(unsigned_requests),
		CASE(answers_that_stand),
		CASE(no_retry_when_told_so),
		CASE(clock_is_tried_once_more),
		CASE(three_tries),
		CASE(tls_is_not_retried),
		CASE(limit_of_it_all),
		CASE(cancelled_anywhere),
		CASE(http_that_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
