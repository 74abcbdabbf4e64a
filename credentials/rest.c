/*
 * One call at a time from its own memory: a try, perhaps a pause and the next
 * one. What is sent again may have been carried out before, if only its
 * answer was lost: the callers' refreshes look at the file again then.
 */
#include "credentials/rest.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/httpdate.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws_error.h"
#include "credentials/json.h"
#include "net/http.h"
#include "net/loop.h"

enum { LIMIT_MS = 30000, TRY_LIMIT_MS = 15000, HEADERS_MAX = 4 };

struct rest_call {
	struct loop *loop;
	struct http *http;
	const char *op;
	char *url, *body, *bearer, *ca_file;
	char *(*proof)(void *arg, int64_t now_ms, struct err *);
	void *proof_arg;
	struct rest_shared *shared, own;
	struct aws_tries tries;
	bool reclocked;
	uint64_t end_ms;
	struct http_call *sending;
	struct loop_timer pause;
	rest_fn *fn;
	void *arg;
};

/* --- refusals --- */

static void take(char *to, size_t size, const char *text)
{
	if (text && !*to)
		(void)str_fmt(to, size, "%s", text);
}

/* "com.amazonaws.x#Code:http://..." -> "Code" */
static void take_code(struct rest_error *out, const char *type)
{
	const char *hash = type ? strrchr(type, '#') : NULL;

	if (hash)
		type = hash + 1;
	if (type && !*out->code)
		(void)str_fmt(out->code, sizeof(out->code), "%.*s", (int)strcspn(type, ":"), type);
}

void rest_error_read(const char *body, size_t n, const char *header_type, struct rest_error *out)
{
	cJSON *root = cJSON_ParseWithLength(body, n);

	take_code(out, header_type);
	take_code(out, json_text(root, "__type"));
	take_code(out, json_text(root, "code"));
	take(out->kind, sizeof(out->kind), json_text(root, "error"));
	take(out->message, sizeof(out->message), json_text(root, "message"));
	take(out->message, sizeof(out->message), json_text(root, "Message"));
	take(out->message, sizeof(out->message), json_text(root, "error_description"));
	json_secret_free(root);
}

bool rest_refused(const struct rest_error *error)
{
	enum aws_verdict verdict = aws_error_verdict(error->status, error->code);

	return error->status && verdict != AWS_TRANSIENT && verdict != AWS_THROTTLED;
}

static void say(const struct rest_call *c, const struct rest_error *error, struct err *why)
{
	const char *code = *error->code   ? error->code
			   : *error->kind ? error->kind
					  : "no error code";
	enum err_code class = aws_error_verdict(error->status, error->code) == AWS_THROTTLED
				      ? ERR_LIMIT
				      : ERR_AWS;

	(void)err_set(why, class, "%s: %s%s%s (HTTP %d%s%s)", c->op, code,
		      *error->message ? ": " : "", error->message, error->status,
		      *error->request_id ? ", request " : "", error->request_id);
}

/* --- tries --- */

static void begin_try(void *arg);

void rest_cancel(struct rest_call *c)
{
	if (!c)
		return;
	if (c->sending)
		http_cancel(c->sending);
	timer_disarm(c->loop, &c->pause);
	mem_free(c->url);
	mem_free_str(c->body);
	mem_free_str(c->bearer);
	mem_free(c->ca_file);
	mem_free(c);
}

static void end(struct rest_call *c, const char *body, size_t n, const struct rest_error *error,
		const struct err *why)
{
	rest_fn *fn = c->fn;
	void *arg = c->arg;
	struct err copy = why ? *why : (struct err){ 0 };

	rest_cancel(c);
	fn(arg, body, n, error, why ? &copy : NULL);
}

static bool again_later(struct rest_call *c, bool timeout)
{
	uint64_t now = loop_now_ms(c->loop);
	unsigned delay;

	if (now >= c->end_ms ||
	    !aws_budget_again(&c->shared->budget, &c->tries, timeout, c->end_ms - now, &delay))
		return false;
	timer_arm(c->loop, &c->pause, delay, begin_try, c);
	return true;
}

static void no_answer(struct rest_call *c, const struct err *why)
{
	const struct rest_error none = { 0 };
	struct err e = *why;

	if (e.code != ERR_TLS && e.code != ERR_NOMEM && again_later(c, e.code == ERR_TIMEOUT))
		return;
	(void)err_wrap(&e, "%s", c->op);
	end(c, NULL, 0, &none, &e);
}

/* How far the service's clock is from ours, if that is more than a little. */
static int64_t skew_of(const struct rest_call *c, const struct http_reply *reply)
{
	const char *date = http_reply_header(reply, "date");
	int64_t theirs, skew;

	if (!date || !httpdate_parse(date, &theirs))
		return 0;
	skew = theirs - clock_wall_ms(loop_clock(c->loop));
	return skew > -AWS_SKEW_MS && skew < AWS_SKEW_MS ? 0 : skew;
}

/* A proof bears the time. What is refused is not said to be refused for that, so the clocks are
 * compared. */
static bool clocks_differ(struct rest_call *c, int64_t skew)
{
	int64_t off = skew - c->shared->skew_ms;

	if (!c->proof || c->reclocked || (off > -AWS_SKEW_MS && off < AWS_SKEW_MS))
		return false;
	log_warn("aws", "%s: this machine's clock is %+lld s off AWS's; allowing for it", c->op,
		 (long long)(-skew / 1000));
	c->shared->skew_ms = skew;
	c->reclocked = true;
	return true;
}

/* True: arranged. */
static bool once_more(struct rest_call *c, const struct rest_error *error)
{
	enum aws_verdict verdict = aws_error_verdict(error->status, error->code);

	aws_budget_answered(&c->shared->budget, &c->tries, loop_now_ms(c->loop),
			    verdict == AWS_THROTTLED);
	if (verdict == AWS_TRANSIENT || verdict == AWS_THROTTLED)
		return again_later(c, false);
	if (!clocks_differ(c, error->skew_ms))
		return false;
	timer_arm(c->loop, &c->pause, 0, begin_try, c);
	return true;
}

static void succeeded(struct rest_call *c)
{
	aws_budget_answered(&c->shared->budget, &c->tries, loop_now_ms(c->loop), false);
	aws_budget_succeeded(&c->shared->budget, &c->tries);
}

static void on_reply(void *arg, const struct http_reply *reply, const struct err *why)
{
	struct rest_call *c = arg;
	struct rest_error error = { 0 };
	struct err e;

	c->sending = NULL;
	if (!reply) {
		no_answer(c, why);
		return;
	}
	error.status = reply->status;
	error.skew_ms = skew_of(c, reply);
	take(error.request_id, sizeof(error.request_id),
	     http_reply_header(reply, "x-amzn-requestid"));
	if (reply->status >= 200 && reply->status <= 299) {
		succeeded(c);
		end(c, reply->body, reply->body_len, &error, NULL);
		return;
	}
	rest_error_read(reply->body, reply->body_len, http_reply_header(reply, "x-amzn-errortype"),
			&error);
	if (once_more(c, &error))
		return;
	say(c, &error, &e);
	end(c, NULL, 0, &error, &e);
}

static int transmit(struct rest_call *c, const char *proof, struct err *e)
{
	uint64_t now = loop_now_ms(c->loop), left = c->end_ms > now ? c->end_ms - now : 1;
	struct http_header h[HEADERS_MAX];
	size_t n = 0;

	if (c->body)
		h[n++] = (struct http_header){ "Content-Type", "application/json" };
	if (c->bearer)
		h[n++] = (struct http_header){ "x-amz-sso_bearer_token", c->bearer };
	if (proof)
		h[n++] = (struct http_header){ "DPoP", proof };
	c->sending =
		http_send(c->http,
			  &(struct http_request){
				  .method = c->body ? "POST" : "GET",
				  .url = c->url,
				  .headers = h,
				  .header_count = n,
				  .body = c->body,
				  .body_len = c->body ? strlen(c->body) : 0,
				  .limit_ms = (unsigned)(left < TRY_LIMIT_MS ? left : TRY_LIMIT_MS),
				  .ca_file = c->ca_file },
			  on_reply, c, e);
	return c->sending ? 0 : -1;
}

static void begin_try(void *arg)
{
	const struct rest_error none = { 0 };
	struct rest_call *c = arg;
	unsigned wait_ms = aws_budget_turn_ms(&c->shared->budget, &c->tries, loop_now_ms(c->loop));
	int64_t wall_ms = clock_wall_ms(loop_clock(c->loop)) + c->shared->skew_ms;
	char *proof = NULL;
	struct err e;
	int failed;

	if (wait_ms) {
		timer_arm(c->loop, &c->pause, wait_ms, begin_try, c);
		return;
	}
	if (c->proof)
		proof = c->proof(c->proof_arg, wall_ms, &e);
	failed = c->proof && !proof ? -1 : transmit(c, proof, &e);
	mem_free_str(proof);
	if (failed == 0)
		return;
	(void)err_wrap(&e, "%s", c->op);
	end(c, NULL, 0, &none, &e);
}

void rest_shared_init(struct rest_shared *s, const struct aws_retry *r)
{
	*s = (struct rest_shared){ 0 };
	aws_budget_init(&s->budget, r);
}

static bool kept(char **to, const char *text)
{
	*to = mem_strdup(text);
	return *to || !text;
}

struct rest_call *rest_send(struct loop *loop, struct http *http, const struct rest_request *r,
			    rest_fn *fn, void *arg, struct err *e)
{
	struct rest_call *c = mem_alloc(sizeof(*c));

	if (c) {
		c->loop = loop;
		c->http = http;
		c->op = r->op;
		c->proof = r->proof;
		c->proof_arg = r->proof_arg;
		c->shared = r->shared ? r->shared : &c->own;
		rest_shared_init(&c->own, &(struct aws_retry){ 0 });
		c->fn = fn;
		c->arg = arg;
		c->end_ms = loop_now_ms(loop) + (r->limit_ms ? r->limit_ms : LIMIT_MS);
	}
	if (!c || !kept(&c->url, r->url) || !kept(&c->body, r->body) ||
	    !kept(&c->bearer, r->bearer) || !kept(&c->ca_file, r->ca_file)) {
		(void)err_set(e, ERR_NOMEM, "AWS call");
		rest_cancel(c);
		return NULL;
	}
	timer_arm(loop, &c->pause, 0, begin_try, c); /* nothing fails inside this call */
	return c;
}
