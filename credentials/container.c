/*
 * A container's credentials: GET of the URI that the environment names, with
 * the token that it names, three tries of 2 s. The token's file is read anew
 * each time, because it is rotated.
 *
 * Plain http goes only to this machine and to the addresses that ECS and EKS
 * use, so that whoever can set the variable cannot have the token sent
 * elsewhere (AWS SDKs and Tools Reference Guide, "Container credential
 * provider").
 */
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/env.h"
#include "credentials/file_job.h"
#include "credentials/metadata.h"
#include "credentials/provider_impl.h"
#include "net/addr.h"
#include "net/http.h"
#include "net/url.h"

enum { TRY_MS = 2000, PAUSE_MS = 1000, TRIES = 3 };

struct container {
	struct provider base;
	struct loop *loop;
	struct http *http;
	const char *const *env;
	char *url, *ca_file, *words;
	struct list calls;
};

struct container_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
	struct secret token;
	struct file_job *reading;
	struct http_call *sending;
	struct loop_timer pause;
	struct loop_post post;
	unsigned tries;
};

/* --- where --- */

static bool may_be_plain(const char *host)
{
	static const char *const hosts[] = { "localhost", "169.254.170.2", "169.254.170.23",
					     "fd00:ec2::23" };
	struct addr at;
	char text[280];

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (str_eq_nocase(host, hosts[i]))
			return true;
	return str_fmt(text, sizeof(text), strchr(host, ':') ? "[%s]:1" : "%s:1", host) &&
	       addr_parse(text, &at, NULL) == 0 && addr_is_loopback(&at);
}

int container_url(const char *const *env, char **url, struct err *e)
{
	const char *relative = env_get(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = env_get(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *name = relative ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
				    : "AWS_CONTAINER_CREDENTIALS_FULL_URI";
	size_t n = strlen(relative ? relative : full ? full : "") + 32;
	struct url parsed;

	*url = mem_alloc(n);
	if (!*url)
		return err_set(e, ERR_NOMEM, "credentials");
	if (relative)
		(void)str_fmt(*url, n, "http://169.254.170.2%s%s", *relative == '/' ? "" : "/",
			      relative);
	else
		(void)str_fmt(*url, n, "%s", full ? full : "");
	if (url_parse(*url, "http", "https", &parsed, e) != 0) {
		if (e)
			e->code = ERR_CONFIG;
		(void)err_wrap(e, "%s", name);
	} else if (!parsed.tls && !may_be_plain(parsed.host)) {
		(void)err_set(e, ERR_CONFIG,
			      "%s: plain http may only go to this machine, 169.254.170.2, "
			      "169.254.170.23 or [fd00:ec2::23], not to '%.80s': use https",
			      name, parsed.host);
	} else {
		return 0;
	}
	mem_free(*url);
	*url = NULL;
	return -1;
}

/* --- a call's end --- */

static void call_free(struct container_call *cc)
{
	struct container *c = (struct container *)cc->base.provider;

	list_del(&cc->node);
	file_job_cancel(cc->reading);
	if (cc->sending)
		http_cancel(cc->sending);
	timer_disarm(c->loop, &cc->pause);
	loop_unpost(&cc->post);
	secret_free(&cc->token);
	mem_free(cc);
}

static void answer(struct container_call *cc, struct creds *c, const struct err *why)
{
	creds_fn *fn = cc->fn;
	void *arg = cc->arg;

	call_free(cc);
	fn(arg, c, why);
	creds_unref(c);
}

static void fail(struct container_call *cc, struct err *why)
{
	struct container *c = (struct container *)cc->base.provider;

	(void)err_wrap(why, "%s", c->words);
	answer(cc, NULL, why);
}

/* --- its steps --- */

static void transmit(void *arg);

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct container_call *cc = arg;
	struct container *c = (struct container *)cc->base.provider;
	struct creds *creds;
	struct err e;
	char said[160];

	cc->sending = NULL;
	if (r && r->status == 200) {
		creds = metadata_parse(r->body, r->body_len, c->words, &e);
		answer(cc, creds, creds ? NULL : &e);
		return;
	}
	if (++cc->tries < TRIES && (!r || r->status >= 500 || r->status == 429)) {
		timer_arm(c->loop, &cc->pause, PAUSE_MS, transmit, cc);
		return;
	}
	if (r) {
		metadata_message(r->body, r->body_len, said, sizeof(said));
		(void)err_set(&e, r->status >= 500 ? ERR_AWS : ERR_CREDS, "HTTP %d%s%s", r->status,
			      *said ? ": " : "", said);
	} else {
		e = *why;
	}
	fail(cc, &e);
}

static void transmit(void *arg)
{
	struct container_call *cc = arg;
	struct container *c = (struct container *)cc->base.provider;
	struct http_header h[] = { { "Accept", "application/json" },
				   { "Authorization", cc->token.text } };
	struct err e;

	cc->sending = http_send(c->http,
				&(struct http_request){ .method = "GET",
							.url = c->url,
							.headers = h,
							.header_count = cc->token.text ? 2 : 1,
							.limit_ms = TRY_MS,
							.ca_file = c->ca_file,
							.no_proxy = true },
				on_reply, cc, &e);
	if (!cc->sending)
		fail(cc, &e);
}

/* A line break in it would make two header fields of one. */
static int take_token(struct container_call *cc, const char *text, size_t n, const char *from,
		      struct err *e)
{
	if (strlen(text) != n || strpbrk(text, "\r\n"))
		return err_set(e, ERR_CONFIG, "%s: the token has a line break or a NUL in it",
			       from);
	return secret_set(&cc->token, text, e);
}

static void on_token(void *arg, const char *text, size_t n, const struct err *why)
{
	struct container_call *cc = arg;
	struct err e;

	cc->reading = NULL;
	if (!text) {
		e = *why;
		if (e.code != ERR_NOMEM)
			e.code = ERR_CREDS;
		(void)err_wrap(&e, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
		fail(cc, &e);
	} else if (take_token(cc, text, n, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &e) != 0) {
		fail(cc, &e);
	} else {
		transmit(cc);
	}
}

static int begin(struct container *c, struct container_call *cc, struct err *e)
{
	const char *file = env_get(c->env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = env_get(c->env, "AWS_CONTAINER_AUTHORIZATION_TOKEN");

	if (file) {
		cc->reading = file_job_read(c->loop, file, on_token, cc, e);
		return cc->reading ? 0 : -1;
	}
	if (token && take_token(cc, token, strlen(token), "AWS_CONTAINER_AUTHORIZATION_TOKEN", e))
		return -1;
	loop_post(c->loop, &cc->post, transmit, cc);
	return 0;
}

/* --- the provider --- */

static struct provider_call *container_get(struct provider *p, creds_fn *fn, void *arg,
					   struct err *e)
{
	struct container *c = (struct container *)p;
	struct container_call *cc = mem_alloc(sizeof(*cc));

	if (!cc) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	cc->base.provider = p;
	cc->fn = fn;
	cc->arg = arg;
	list_add_tail(&c->calls, &cc->node);
	if (begin(c, cc, e) != 0) {
		call_free(cc);
		return NULL;
	}
	return &cc->base;
}

static void container_cancel(struct provider_call *call)
{
	call_free((struct container_call *)call);
}

static void container_close(struct provider *p)
{
	struct container *c = (struct container *)p;

	while (!list_empty(&c->calls))
		call_free(CONTAINER_OF(c->calls.next, struct container_call, node));
	mem_free(c->url);
	mem_free(c->ca_file);
	mem_free(c->words);
	mem_free(c);
}

static const char *container_describe(const struct provider *p)
{
	return ((const struct container *)p)->words;
}

static const struct provider_ops ops = {
	.name = "container",
	.get = container_get,
	.cancel = container_cancel,
	.close = container_close,
	.describe = container_describe,
};

static int fill(struct container *c, const struct container_opts *o, struct err *e)
{
	const char *host;
	size_t n;

	if (container_url(o->environ, &c->url, e) != 0)
		return -1;
	n = strlen(c->url) + 32;
	host = strstr(c->url, "://") + 3; /* url_parse() has taken it */
	c->words = mem_alloc(n);
	c->ca_file = mem_strdup(o->ca_file);
	if (!c->words || (o->ca_file && !c->ca_file))
		return err_set(e, ERR_NOMEM, "credentials");
	/* Not the path: on ECS whoever knows it may ask for the same credentials. */
	(void)str_fmt(c->words, n, "container (%.*s)", (int)(host + strcspn(host, "/?#") - c->url),
		      c->url);
	return 0;
}

struct provider *container_new(const struct container_opts *o, struct err *e)
{
	struct container *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	c->base.ops = &ops;
	c->loop = o->loop;
	c->http = o->http;
	c->env = o->environ;
	list_init(&c->calls);
	if (fill(c, o, e) != 0) {
		container_close(&c->base);
		return NULL;
	}
	return &c->base;
}
