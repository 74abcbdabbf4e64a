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
	struct source base;
	struct loop *loop;
	struct http *http;
	const char *const *env;
	char *url, *ca_file;
};

struct container_call {
	struct source_call base;
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

static void drop(struct source_call *call)
{
	struct container_call *cc = (struct container_call *)call;

	file_job_cancel(cc->reading);
	if (cc->sending)
		http_cancel(cc->sending);
	timer_disarm(((struct container *)call->base.provider)->loop, &cc->pause);
	loop_unpost(&cc->post);
	secret_free(&cc->token);
}

/* --- its steps --- */

static void transmit(void *arg);

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct container_call *cc = arg;
	struct container *c = (struct container *)cc->base.base.provider;
	struct creds *creds;
	struct err e;
	char said[160];

	cc->sending = NULL;
	if (r && r->status == 200) {
		creds = metadata_parse(r->body, r->body_len, c->base.words, &e);
		source_end(&cc->base, creds, &e);
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
	source_fail(&cc->base, &e);
}

static void transmit(void *arg)
{
	struct container_call *cc = arg;
	struct container *c = (struct container *)cc->base.base.provider;
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
		source_fail(&cc->base, &e);
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
		source_fail(&cc->base, &e);
	} else if (take_token(cc, text, n, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &e) != 0) {
		source_fail(&cc->base, &e);
	} else {
		transmit(cc);
	}
}

static int begin(struct source_call *call, struct err *e)
{
	struct container_call *cc = (struct container_call *)call;
	const struct container *c = (struct container *)call->base.provider;
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

static void container_free(struct provider *p)
{
	struct container *c = (struct container *)p;

	mem_free(c->url);
	mem_free(c->ca_file);
}

static const struct source_ops ops = {
	.base = { .name = "container", SOURCE_CALLS },
	.call_size = sizeof(struct container_call),
	.begin = begin,
	.drop = drop,
	.free = container_free,
};

static int fill(struct container *c, const struct container_opts *o, struct err *e)
{
	const char *host;
	size_t n;

	if (container_url(o->environ, &c->url, e) != 0)
		return -1;
	n = strlen(c->url) + 32;
	host = strstr(c->url, "://") + 3; /* url_parse() has taken it */
	c->base.words = mem_alloc(n);
	c->ca_file = mem_strdup(o->ca_file);
	if (!c->base.words || (o->ca_file && !c->ca_file))
		return err_set(e, ERR_NOMEM, "credentials");
	/* Not the path: on ECS whoever knows it may ask for the same credentials. */
	(void)str_fmt(c->base.words, n, "container (%.*s)",
		      (int)(host + strcspn(host, "/?#") - c->url), c->url);
	return 0;
}

struct provider *container_new(const struct container_opts *o, struct err *e)
{
	struct container *c = source_new(sizeof(*c), &ops, e);

	if (!c)
		return NULL;
	c->loop = o->loop;
	c->http = o->http;
	c->env = o->environ;
	if (fill(c, o, e) != 0) {
		source_close(&c->base.base);
		return NULL;
	}
	return &c->base.base;
}
