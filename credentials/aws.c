/*
 * One call's way:
 *
 *   aws_send -> provider_get -> sign -> http_send -> reply -> callback
 *                   ^             ^          ^          |
 *                   |             |          +-- pause -+  server fault, throttled
 *                   |             +------ once ---------+  the clocks differ
 *                   +------------ once -----------------+  credentials expired
 *
 * As many tries of the ordinary kind as the retry mode has (aws_retry.h); retries of a client draw
 * on one bucket, so that a broken service is not hammered; one timer bounds
 * the whole call. A request that was refused for its signature was not
 * carried out, so it is sent again even when the caller wants no retry. The
 * difference of the clocks, once seen, stays with the client, for each endpoint.
 */
#include "credentials/aws.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/httpdate.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws_error.h"
#include "credentials/creds.h"
#include "credentials/provider.h"
#include "credentials/sigv4.h"
#include "net/http.h"
#include "net/loop.h"

enum {
	LIMIT_MS = 60000,
	TRY_LIMIT_MS = 30000,
	HEADERS_MAX = 8,
	CLOCKS_MAX = 16, /* endpoints whose clocks differ from ours */
};

/* An endpoint's clock minus ours. */
struct endpoint_clock {
	char host[256];
	int64_t skew_ms;
};

struct aws_client {
	struct loop *loop;
	struct http *http;
	struct provider *provider;
	char *region, *ca_file;
	struct list calls;
	struct endpoint_clock clock[CLOCKS_MAX];
	size_t clocks, last_clock;
	struct aws_budget budget;
};

struct aws_call {
	struct aws_client *client;
	struct list node;
	aws_fn *fn;
	void *arg;
	enum aws_protocol protocol;
	char *service, *url, *host, *path, *target, *body;
	char op[64]; /* for messages: "ssm: StartSession" */
	bool no_retry, no_signature;
	struct aws_tries tries;
	bool renewed, reclocked;
	uint64_t end_ms;
	struct creds *creds;
	struct provider_call *asking;
	struct http_call *sending;
	struct loop_timer pause, limit;
	struct loop_post post;
};

static void begin_try(void *arg);

/* --- making and ending --- */

struct aws_client *aws_client_new(const struct aws_client_opts *o, struct err *e)
{
	struct aws_client *c = mem_alloc(sizeof(*c));

	if (c) {
		c->loop = o->loop;
		c->http = o->http;
		c->provider = o->provider;
		c->region = mem_strdup(o->region);
		c->ca_file = mem_strdup(o->ca_file);
		aws_budget_init(&c->budget, &o->retry);
		list_init(&c->calls);
	}
	if (!c || !c->region || (o->ca_file && !c->ca_file)) {
		(void)err_set(e, ERR_NOMEM, "AWS client");
		aws_client_free(c);
		return NULL;
	}
	return c;
}

void aws_client_free(struct aws_client *c)
{
	if (!c)
		return;
	while (!list_empty(&c->calls))
		aws_cancel(CONTAINER_OF(c->calls.next, struct aws_call, node));
	mem_free(c->region);
	mem_free(c->ca_file);
	mem_free(c);
}

struct provider *aws_provider(struct aws_client *c)
{
	return c->provider;
}

const char *aws_region(const struct aws_client *c)
{
	return c->region;
}

/* ---- clocks ---- */

static int64_t skew_of_host(const struct aws_client *c, const char *host)
{
	for (size_t i = 0; i < c->clocks; i++)
		if (strcmp(c->clock[i].host, host) == 0)
			return c->clock[i].skew_ms;
	return 0;
}

static void keep_skew(struct aws_client *c, const char *host, int64_t skew_ms)
{
	size_t i = 0;

	while (i < c->clocks && strcmp(c->clock[i].host, host) != 0)
		i++;
	if (i == CLOCKS_MAX)
		i = (c->last_clock + 1) % CLOCKS_MAX;
	else if (i == c->clocks)
		c->clocks++;
	(void)str_fmt(c->clock[i].host, sizeof(c->clock[i].host), "%s", host);
	c->clock[i].skew_ms = skew_ms;
	c->last_clock = i;
}

int64_t aws_skew_ms(const struct aws_client *c)
{
	return c->clocks ? c->clock[c->last_clock].skew_ms : 0;
}

/* "https://host:443/vpc" -> "host", as in the Host field that curl writes. */
static size_t host_of(const char *endpoint, const char **host)
{
	const char *usual = str_starts(endpoint, "https://") ? ":443" : ":80";
	const char *at = strstr(endpoint, "://");
	size_t n, m = strlen(usual);

	*host = at ? at + 3 : endpoint;
	n = strcspn(*host, "/");
	return n > m && memcmp(*host + n - m, usual, m) == 0 ? n - m : n;
}

int64_t aws_skew_at(const struct aws_client *c, const char *endpoint)
{
	char text[256];
	const char *host;
	size_t n = host_of(endpoint, &host);

	return str_fmt(text, sizeof(text), "%.*s", (int)n, host) ? skew_of_host(c, text) : 0;
}

void aws_cancel(struct aws_call *call)
{
	if (!call)
		return;
	list_del(&call->node);
	provider_cancel(call->asking);
	if (call->sending)
		http_cancel(call->sending);
	timer_disarm(call->client->loop, &call->pause);
	timer_disarm(call->client->loop, &call->limit);
	loop_unpost(&call->post);
	creds_unref(call->creds);
	mem_free(call->service);
	mem_free(call->url);
	mem_free(call->host);
	mem_free(call->path);
	mem_free(call->target);
	mem_free_str(call->body);
	mem_free(call);
}

static void end(struct aws_call *call, const struct aws_reply *reply, const char *code,
		const struct err *why)
{
	aws_fn *fn = call->fn;
	void *arg = call->arg;
	struct err copy = why ? *why : (struct err){ 0 };

	aws_cancel(call);
	fn(arg, reply, code, why ? &copy : NULL);
}

static void end_err(struct aws_call *call, struct err *why)
{
	(void)err_wrap(why, "%s", call->op);
	end(call, NULL, "", why);
}

static void on_limit(void *arg)
{
	struct aws_call *call = arg;
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "no answer within the time allowed");
	end_err(call, &why);
}

/* --- answers --- */

/* Whether one more of the ordinary tries is allowed; if so it is arranged. */
static bool again_later(struct aws_call *call, bool timeout)
{
	uint64_t now = loop_now_ms(call->client->loop);
	unsigned delay;

	if (call->no_retry || now >= call->end_ms ||
	    !aws_budget_again(&call->client->budget, &call->tries, timeout, call->end_ms - now,
			      &delay))
		return false;
	timer_arm(call->client->loop, &call->pause, delay, begin_try, call);
	return true;
}

/* True when the service's clock is far from ours: noted, and tried once more. */
static bool clocks_differ(struct aws_call *call, const struct http_reply *reply)
{
	const char *date = http_reply_header(reply, "date");
	struct aws_client *c = call->client;
	int64_t theirs, skew, off;

	if (call->reclocked || !date || !httpdate_parse(date, &theirs))
		return false;
	skew = theirs - clock_wall_ms(loop_clock(c->loop));
	off = skew - skew_of_host(c, call->host);
	if (off > -AWS_SKEW_MS && off < AWS_SKEW_MS)
		return false;
	log_warn("aws", "%s: this machine's clock is %+lld s off AWS's; allowing for it", call->op,
		 (long long)(-skew / 1000));
	keep_skew(c, call->host, skew);
	call->reclocked = true;
	return true;
}

static void pace(struct aws_call *call, bool throttled)
{
	struct aws_client *c = call->client;

	aws_budget_answered(&c->budget, &call->tries, loop_now_ms(c->loop), throttled);
}

static bool once_more(struct aws_call *call, const struct http_reply *reply, const char *code)
{
	enum aws_verdict verdict = aws_error_verdict(reply->status, code);

	pace(call, verdict == AWS_THROTTLED);
	if (verdict == AWS_CLOCK && clocks_differ(call, reply)) {
		timer_arm(call->client->loop, &call->pause, 0, begin_try, call);
		return true;
	}
	if (aws_error_expired(code) && !call->renewed && call->creds) {
		call->renewed = true;
		provider_expire(call->client->provider, call->creds);
		timer_arm(call->client->loop, &call->pause, 0, begin_try, call);
		return true;
	}
	if (verdict == AWS_TRANSIENT || verdict == AWS_THROTTLED)
		return again_later(call, false);
	return false;
}

static void refused(struct aws_call *call, const struct http_reply *reply)
{
	struct aws_error error;
	struct err why;
	enum err_code class;

	aws_error_read(call->protocol, reply->body, reply->body_len,
		       http_reply_header(reply, "x-amzn-errortype"), &error);
	if (once_more(call, reply, error.code))
		return;
	class = aws_error_class(reply->status, error.code);
	(void)err_set(&why, class, "%s: %s%s%s (HTTP %d)", call->op,
		      *error.code ? error.code : "no error code", *error.message ? ": " : "",
		      error.message, reply->status);
	if (aws_error_expired(error.code))
		(void)err_set(&why, class, "%s: %s: the credentials of %s have expired: renew them",
			      call->op, error.code, call->creds ? call->creds->source : "nobody");
	end(call, NULL, error.code, &why);
}

/* What failed before an answer came: not what would fail in the same way again. */
static bool worth_another(enum err_code code)
{
	return code != ERR_TLS && code != ERR_NOMEM && code != ERR_DENIED && code != ERR_CONFIG;
}

static void on_reply(void *arg, const struct http_reply *reply, const struct err *why)
{
	struct aws_call *call = arg;
	struct err copy;

	call->sending = NULL;
	if (!reply) {
		copy = *why;
		if (worth_another(copy.code) && again_later(call, copy.code == ERR_TIMEOUT))
			return;
		end_err(call, &copy);
		return;
	}
	if (reply->status < 200 || reply->status > 299) {
		refused(call, reply);
		return;
	}
	aws_budget_succeeded(&call->client->budget, &call->tries);
	pace(call, false);
	end(call,
	    &(struct aws_reply){
		    .status = reply->status, .body = reply->body, .body_len = reply->body_len },
	    "", NULL);
}

/* --- sending --- */

static size_t fill_headers(const struct aws_call *call, struct http_header h[HEADERS_MAX])
{
	size_t n = 0;

	h[n++] = (struct http_header){
		"Content-Type", call->protocol == AWS_JSON11
					? "application/x-amz-json-1.1"
					: "application/x-www-form-urlencoded; charset=utf-8"
	};
	if (call->target)
		h[n++] = (struct http_header){ "X-Amz-Target", call->target };
	return n;
}

static int sign(const struct aws_call *call, const struct http_header *headers, size_t count,
		struct sigv4_result *out, struct err *e)
{
	struct http_header signed_too[HEADERS_MAX];
	const struct aws_client *c = call->client;

	memcpy(signed_too, headers, count * sizeof(*headers));
	signed_too[count++] = (struct http_header){ "Host", call->host };
	return sigv4_sign(&(struct sigv4_request){ .method = "POST",
						   .path = call->path,
						   .headers = signed_too,
						   .header_count = count,
						   .body = call->body,
						   .body_len = strlen(call->body),
						   .region = c->region,
						   .service = call->service,
						   .wall_ms = clock_wall_ms(loop_clock(c->loop)) +
							      skew_of_host(c, call->host),
						   .double_encode_path = true,
						   .normalize_path = true },
			  call->creds, out, e);
}

static int transmit(struct aws_call *call, struct err *e)
{
	struct http_header h[HEADERS_MAX];
	size_t n = fill_headers(call, h);
	struct sigv4_result sig = { 0 };
	uint64_t now = loop_now_ms(call->client->loop);
	uint64_t left = call->end_ms > now ? call->end_ms - now : 1;

	if (!call->no_signature) {
		if (sign(call, h, n, &sig, e) != 0)
			return -1;
		h[n++] = (struct http_header){ "X-Amz-Date", sig.amz_date };
		h[n++] = (struct http_header){ "Authorization", sig.authorization };
		if (call->creds->session_token.text)
			h[n++] = (struct http_header){ "X-Amz-Security-Token",
						       call->creds->session_token.text };
	}
	call->sending =
		http_send(call->client->http,
			  &(struct http_request){
				  .method = "POST",
				  .url = call->url,
				  .headers = h,
				  .header_count = n,
				  .body = call->body,
				  .body_len = strlen(call->body),
				  .limit_ms = (unsigned)(left < TRY_LIMIT_MS ? left : TRY_LIMIT_MS),
				  .ca_file = call->client->ca_file },
			  on_reply, call, e);
	sigv4_result_free(&sig);
	return call->sending ? 0 : -1;
}

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct aws_call *call = arg;
	struct err e;

	call->asking = NULL;
	if (!c) {
		e = *why;
		end_err(call, &e);
		return;
	}
	creds_ref(c);
	creds_unref(call->creds);
	call->creds = c;
	if (transmit(call, &e) != 0)
		end_err(call, &e);
}

/* True: it waits for its turn in mode adaptive. */
static bool waits_for_turn(struct aws_call *call)
{
	struct aws_client *c = call->client;
	unsigned wait_ms = aws_budget_turn_ms(&c->budget, &call->tries, loop_now_ms(c->loop));

	if (wait_ms)
		timer_arm(c->loop, &call->pause, wait_ms, begin_try, call);
	return wait_ms > 0;
}

/* From the loop only: what fails at once may end the call. */
static void begin_try(void *arg)
{
	struct aws_call *call = arg;
	struct err e;

	if (waits_for_turn(call))
		return;
	if (call->no_signature) {
		if (transmit(call, &e) != 0)
			end_err(call, &e);
		return;
	}
	call->asking = provider_get(call->client->provider, on_creds, call, &e);
	if (!call->asking)
		end_err(call, &e);
}

/* "https://host:443/vpc" -> the Host field, the path "/vpc", and the URL to be sent to. */
static int split_endpoint(struct aws_call *call, const char *endpoint, struct err *e)
{
	const char *host, *path;
	size_t n = host_of(endpoint, &host), size = strlen(endpoint) + 2;

	if (host == endpoint)
		return err_set(e, ERR_CONFIG, "endpoint '%.100s' is not a URL", endpoint);
	path = host + strcspn(host, "/");
	call->path = mem_strdup(*path ? path : "/");
	call->host = mem_strndup(host, n);
	call->url = mem_alloc(size);
	if (!call->path || !call->host || !call->url)
		return err_set(e, ERR_NOMEM, "AWS call");
	(void)str_fmt(call->url, size, "%s%s", endpoint, *path ? "" : "/");
	return 0;
}

/* "ssm: StartSession", "ec2: DescribeInstances" */
static void name_op(struct aws_call *call, const struct aws_request *r)
{
	const char *dot = r->target ? strrchr(r->target, '.') : NULL;
	const char *action = strstr(r->body, "Action=");

	if (dot)
		(void)str_fmt(call->op, sizeof(call->op), "%s: %s", r->service, dot + 1);
	else
		(void)str_fmt(call->op, sizeof(call->op), "%s: %.*s", r->service,
			      action ? (int)strcspn(action + 7, "&") : 0, action ? action + 7 : "");
}

static int fill(struct aws_call *call, const struct aws_request *r, struct err *e)
{
	call->protocol = r->protocol;
	call->no_retry = r->no_retry;
	call->no_signature = r->unsigned_request;
	call->service = mem_strdup(r->service);
	call->target = mem_strdup(r->target);
	call->body = mem_strdup(r->body);
	if (!call->service || (r->target && !call->target) || !call->body)
		return err_set(e, ERR_NOMEM, "AWS call");
	name_op(call, r);
	return split_endpoint(call, r->endpoint, e);
}

struct aws_call *aws_send(struct aws_client *c, const struct aws_request *r, aws_fn *fn, void *arg,
			  struct err *e)
{
	struct aws_call *call = mem_alloc(sizeof(*call));
	unsigned limit_ms = r->limit_ms ? r->limit_ms : LIMIT_MS;

	if (!call) {
		(void)err_set(e, ERR_NOMEM, "AWS call");
		return NULL;
	}
	call->client = c;
	call->fn = fn;
	call->arg = arg;
	list_add_tail(&c->calls, &call->node);
	if (fill(call, r, e) != 0) {
		aws_cancel(call);
		return NULL;
	}
	call->end_ms = loop_now_ms(c->loop) + limit_ms;
	timer_arm(c->loop, &call->limit, limit_ms, on_limit, call);
	loop_post(c->loop, &call->post, begin_try, call);
	return call;
}
