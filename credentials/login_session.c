/*
 * A fetch: read the file; if what is in it lives on for a while, that is it.
 * Otherwise CreateOAuth2Token with the refresh token and a proof that we have
 * the key it was given to; what comes is written back, because `aws` reads it
 * there, too. A refresh token counts once: after a refusal the file is looked
 * at again, since another program may have been faster. What still lives
 * serves when nothing else can be had.
 */
#include "credentials/login_session.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "credentials/dpop.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/login_file.h"
#include "credentials/provider_impl.h"
#include "credentials/rest.h"

enum { RENEW_MS = 5 * 60 * 1000, REREADS = 3, REREAD_MS = 500 };

struct login {
	struct source base;
	struct loop *loop;
	struct http *http;
	char *profile, *url, *ca_file, *refused, *path;
	struct rest_shared *rest;
};

struct login_call {
	struct source_call base;
	struct file_job *job;
	struct rest_call *rest;
	struct loop_timer pause;
	struct login_file file;
	struct creds *creds; /* of the file */
	struct dpop_key *key;
	unsigned rereads;
	struct err why; /* of the renewal that failed */
};

static struct login *login_of(const struct login_call *lc)
{
	return (struct login *)lc->base.base.provider;
}

static int64_t now_ms(const struct login *l)
{
	return clock_wall_ms(loop_clock(l->loop));
}

static void drop(struct source_call *call)
{
	struct login_call *lc = (struct login_call *)call;

	file_job_cancel(lc->job);
	rest_cancel(lc->rest);
	timer_disarm(login_of(lc)->loop, &lc->pause);
	login_file_free(&lc->file);
	dpop_key_free(lc->key);
	creds_unref(lc->creds);
}

/* The end: with what the call has, or with why. */
static void finish(struct login_call *lc, const struct err *why)
{
	if (why)
		source_fail(&lc->base, why);
	else
		source_end(&lc->base, creds_ref(lc->creds), NULL);
}

static void sign_in(struct login_call *lc, const char *because)
{
	struct err e;

	(void)err_set(&e, ERR_CREDS, "%s: run aws login --profile %s", because,
		      login_of(lc)->profile);
	finish(lc, &e);
}

/* --- renewing --- */

static bool serves(const struct login_call *lc, int64_t at_least_ms)
{
	const struct login *l = login_of(lc);

	return lc->creds && lc->creds->expires_ms - now_ms(l) > at_least_ms &&
	       !(l->refused && strcmp(l->refused, lc->creds->access_key_id) == 0);
}

static void not_renewed(struct login_call *lc)
{
	struct err e = lc->why;

	if (serves(lc, 0)) {
		log_warn("creds", "%s: not renewed, they serve until they expire: %s",
			 login_of(lc)->base.words, lc->why.msg);
		finish(lc, NULL);
		return;
	}
	finish(lc, &e);
}

/* What the file says now; false: *e tells. */
static bool take_file(struct login_call *lc, const char *text, size_t n, struct err *e)
{
	struct login *l = login_of(lc);
	struct login_file fresh;
	struct creds *c;

	if (login_file_parse(text, n, l->path, &fresh, e) != 0)
		return false;
	c = login_file_creds(&fresh, l->base.words, e);
	if (!c) {
		(void)err_wrap(e, "%s", l->path);
		login_file_free(&fresh);
		return false;
	}
	login_file_free(&lc->file);
	creds_unref(lc->creds);
	lc->file = fresh;
	lc->creds = c;
	return true;
}

static void read_again(void *arg);

static void on_reread(void *arg, const char *text, size_t n, const struct err *why)
{
	struct login_call *lc = arg;
	struct err e;

	(void)why;
	lc->job = NULL;
	if (text && take_file(lc, text, n, &e) && serves(lc, RENEW_MS))
		finish(lc, NULL);
	else if (++lc->rereads < REREADS)
		timer_arm(login_of(lc)->loop, &lc->pause, REREAD_MS, read_again, lc);
	else
		not_renewed(lc);
}

static void read_again(void *arg)
{
	struct login_call *lc = arg;
	struct err e;

	lc->job = file_job_read(login_of(lc)->loop, login_of(lc)->path, on_reread, lc, &e);
	if (!lc->job)
		not_renewed(lc);
}

static void on_written(void *arg, const char *text, size_t n, const struct err *why)
{
	struct login_call *lc = arg;

	(void)n;
	lc->job = NULL;
	if (!text)
		log_warn("creds", "%s: what was renewed could not be kept for other programs: %s",
			 login_of(lc)->base.words, why->msg);
	finish(lc, NULL);
}

static void renewed(struct login_call *lc)
{
	struct login *l = login_of(lc);
	char *text = login_file_print(&lc->file);
	struct creds *c = login_file_creds(&lc->file, l->base.words, &lc->why);
	struct err e;

	creds_unref(lc->creds);
	lc->creds = c;
	if (text)
		lc->job = file_job_write(l->loop, l->path, text, on_written, lc, &e);
	json_text_free(text);
	if (!c)
		finish(lc, &lc->why);
	else if (!lc->job)
		finish(lc, NULL);
}

static const char *cure(const struct rest_error *error)
{
	if (strcmp(error->kind, "INSUFFICIENT_PERMISSIONS") == 0)
		return "the user lacks the permission signin:CreateOAuth2Token";
	if (strcmp(error->kind, "USER_CREDENTIALS_CHANGED") == 0)
		return "the password was changed";
	if (strcmp(error->kind, "TOKEN_EXPIRED") == 0)
		return "the sign-in is over";
	return NULL;
}

static void on_reply(void *arg, const char *body, size_t n, const struct rest_error *error,
		     const struct err *why)
{
	struct login_call *lc = arg;
	struct login *l = login_of(lc);
	const char *known = cure(error);

	lc->rest = NULL;
	if (body && login_file_renew(&lc->file, body, n, now_ms(l), &lc->why) == 0) {
		renewed(lc);
		return;
	}
	if (body)
		(void)err_wrap(&lc->why, "signin: CreateOAuth2Token (request %s)",
			       error->request_id);
	else
		lc->why = *why;
	if (rest_refused(error)) {
		lc->why.code = ERR_CREDS;
		if (!known)
			(void)err_wrap(&lc->why, "run aws login --profile %s", l->profile);
	}
	if (known && strcmp(error->kind, "INSUFFICIENT_PERMISSIONS") == 0)
		(void)err_set(&lc->why, ERR_CREDS, "%s (signin: %s, request %s)", known,
			      error->code, error->request_id);
	else if (known)
		(void)err_set(&lc->why, ERR_CREDS,
			      "%s: run aws login --profile %s (signin: %s, request %s)", known,
			      l->profile, error->code, error->request_id);
	if (body || error->status == 400 || error->status == 401 || error->status == 403)
		read_again(lc);
	else
		not_renewed(lc);
}

static int form_url(const struct login *l, char out[512], struct err *e)
{
	return str_fmt(out, 512, "%s/v1/token", l->url)
		       ? 0
		       : err_set(e, ERR_CONFIG, "endpoint too long: %.60s...", l->url);
}

static char *proof(void *arg, int64_t wall_ms, struct err *e)
{
	struct login_call *lc = arg;
	char url[512], jti[37];

	if (form_url(login_of(lc), url, e) != 0)
		return NULL;
	random_uuid(jti);
	return dpop_proof(lc->key, url, wall_ms / 1000, jti, e);
}

static int body_of(const struct login_file *f, struct buf *b, struct err *e)
{
	if (buf_addf(b, e, "{\"clientId\":") != 0 || json_add_quoted(b, f->client_id, e) != 0 ||
	    buf_addf(b, e, ",\"grantType\":\"refresh_token\",\"refreshToken\":") != 0 ||
	    json_add_quoted(b, f->refresh, e) != 0)
		return -1;
	return buf_add(b, "}", 2, e); /* with its NUL */
}

static void renew(struct login_call *lc)
{
	struct login *l = login_of(lc);
	char url[512];
	struct buf b;

	buf_init(&b, 64 * 1024);
	if (dpop_key_load(lc->file.key_pem, &lc->key, &lc->why) != 0)
		(void)err_wrap(&lc->why, "run aws login --profile %s: %s", l->profile, l->path);
	else if (form_url(l, url, &lc->why) == 0 && body_of(&lc->file, &b, &lc->why) == 0)
		lc->rest = rest_send(l->loop, l->http,
				     &(struct rest_request){ .op = "signin: CreateOAuth2Token",
							     .url = url,
							     .body = (const char *)buf_ptr(&b),
							     .proof = proof,
							     .proof_arg = lc,
							     .ca_file = l->ca_file,
							     .shared = l->rest },
				     on_reply, lc, &lc->why);
	buf_free(&b);
	if (!lc->rest)
		not_renewed(lc);
}

static void on_file(void *arg, const char *text, size_t n, const struct err *why)
{
	struct login_call *lc = arg;
	struct err e;

	lc->job = NULL;
	if (!text && why->sys == ENOENT)
		sign_in(lc, "not signed in");
	else if (!text)
		finish(lc, why);
	else if (!take_file(lc, text, n, &e))
		sign_in(lc, e.msg);
	else if (serves(lc, RENEW_MS))
		finish(lc, NULL);
	else
		renew(lc);
}

/* --- the provider --- */

static int begin(struct source_call *call, struct err *e)
{
	struct login_call *lc = (struct login_call *)call;

	lc->job = file_job_read(login_of(lc)->loop, login_of(lc)->path, on_file, lc, e);
	return lc->job ? 0 : -1;
}

static void login_free(struct provider *p)
{
	struct login *l = (struct login *)p;

	mem_free(l->profile);
	mem_free(l->url);
	mem_free(l->ca_file);
	mem_free(l->refused);
	mem_free(l->path);
}

static const struct source_ops ops = {
	.base = { .name = "login", SOURCE_CALLS },
	.call_size = sizeof(struct login_call),
	.begin = begin,
	.drop = drop,
	.free = login_free,
};

static bool kept(char **to, const char *text)
{
	*to = mem_strdup(text);
	return *to || !text;
}

static int fill(struct login *l, const struct login_opts *o, struct err *e)
{
	size_t n = strlen(o->profile) + 40;

	l->base.words = mem_alloc(n);
	if (!l->base.words || !kept(&l->profile, o->profile) || !kept(&l->url, o->url) ||
	    !kept(&l->ca_file, o->ca_file) || !kept(&l->refused, o->refused))
		return err_set(e, ERR_NOMEM, "credentials");
	(void)str_fmt(l->base.words, n, "profile %s (login_session)", o->profile);
	l->path = login_file_path(o->environ, o->session, e);
	return l->path ? 0 : -1;
}

struct provider *login_new(const struct login_opts *o, struct err *e)
{
	struct login *l = source_new(sizeof(*l), &ops, e);

	if (!l)
		return NULL;
	l->loop = o->loop;
	l->http = o->http;
	l->rest = o->rest;
	if (fill(l, o, e) != 0) {
		source_close(&l->base.base);
		return NULL;
	}
	return &l->base.base;
}
