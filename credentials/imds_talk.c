/*
 * Where the instance metadata service is, how patient we are with it, and a talk with it: PUT for a
 * token, GET with that. Limits as botocore has them: each request is sent as often as
 * AWS_METADATA_SERVICE_NUM_ATTEMPTS says (once), and each try takes AWS_METADATA_SERVICE_TIMEOUT
 * (1 s) at most, since on a machine that is no instance nobody answers (EC2 User Guide, "Use
 * IMDSv2").
 *
 * Version 1 is not asked: whoever can make a program send a GET could then
 * have its credentials. AWS_EC2_METADATA_V1_DISABLED is thereby always met.
 */
#include "credentials/imds_talk.h"

#include <string.h>

#include "base/str.h"
#include "credentials/env.h"
#include "credentials/profile.h"
#include "net/http.h"
#include "net/url.h"

enum { TRY_S = 1, TRY_MAX_S = 60, TRIES = 1, TRIES_MAX = 10 };

/* --- where, and how often --- */

static const char *setting(const char *const *env, const struct aws_files *files,
			   const char *profile, const char *name, const char *key)
{
	const char *value = env_get(env, name);

	return value ? value : profile_get(files, profile, key);
}

static int number(const char *text, const char *name, unsigned least, unsigned most, unsigned *out,
		  struct err *e)
{
	uint64_t n;

	if (!text)
		return 0;
	if (str_number(text, least, most, &n, e) != 0) {
		if (e)
			e->code = ERR_CONFIG;
		return err_wrap(e, "%s", name);
	}
	*out = (unsigned)n;
	return 0;
}

static const char *tries_setting(const char *const *env, const struct aws_files *files,
				 const char *profile)
{
	return setting(env, files, profile, "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
		       "metadata_service_num_attempts");
}

bool imds_disabled(const char *const *env, const struct aws_files *files, const char *profile)
{
	const char *tries = tries_setting(env, files, profile);

	return env_true(env, "AWS_EC2_METADATA_DISABLED") || (tries && strcmp(tries, "0") == 0);
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

static int find_url(const char *const *env, const struct aws_files *files, const char *profile,
		    char url[static IMDS_URL_MAX], struct err *e)
{
	const char *given = setting(env, files, profile, "AWS_EC2_METADATA_SERVICE_ENDPOINT",
				    "ec2_metadata_service_endpoint");
	const char *mode = setting(env, files, profile, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
				   "ec2_metadata_service_endpoint_mode");
	struct url parsed;
	size_t n;

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
	return str_fmt(url, IMDS_URL_MAX, "%.*s", (int)n, given)
		       ? 0
		       : err_set(e, ERR_CONFIG, "AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
}

int imds_find(const char *const *env, const struct aws_files *files, const char *profile,
	      struct imds_at *out, struct err *e)
{
	unsigned seconds = TRY_S;

	*out = (struct imds_at){ .tries = TRIES };
	if (find_url(env, files, profile, out->url, e) != 0 ||
	    number(setting(env, files, profile, "AWS_METADATA_SERVICE_TIMEOUT",
			   "metadata_service_timeout"),
		   "AWS_METADATA_SERVICE_TIMEOUT", 1, TRY_MAX_S, &seconds, e) != 0 ||
	    number(tries_setting(env, files, profile), "AWS_METADATA_SERVICE_NUM_ATTEMPTS", 0,
		   TRIES_MAX, &out->tries, e) != 0)
		return -1;
	out->try_ms = seconds * 1000;
	return 0;
}

/* --- the talk --- */

static int transmit(struct imds_talk *t, struct err *e);

void imds_talk_end(struct imds_talk *t)
{
	if (t->sending)
		http_cancel(t->sending);
	t->sending = NULL;
	secret_free(&t->token);
}

static int got_token(struct imds_talk *t, const struct http_reply *r, struct err *e)
{
	if (!r->body_len || strlen(r->body) != r->body_len || strpbrk(r->body, "\r\n"))
		return err_set(e, ERR_PROTO, "instance metadata: the token is not a line of text");
	if (secret_set(&t->token, r->body, e) != 0)
		return -1;
	t->tried = 0;
	return transmit(t, e);
}

/* What stands at the next try as it does now: for a token, that there is nobody who makes them or
 * that ours is not how to ask. Otherwise botocore tries again whatever the status is. */
static bool stands(const struct imds_talk *t, int status)
{
	return !t->token.text && (status == 400 || status == 403 || status == 404 || status == 405);
}

static bool is_good(const struct imds_talk *t, const struct http_reply *r)
{
	return r && r->status == 200 && (r->body_len || !t->token.text);
}

static void say(const struct imds_talk *t, const struct http_reply *r, const struct err *why,
		struct err *e)
{
	if (!r) {
		*e = *why;
		(void)err_wrap(e, "instance metadata");
	} else if (r->status == 200) {
		(void)err_set(e, ERR_PROTO, "instance metadata: an empty answer");
	} else {
		(void)err_set(e, r->status >= 500 ? ERR_AWS : ERR_CREDS,
			      "instance metadata: HTTP %d for %s", r->status,
			      !t->token.text     ? "a token"
			      : r->status == 404 ? t->missing
						 : "what was asked");
	}
}

static void on_reply(void *arg, const struct http_reply *r, const struct err *why)
{
	struct imds_talk *t = arg;
	struct err e;

	t->sending = NULL;
	if (is_good(t, r) && t->token.text) {
		t->fn(t->arg, r->body, r->body_len, NULL);
		return;
	}
	if (is_good(t, r)) {
		if (got_token(t, r, &e) == 0)
			return;
	} else if (t->tried < t->at.tries && !(r && stands(t, r->status)) && transmit(t, &e) == 0) {
		return;
	} else {
		say(t, r, why, &e);
	}
	t->fn(t->arg, NULL, 0, &e);
}

/* What is asked next: a token while there is none. */
static int transmit(struct imds_talk *t, struct err *e)
{
	struct http_header h = { "x-aws-ec2-metadata-token", t->token.text };
	struct http_request r = { .method = t->token.text ? "GET" : "PUT",
				  .headers = &h,
				  .header_count = 1,
				  .limit_ms = t->at.try_ms,
				  .no_proxy = true };
	const char *path = t->token.text ? t->path : "/latest/api/token";
	char url[IMDS_URL_MAX + 512];

	if (!t->token.text)
		h = (struct http_header){ "x-aws-ec2-metadata-token-ttl-seconds", "21600" };
	if (!str_fmt(url, sizeof(url), "%s%s", t->at.url, path))
		return err_set(e, ERR_CONFIG, "instance metadata: the URL is too long");
	r.url = url;
	t->tried++;
	t->sending = http_send(t->http, &r, on_reply, t, e);
	return t->sending ? 0 : -1;
}

int imds_talk_ask(struct imds_talk *t, const char *path, imds_talk_fn *fn, struct err *e)
{
	t->path = path;
	t->fn = fn;
	t->tried = 0;
	return transmit(t, e);
}

int imds_talk_repeat(struct imds_talk *t, struct err *e)
{
	return t->tried < t->at.tries ? transmit(t, e) : -1;
}
