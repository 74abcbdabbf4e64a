/*
 * The instance metadata service, version 2 only: PUT for a token, GET of the
 * role's name, GET of its credentials; 1 s and one try each, since on a
 * machine that is no instance nobody answers (EC2 User Guide, "Use IMDSv2").
 *
 * Version 1 is not asked: whoever can make a program send a GET could then
 * have its credentials. AWS_EC2_METADATA_V1_DISABLED is thereby always met.
 */
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "credentials/env.h"
#include "credentials/metadata.h"
#include "credentials/profile.h"
#include "credentials/provider_impl.h"
#include "net/http.h"
#include "net/url.h"

#define ROLE_PATH   "/latest/meta-data/iam/security-credentials/"
#define REGION_PATH "/latest/meta-data/placement/region"
enum { TRY_MS = 1000, URL_MAX = 1024, NAME_MAX_LEN = 128, EXTEND_MS = 300000 };

/* --- where --- */

bool imds_disabled(const char *const *env)
{
	return env_true(env, "AWS_EC2_METADATA_DISABLED");
}

static int url_of_mode(const char *mode, const char **url, struct err *e)
{
	*url = "http://169.254.169.254";
	if (!mode || str_eq_nocase(mode, "ipv4"))
		return 0;
	*url = "http://[fd00:ec2::254]";
	if (str_eq_nocase(mode, "ipv6"))
		return 0;
	return err_set(e, ERR_CONFIG,
		       "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: '%.40s' is neither ipv4 nor ipv6",
		       mode);
}

int imds_url(const char *const *env, const struct aws_files *files, const char *profile, char **url,
	     struct err *e)
{
	const char *given = env_get(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = env_get(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	struct url parsed;
	size_t n;

	*url = NULL;
	if (!given)
		given = profile_get(files, profile, "ec2_metadata_service_endpoint");
	if (!mode)
		mode = profile_get(files, profile, "ec2_metadata_service_endpoint_mode");
	if (!given && url_of_mode(mode, &given, e) != 0)
		return -1;
	if (url_parse(given, "http", "https", &parsed, e) != 0) {
		if (e)
			e->code = ERR_CONFIG;
		return err_wrap(e, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	}
	n = strlen(given);
	while (n && given[n - 1] == '/')
		n--;
	*url = mem_strndup(given, n);
	return *url ? 0 : err_set(e, ERR_NOMEM, "credentials");
}

int64_t imds_extension_ms(uint32_t random)
{
	return EXTEND_MS + (int64_t)(random % EXTEND_MS);
}

/* --- a talk with it: a token, then what is asked for with it --- */

struct talk;
/* text: of a 200, until return; NULL: *why tells. May end the talk. */
typedef void talk_fn(void *arg, const char *text, size_t n, const struct err *why);
struct talk {
	struct http *http;
	char url[URL_MAX];
	const char *path; /* to be asked for once there is a token */
	struct secret token;
	struct http_call *sending;
	talk_fn *fn;
	void *arg;
};

static int talk_send(struct talk *t, const char *method, const char *path, struct err *e);

static void talk_end(struct talk *t)
{
	if (t->sending)
		http_cancel(t->sending);
	t->sending = NULL;
	secret_free(&t->token);
}

static int got_token(struct talk *t, const struct http_reply *r, struct err *e)
{
	const char *path = t->path;

	if (!r->body_len || strlen(r->body) != r->body_len || strpbrk(r->body, "\r\n"))
		return err_set(e, ERR_PROTO, "instance metadata: the token is not a line of text");
	if (secret_set(&t->token, r->body, e) != 0)
		return -1;
	t->path = NULL;
	return talk_send(t, "GET", path, e);
}

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct talk *t = arg;
	struct err e;

	t->sending = NULL;
	if (!r) {
		e = *why;
		(void)err_wrap(&e, "instance metadata");
	} else if (r->status != 200) {
		(void)err_set(&e, r->status >= 500 ? ERR_AWS : ERR_CREDS,
			      "instance metadata: HTTP %d for %s", r->status,
			      t->path            ? "a token"
			      : r->status == 404 ? "the role: none is attached to the instance"
						 : "what was asked");
	} else if (!t->path) {
		t->fn(t->arg, r->body, r->body_len, NULL);
		return;
	} else if (got_token(t, r, &e) == 0) {
		return;
	}
	t->fn(t->arg, NULL, 0, &e);
}

static int talk_send(struct talk *t, const char *method, const char *path, struct err *e)
{
	struct http_header h = { "x-aws-ec2-metadata-token", t->token.text };
	struct http_request r = { .method = method,
				  .headers = &h,
				  .header_count = 1,
				  .limit_ms = TRY_MS,
				  .no_proxy = true };
	char url[URL_MAX + 256];

	if (!t->token.text)
		h = (struct http_header){ "x-aws-ec2-metadata-token-ttl-seconds", "21600" };
	if (!str_fmt(url, sizeof(url), "%s%s", t->url, path))
		return err_set(e, ERR_CONFIG, "instance metadata: the URL is too long");
	r.url = url;
	t->sending = http_send(t->http, &r, on_reply, t, e);
	return t->sending ? 0 : -1;
}

/* Asks for `path` (static, or as long as the talk) with a new token. */
static int talk_begin(struct talk *t, const struct imds_opts *o, const char *path, talk_fn *fn,
		      void *arg, struct err *e)
{
	t->http = o->http;
	t->path = path;
	t->fn = fn;
	t->arg = arg;
	if (!str_fmt(t->url, sizeof(t->url), "%s", o->url))
		return err_set(e, ERR_CONFIG, "instance metadata: the URL is too long");
	return talk_send(t, "PUT", "/latest/api/token", e);
}

/* --- credentials --- */

struct imds {
	struct provider base;
	struct imds_opts opts; /* texts are ours */
	char *url, *otherwise;
	struct list calls;
};

struct imds_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
	struct talk talk;
	char role[NAME_MAX_LEN + 1];
	char path[sizeof(ROLE_PATH) + 3 * NAME_MAX_LEN];
};

static void call_free(struct imds_call *ic)
{
	list_del(&ic->node);
	talk_end(&ic->talk);
	mem_free(ic);
}

static void fail(struct imds_call *ic, const struct err *why)
{
	struct imds *i = (struct imds *)ic->base.provider;
	creds_fn *fn = ic->fn;
	void *arg = ic->arg;
	struct err e = *why;

	if (i->otherwise) { /* the last of the chain: what is missing is all the others, too */
		(void)err_set(&e, ERR_CREDS, "%s (%s)", i->otherwise, why->msg);
		/* Whoever was answered before is on an instance, and this may be over soon. */
		e.passes = cause_passes(why);
	}
	call_free(ic);
	fn(arg, NULL, &e);
}

/* IMDS serves the old ones on when it cannot make new ones. */
static void extend(const struct imds *i, struct creds *c)
{
	int64_t now = clock_wall_ms(loop_clock(i->opts.loop));
	uint32_t random;

	if (c->expires_ms > now)
		return;
	random_bytes(&random, sizeof(random));
	/* So long that the cache's margin, a fifth, leaves what is wanted. */
	c->expires_ms = now + imds_extension_ms(random) * 5 / 4;
	log_warn("creds", "instance metadata serves credentials that have expired: used on, and "
			  "asked for again in 5 to 10 minutes");
}

static void on_credentials(void *arg, const char *text, size_t n, const struct err *why)
{
	struct imds_call *ic = arg;
	struct imds *i = (struct imds *)ic->base.provider;
	char source[NAME_MAX_LEN + 40];
	struct creds *c = NULL;
	creds_fn *fn = ic->fn;
	void *to = ic->arg;
	struct err e;

	(void)str_fmt(source, sizeof(source), "instance metadata (role %s)", ic->role);
	if (text)
		c = metadata_parse(text, n, source, &e);
	if (!c) {
		fail(ic, text ? &e : why);
		return;
	}
	extend(i, c); /* nobody else has it yet */
	call_free(ic);
	fn(to, c, NULL);
	creds_unref(c);
}

/* The first line is the role's name. */
static int take_role(struct imds_call *ic, const char *text, struct err *e)
{
	size_t n = strcspn(text, "\r\n");
	char encoded[3 * NAME_MAX_LEN + 1];

	if (!n || n > NAME_MAX_LEN)
		return err_set(e, ERR_CREDS,
			       "instance metadata: no role is attached to the instance");
	(void)str_fmt(ic->role, sizeof(ic->role), "%.*s", (int)n, text);
	(void)str_uri_encode(text, n, false, encoded);
	(void)str_fmt(ic->path, sizeof(ic->path), ROLE_PATH "%s", encoded);
	return 0;
}

static void on_role(void *arg, const char *text, size_t n, const struct err *why)
{
	struct imds_call *ic = arg;
	struct err e;

	(void)n;
	if (!text) {
		fail(ic, why);
		return;
	}
	ic->talk.fn = on_credentials;
	if (take_role(ic, text, &e) != 0 || talk_send(&ic->talk, "GET", ic->path, &e) != 0)
		fail(ic, &e);
}

static struct provider_call *imds_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct imds *i = (struct imds *)p;
	struct imds_call *ic = mem_alloc(sizeof(*ic));

	if (!ic) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	ic->base.provider = p;
	ic->fn = fn;
	ic->arg = arg;
	list_add_tail(&i->calls, &ic->node);
	if (talk_begin(&ic->talk, &i->opts, ROLE_PATH, on_role, ic, e) != 0) {
		call_free(ic);
		return NULL;
	}
	return &ic->base;
}

static void imds_cancel(struct provider_call *call)
{
	call_free((struct imds_call *)call);
}

static void imds_close(struct provider *p)
{
	struct imds *i = (struct imds *)p;

	while (!list_empty(&i->calls))
		call_free(CONTAINER_OF(i->calls.next, struct imds_call, node));
	mem_free(i->url);
	mem_free(i->otherwise);
	mem_free(i);
}

static const struct provider_ops ops = {
	.name = "instance metadata",
	.get = imds_get,
	.cancel = imds_cancel,
	.close = imds_close,
};

struct provider *imds_new(const struct imds_opts *o, struct err *e)
{
	struct imds *i = mem_alloc(sizeof(*i));

	if (i) {
		i->base.ops = &ops;
		list_init(&i->calls);
		i->url = mem_strdup(o->url);
		i->otherwise = mem_strdup(o->otherwise);
		i->opts = *o;
		i->opts.url = i->url;
	}
	if (i && i->url && (i->otherwise || !o->otherwise))
		return &i->base;
	(void)err_set(e, ERR_NOMEM, "credentials");
	if (i)
		imds_close(&i->base);
	return NULL;
}

/* --- the region --- */

struct imds_region {
	struct talk talk;
	imds_region_fn *fn;
	void *arg;
};

void imds_region_cancel(struct imds_region *r)
{
	if (!r)
		return;
	talk_end(&r->talk);
	mem_free(r);
}

static bool is_region(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && n < 64 && !s[n];
}

static void on_region(void *arg, const char *text, size_t n, const struct err *why)
{
	struct imds_region *r = arg;
	imds_region_fn *fn = r->fn;
	void *to = r->arg;
	struct err e;

	(void)n;
	if (why)
		e = *why;
	else if (!is_region(text))
		(void)err_set(&e, ERR_PROTO, "instance metadata: '%.40s' is no region", text);
	fn(to, text && is_region(text) ? text : NULL, &e);
	imds_region_cancel(r);
}

struct imds_region *imds_region_get(const struct imds_opts *o, imds_region_fn *fn, void *arg,
				    struct err *e)
{
	struct imds_region *r = mem_alloc(sizeof(*r));

	if (!r) {
		(void)err_set(e, ERR_NOMEM, "region");
		return NULL;
	}
	r->fn = fn;
	r->arg = arg;
	if (talk_begin(&r->talk, o, REGION_PATH, on_region, r, e) == 0)
		return r;
	imds_region_cancel(r);
	return NULL;
}
