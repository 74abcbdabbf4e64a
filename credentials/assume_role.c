/*
 * A role's credentials: one AssumeRole call to STS (API version 2011-06-15),
 * signed with the source's credentials. Nothing is kept here, the cache in
 * front does that; each fetch asks source and STS anew. The expiry is put into
 * our clock's time, should that differ from AWS's.
 */
#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/aws_xml.h"
#include "credentials/form.h"
#include "credentials/provider_impl.h"

enum { FORM_MAX = 16 * 1024 };

struct role {
	struct source base;
	struct aws_client *client;
	struct provider *source;
	char *endpoint, *form;
	char *profile;
	char *serial; /* of the device that a code is asked of; NULL: none */
	const struct mfa_asker *mfa;
};

struct role_call {
	struct source_call base;
	struct aws_call *call;
	struct mfa_ask *asking;
};

void role_session_name(const char *user, const char *host, char out[65])
{
	(void)str_fmt(out, 65, "awsocks-%.30s-%s", user && *user ? user : "user",
		      host && *host ? host : "host");
	for (; *out; out++)
		if (!isalnum((unsigned char)*out) && !strchr("_+=,.@-", *out))
			*out = '-';
}

int role_form(const struct role_opts *o, struct buf *b, struct err *e)
{
	char number[16];

	if (form_add(b, "Action", "AssumeRole", e) != 0 ||
	    form_add(b, "Version", "2011-06-15", e) != 0 ||
	    form_add(b, "RoleArn", o->arn, e) != 0 ||
	    form_add(b, "RoleSessionName", o->session_name, e) != 0 ||
	    (o->external_id && form_add(b, "ExternalId", o->external_id, e) != 0))
		return -1;
	(void)str_fmt(number, sizeof(number), "%u", o->duration_s);
	return o->duration_s ? form_add(b, "DurationSeconds", number, e) : 0;
}

/* "arn:aws:sts::111122223333:assumed-role/A/B" -> "111122223333", or NULL. */
static const char *account_of(const char *arn, char out[16])
{
	for (int colons = 0; arn && colons < 4; colons++) {
		arn = strchr(arn, ':');
		arn = arn ? arn + 1 : NULL;
	}
	return arn && str_fmt(out, 16, "%.*s", (int)strcspn(arn, ":"), arn) ? out : NULL;
}

struct creds *role_parse(const char *text, size_t n, const char *source, struct err *e)
{
	struct xml *root;
	const struct xml *result, *at;
	const char *id, *secret, *token, *until;
	struct creds *c = NULL;
	char account[16];
	int64_t expires;

	if (xml_parse(text, n, &root, e) != 0)
		return NULL;
	result = xml_at(root, "AssumeRoleResult");
	if (!result)
		result = xml_at(root, "AssumeRoleWithWebIdentityResult");
	at = xml_at(result, "Credentials");
	id = xml_text(at, "AccessKeyId");
	secret = xml_text(at, "SecretAccessKey");
	token = xml_text(at, "SessionToken");
	until = xml_text(at, "Expiration");
	if (!id || !secret || !token || !until)
		(void)err_set(e, ERR_PROTO, "STS's answer has no complete credentials");
	else if (clock_parse_iso(until, &expires, e) == 0)
		c = creds_new(id, secret, token, expires,
			      account_of(xml_text(result, "AssumedRoleUser/Arn"), account), source,
			      e);
	xml_free(root);
	return c;
}

static void on_answer(void *arg, const struct aws_reply *reply, const char *code,
		      const struct err *why)
{
	struct role_call *rc = arg;
	struct role *r = (struct role *)rc->base.base.provider;
	struct creds *c = NULL;
	struct err e;

	(void)code;
	rc->call = NULL;
	if (reply)
		c = role_parse(reply->body, reply->body_len, r->base.words, &e);
	else
		e = *why;
	if (!c) {
		source_fail(&rc->base, &e);
		return;
	}
	c->expires_ms -= aws_skew_ms(r->client); /* nobody else has it yet */
	source_end(&rc->base, c, NULL);
}

static int transmit(struct role *r, struct role_call *rc, const char *form, struct err *e)
{
	rc->call = aws_send(r->client,
			    &(struct aws_request){ .protocol = AWS_QUERY,
						   .service = "sts",
						   .endpoint = r->endpoint,
						   .body = form },
			    on_answer, rc, e);
	return rc->call ? 0 : -1;
}

static int transmit_with_code(struct role *r, struct role_call *rc, const char *code, struct err *e)
{
	struct buf b;
	int result;

	buf_init(&b, FORM_MAX);
	result = buf_addf(&b, e, "%s", r->form);
	if (result == 0)
		result = form_add(&b, "SerialNumber", r->serial, e);
	if (result == 0)
		result = form_add(&b, "TokenCode", code, e);
	if (result == 0)
		result = buf_add(&b, "", 1, e);
	if (result == 0)
		result = transmit(r, rc, (const char *)buf_ptr(&b), e);
	buf_free(&b);
	return result;
}

static void on_code(void *arg, const char *code, const struct err *why)
{
	struct role_call *rc = arg;
	struct role *r = (struct role *)rc->base.base.provider;
	struct err e;

	rc->asking = NULL;
	if (code && transmit_with_code(r, rc, code, &e) == 0)
		return;
	if (!code)
		e = *why;
	source_fail(&rc->base, &e);
}

/* Nobody to ask: an error that says what would help, never a silent wait. */
static int ask_code(struct role *r, struct role_call *rc, struct err *e)
{
	if (!r->mfa)
		return err_set(
			e, ERR_CREDS,
			"%s: needs the one-time code of %s, and there is no terminal to ask "
			"at: use the profile once with the AWS CLI (its cache is shared), or "
			"in a running awsocks with awsocks mfa CODE",
			r->base.words, r->serial);
	rc->asking = r->mfa->ask(r->mfa->arg, r->profile, r->serial, on_code, rc, e);
	return rc->asking ? 0 : -1;
}

static int begin(struct source_call *call, struct err *e)
{
	struct role_call *rc = (struct role_call *)call;
	struct role *r = (struct role *)call->base.provider;

	return r->serial ? ask_code(r, rc, e) : transmit(r, rc, r->form, e);
}

static void drop(struct source_call *call)
{
	struct role_call *rc = (struct role_call *)call;

	aws_cancel(rc->call);
	if (rc->asking)
		((struct role *)call->base.provider)->mfa->cancel(rc->asking);
}

static void role_free(struct provider *p)
{
	struct role *r = (struct role *)p;

	aws_client_free(r->client);
	provider_close(r->source);
	mem_free(r->endpoint);
	mem_free_str(r->form);
	mem_free(r->serial);
	mem_free(r->profile);
}

static const struct source_ops ops = {
	.base = { .name = "assume role", SOURCE_CALLS },
	.call_size = sizeof(struct role_call),
	.begin = begin,
	.drop = drop,
	.free = role_free,
};

static int fill(struct role *r, const struct role_opts *o, struct err *e)
{
	struct buf b;
	size_t n = strlen(o->profile) + strlen(o->arn) + 40;
	int result;

	buf_init(&b, FORM_MAX);
	result = role_form(o, &b, e);
	r->form = result == 0 ? mem_strndup((const char *)buf_ptr(&b), buf_len(&b)) : NULL;
	buf_free(&b);
	if (result != 0)
		return -1;
	r->endpoint = mem_strdup(o->endpoint);
	r->base.words = mem_alloc(n);
	r->serial = mem_strdup(o->mfa_serial);
	r->profile = mem_strdup(o->profile);
	if (!r->form || !r->endpoint || !r->base.words || !r->profile ||
	    (o->mfa_serial && !r->serial))
		return err_set(e, ERR_NOMEM, "credentials");
	(void)str_fmt(r->base.words, n, "profile %s (assume role %s)", o->profile, o->arn);
	return 0;
}

struct provider *role_new(const struct role_opts *o, struct err *e)
{
	struct role *r = source_new(sizeof(*r), &ops, e);

	if (!r) {
		aws_client_free(o->client);
		provider_close(o->source);
		return NULL;
	}
	r->client = o->client;
	r->source = o->source;
	r->mfa = o->mfa;
	if (fill(r, o, e) != 0) {
		source_close(&r->base.base);
		return NULL;
	}
	return &r->base.base;
}
