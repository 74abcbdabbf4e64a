/*
 * A role by a web identity: STS's AssumeRoleWithWebIdentity with the token in
 * a file, which is read anew at each fetch because it is rotated (EKS). The
 * call is not signed: the token is what proves who asks.
 */
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"
#include "credentials/file_job.h"
#include "credentials/form.h"
#include "credentials/provider_impl.h"

enum { FORM_MAX = 128 * 1024 };

struct web {
	struct provider base;
	struct loop *loop;
	struct aws_client *client;
	char *endpoint, *arn, *session_name, *token_file, *words;
	struct list calls;
};

struct web_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
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

static void call_free(struct web_call *wc)
{
	list_del(&wc->node);
	file_job_cancel(wc->reading);
	aws_cancel(wc->call);
	mem_free(wc);
}

static void answer(struct web_call *wc, struct creds *c, struct err *why)
{
	struct web *w = (struct web *)wc->base.provider;
	creds_fn *fn = wc->fn;
	void *arg = wc->arg;

	if (!c)
		(void)err_wrap(why, "%s", w->words);
	call_free(wc);
	fn(arg, c, c ? NULL : why);
	creds_unref(c);
}

static void on_answer(void *arg, const struct aws_reply *reply, const char *code,
		      const struct err *why)
{
	struct web_call *wc = arg;
	struct web *w = (struct web *)wc->base.provider;
	struct creds *c = NULL;
	struct err e;

	wc->call = NULL;
	if (reply)
		c = role_parse(reply->body, reply->body_len, w->words, &e);
	else
		e = *why;
	if (c)
		c->expires_ms -= aws_skew_ms(w->client); /* nobody else has it yet */
	else if (strcmp(code, "ExpiredTokenException") == 0 ||
		 strcmp(code, "InvalidIdentityToken") == 0)
		(void)err_set(&e, ERR_CREDS, "STS does not take the token in %s (%s): renew it",
			      w->token_file, code);
	answer(wc, c, &e);
}

/* 0: sent. Wipes what held the token. */
static int transmit(struct web_call *wc, const char *token, struct err *e)
{
	struct web *w = (struct web *)wc->base.provider;
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
	struct web *w = (struct web *)wc->base.provider;
	struct err e;

	wc->reading = NULL;
	if (!text) {
		e = *why;
		if (e.code != ERR_NOMEM)
			e.code = ERR_CREDS;
		(void)err_wrap(&e, "the token's file");
		answer(wc, NULL, &e);
		return;
	}
	if (!n || strlen(text) != n) {
		(void)err_set(&e, ERR_CREDS, "the token's file %s is %s", w->token_file,
			      n ? "no text" : "empty");
		answer(wc, NULL, &e);
		return;
	}
	if (transmit(wc, text, &e) != 0)
		answer(wc, NULL, &e);
}

static struct provider_call *web_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct web *w = (struct web *)p;
	struct web_call *wc = mem_alloc(sizeof(*wc));

	if (!wc) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		return NULL;
	}
	wc->base.provider = p;
	wc->fn = fn;
	wc->arg = arg;
	list_add_tail(&w->calls, &wc->node);
	wc->reading = file_job_read(w->loop, w->token_file, on_token, wc, e);
	if (!wc->reading) {
		call_free(wc);
		return NULL;
	}
	return &wc->base;
}

static void web_cancel(struct provider_call *call)
{
	call_free((struct web_call *)call);
}

static void web_close(struct provider *p)
{
	struct web *w = (struct web *)p;

	while (!list_empty(&w->calls))
		call_free(CONTAINER_OF(w->calls.next, struct web_call, node));
	aws_client_free(w->client);
	mem_free(w->endpoint);
	mem_free(w->arn);
	mem_free(w->session_name);
	mem_free(w->token_file);
	mem_free(w->words);
	mem_free(w);
}

static const char *web_describe(const struct provider *p)
{
	return ((const struct web *)p)->words;
}

static const struct provider_ops ops = {
	.name = "web identity",
	.get = web_get,
	.cancel = web_cancel,
	.close = web_close,
	.describe = web_describe,
};

static int fill(struct web *w, const struct web_opts *o, struct err *e)
{
	size_t n = strlen(o->profile ? o->profile : "") + strlen(o->arn) + 60;

	w->endpoint = mem_strdup(o->endpoint);
	w->arn = mem_strdup(o->arn);
	w->session_name = mem_strdup(o->session_name);
	w->token_file = mem_strdup(o->token_file);
	w->words = mem_alloc(n);
	if (!w->endpoint || !w->arn || !w->session_name || !w->token_file || !w->words)
		return err_set(e, ERR_NOMEM, "credentials");
	if (o->profile)
		(void)str_fmt(w->words, n, "profile %s (web identity, role %s)", o->profile,
			      o->arn);
	else
		(void)str_fmt(w->words, n, "environment (web identity, role %s)", o->arn);
	return 0;
}

struct provider *web_new(const struct web_opts *o, struct err *e)
{
	struct web *w = mem_alloc(sizeof(*w));

	if (!w) {
		(void)err_set(e, ERR_NOMEM, "credentials");
		aws_client_free(o->client);
		return NULL;
	}
	w->base.ops = &ops;
	w->loop = o->loop;
	w->client = o->client;
	list_init(&w->calls);
	if (fill(w, o, e) != 0) {
		web_close(&w->base);
		return NULL;
	}
	return &w->base;
}
