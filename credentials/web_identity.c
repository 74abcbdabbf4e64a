/*
 * A role by a web identity: STS's AssumeRoleWithWebIdentity with the token in
 * a file, which is read anew at each fetch because it is rotated (EKS). The
 * call is not signed: the token is what proves who asks.
 */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/file_job.h"
#include "credentials/form.h"
#include "credentials/provider_impl.h"

enum { FORM_MAX = 128 * 1024 };

struct web {
	struct source base;
	struct loop *loop;
	struct aws_client *client;
	char *endpoint, *arn, *session_name, *token_file;
};

struct web_call {
	struct source_call base;
	struct file_job *reading;
	struct aws_call *call;
};

int web_form(const struct web_opts *o, const char *token, struct buf *b, struct err *e)
{
	if (form_add(b, "Action", "AssumeRoleWithWebIdentity", e) != 0 ||
	    form_add(b, "Version", "2011-06-15", e) != 0 ||
	    form_add(b, "RoleArn", o->arn, e) != 0 ||
	    form_add(b, "RoleSessionName", o->session_name, e) != 0)
		return -1;
	return form_add(b, "WebIdentityToken", token, e);
}

static void drop(struct source_call *call)
{
	struct web_call *wc = (struct web_call *)call;

	file_job_cancel(wc->reading);
	aws_cancel(wc->call);
}

static void on_answer(void *arg, const struct aws_reply *reply, const char *code,
		      const struct err *why)
{
	struct web_call *wc = arg;
	struct web *w = (struct web *)wc->base.base.provider;
	struct creds *c = NULL;
	struct err e;

	wc->call = NULL;
	if (reply)
		c = role_parse(reply->body, reply->body_len, w->base.words, &e);
	else
		e = *why;
	if (c) {
		c->expires_ms -= aws_skew_ms(w->client); /* nobody else has it yet */
		source_end(&wc->base, c, NULL);
		return;
	}
	if (strcmp(code, "ExpiredTokenException") == 0 || strcmp(code, "InvalidIdentityToken") == 0)
		(void)err_set(&e, ERR_CREDS, "STS does not take the token in %s (%s): renew it",
			      w->token_file, code);
	source_fail(&wc->base, &e);
}

/* 0: sent. Wipes what held the token. */
static int transmit(struct web_call *wc, const char *token, struct err *e)
{
	struct web *w = (struct web *)wc->base.base.provider;
	struct web_opts o = { .arn = w->arn, .session_name = w->session_name };
	struct buf b;
	char *form = NULL;
	int result;

	buf_init(&b, FORM_MAX);
	result = web_form(&o, token, &b, e);
	if (result == 0) {
		form = mem_strndup((const char *)buf_ptr(&b), buf_len(&b));
		result = form ? 0 : err_set(e, ERR_NOMEM, "credentials");
	}
	buf_free(&b);
	if (result != 0)
		return -1;
	wc->call = aws_send(w->client,
			    &(struct aws_request){ .protocol = AWS_QUERY,
						   .service = "sts",
						   .endpoint = w->endpoint,
						   .body = form,
						   .unsigned_request = true },
			    on_answer, wc, e);
	mem_free_str(form);
	return wc->call ? 0 : -1;
}

static void on_token(void *arg, const char *text, size_t n, const struct err *why)
{
	struct web_call *wc = arg;
	struct web *w = (struct web *)wc->base.base.provider;
	struct err e;

	wc->reading = NULL;
	if (!text) {
		e = *why;
		if (e.code != ERR_NOMEM)
			e.code = ERR_CREDS;
		(void)err_wrap(&e, "the token's file");
		source_fail(&wc->base, &e);
		return;
	}
	if (!n || strlen(text) != n) {
		(void)err_set(&e, ERR_CREDS, "the token's file %s is %s", w->token_file,
			      n ? "no text" : "empty");
		source_fail(&wc->base, &e);
		return;
	}
	if (transmit(wc, text, &e) != 0)
		source_fail(&wc->base, &e);
}

static int begin(struct source_call *call, struct err *e)
{
	struct web_call *wc = (struct web_call *)call;
	const struct web *w = (struct web *)call->base.provider;

	wc->reading = file_job_read(w->loop, w->token_file, on_token, wc, e);
	return wc->reading ? 0 : -1;
}

static void web_free(struct provider *p)
{
	struct web *w = (struct web *)p;

	aws_client_free(w->client);
	mem_free(w->endpoint);
	mem_free(w->arn);
	mem_free(w->session_name);
	mem_free(w->token_file);
}

static const struct source_ops ops = {
	.base = { .name = "web identity", SOURCE_CALLS },
	.call_size = sizeof(struct web_call),
	.begin = begin,
	.drop = drop,
	.free = web_free,
};

static int fill(struct web *w, const struct web_opts *o, struct err *e)
{
	size_t n = strlen(o->profile ? o->profile : "") + strlen(o->arn) + 60;

	w->endpoint = mem_strdup(o->endpoint);
	w->arn = mem_strdup(o->arn);
	w->session_name = mem_strdup(o->session_name);
	w->token_file = mem_strdup(o->token_file);
	w->base.words = mem_alloc(n);
	if (!w->endpoint || !w->arn || !w->session_name || !w->token_file || !w->base.words)
		return err_set(e, ERR_NOMEM, "credentials");
	if (o->profile)
		(void)str_fmt(w->base.words, n, "profile %s (web identity, role %s)", o->profile,
			      o->arn);
	else
		(void)str_fmt(w->base.words, n, "environment (web identity, role %s)", o->arn);
	return 0;
}

struct provider *web_new(const struct web_opts *o, struct err *e)
{
	struct web *w = source_new(sizeof(*w), &ops, e);

	if (!w) {
		aws_client_free(o->client);
		return NULL;
	}
	w->loop = o->loop;
	w->client = o->client;
	if (fill(w, o, e) != 0) {
		source_close(&w->base.base);
		return NULL;
	}
	return &w->base.base;
}
