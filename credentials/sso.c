/*
 * A fetch, in its steps; each file is read or replaced on the thread pool:
 *
 *   the CLI's cache of role credentials --good for a while yet--> done
 *      | none
 *   token file --more than 15 min left---------------------------+
 *      | less, and it can be renewed                             |
 *   CreateToken -> write the file --------------------------------+-> GetRoleCredentials
 *      | refused: the file again, someone else may have           |    -> write the cache, done
 *      |          renewed it (refresh tokens count once) ---------+
 *      | failed, but the token is still good: a warning ----------+
 *      | failed, and it is not: an error that names the cure
 *
 * Who shares the token file waits for a CreateToken that is under way (sso_renew.c).
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/rest.h"
#include "credentials/sso_impl.h"

/* What is left of role credentials in the CLI's cache, as the CLI has it, and of a token that is
 * not renewed yet. */
enum { CACHED_MIN_MS = 15 * 60 * 1000, RENEW_MS = 15 * 60 * 1000 };

/* --- the end --- */

static void drop(struct source_call *call)
{
	struct sso_call *sc = (struct sso_call *)call;

	sso_leave_renewal(sc);
	file_job_cancel(sc->job);
	rest_cancel(sc->rest);
	timer_disarm(sso_of(sc)->loop, &sc->pause);
	sso_token_free(&sc->token);
	creds_unref(sc->creds);
}

/* Nobody can do anything about it but the user. */
static void sign_in(struct sso_call *sc, const char *because)
{
	struct err e;

	(void)err_set(&e, ERR_CREDS, "%s: run awsocks login %s", because, sso_of(sc)->profile);
	source_fail(&sc->base, &e);
}

/* --- role credentials --- */

static void on_cached(void *arg, const char *text, size_t n, const struct err *why)
{
	struct sso_call *sc = arg;
	struct creds *c = sc->creds;

	(void)n;
	sc->job = NULL;
	sc->creds = NULL;
	if (!text)
		log_debug("creds", "%s", why->msg); /* only costs the next one a call */
	source_end(&sc->base, c, NULL);
}

/* Takes c. Kept for the CLI too, if they live long enough to be taken from there. */
static void keep(struct sso_call *sc, struct creds *c)
{
	struct sso *s = sso_of(sc);
	char *text = NULL;
	struct err e;

	sc->creds = c;
	if (c->expires_ms - sso_now_ms(s) > CACHED_MIN_MS)
		text = sso_role_print(c);
	if (text)
		sc->job = file_job_write(s->loop, s->role_path, text, on_cached, sc, &e);
	json_text_free(text);
	if (sc->job)
		return;
	sc->creds = NULL;
	source_end(&sc->base, c, NULL);
}

static void on_role(void *arg, const char *body, size_t n, const struct rest_error *error,
		    const struct err *why)
{
	struct sso_call *sc = arg;
	struct sso *s = sso_of(sc);
	struct creds *c;
	struct err e;
	char text[160];

	sc->rest = NULL;
	if (body) {
		c = sso_reply_parse(body, n, s->account, s->base.words, &e);
		if (c) {
			c->expires_ms -= error->skew_ms; /* by our clock; nobody else has it yet */
			keep(sc, c);
			return;
		}
		(void)err_wrap(&e, "sso: GetRoleCredentials (request %s)", error->request_id);
		source_fail(&sc->base, &e);
	} else if (error->status == 401) {
		(void)str_fmt(text, sizeof(text),
			      "the sign-in is no longer valid (sso: GetRoleCredentials: HTTP 401, "
			      "request %s)",
			      error->request_id);
		sign_in(sc, text);
	} else if (error->status == 403) {
		(void)err_set(&e, ERR_CREDS,
			      "role %s in account %s is not assigned to this user: ask the "
			      "administrator of IAM Identity Center, or mend the profile (sso: "
			      "GetRoleCredentials: HTTP 403, request %s)",
			      s->role, s->account, error->request_id);
		source_fail(&sc->base, &e);
	} else {
		source_fail(&sc->base, why);
	}
}

/* "URL/federation/credentials?role_name=R&account_id=A" */
static char *role_url(const struct sso *s)
{
	size_t role = strlen(s->role), account = strlen(s->account);
	size_t size = strlen(s->portal_url) + 3 * (role + account) + 80;
	char *url = mem_alloc(size), *text = mem_alloc(3 * (role > account ? role : account) + 1);
	size_t n;

	if (url && text) {
		(void)str_uri_encode(s->role, role, false, text);
		(void)str_fmt(url, size, "%s/federation/credentials?role_name=%s", s->portal_url,
			      text);
		n = strlen(url);
		(void)str_uri_encode(s->account, account, false, text);
		(void)str_fmt(url + n, size - n, "&account_id=%s", text);
	} else {
		mem_free(url);
		url = NULL;
	}
	mem_free(text);
	return url;
}

void sso_ask_role(struct sso_call *sc)
{
	struct sso *s = sso_of(sc);
	char *url = role_url(s);
	struct err e;

	if (!url)
		(void)err_set(&e, ERR_NOMEM, "credentials");
	else
		sc->rest = rest_send(s->loop, s->http,
				     &(struct rest_request){ .op = "sso: GetRoleCredentials",
							     .url = url,
							     .bearer = sc->token.access,
							     .ca_file = s->ca_file,
							     .shared = s->rest },
				     on_role, sc, &e);
	mem_free(url);
	if (!sc->rest)
		source_fail(&sc->base, &e);
}

/* --- the files first --- */

static void use_token(struct sso_call *sc)
{
	struct sso *s = sso_of(sc);
	const char *why_not = sso_unrenewable(sc);
	char words[200], text[280];

	if (sc->token.expires_ms - sso_now_ms(s) > RENEW_MS) {
		sso_ask_role(sc);
	} else if (!why_not && (!sso_token_good(sc) || sso_may_renew(s))) {
		sso_renew(sc);
	} else if (sso_token_good(sc)) {
		sso_ask_role(sc);
	} else {
		sso_expired_words(sc, words, sizeof(words));
		(void)str_fmt(text, sizeof(text), "%s, and %s", words,
			      why_not ? why_not : "it was not renewed");
		sign_in(sc, text);
	}
}

static void on_token(void *arg, const char *text, size_t n, const struct err *why)
{
	struct sso_call *sc = arg;
	struct sso *s = sso_of(sc);
	struct err e;

	sc->job = NULL;
	if (!text && why->sys == ENOENT) {
		sign_in(sc, "not signed in");
	} else if (!text && why->code == ERR_LIMIT) {
		(void)err_set(&sc->why, ERR_CREDS, "%s: run awsocks login %s", why->msg,
			      s->profile);
		source_fail(&sc->base, &sc->why);
	} else if (!text) {
		source_fail(&sc->base, why);
	} else if (sso_token_parse(text, n, s->token_path, &sc->token, &e) != 0) {
		(void)err_set(&sc->why, ERR_CREDS, "%s: run awsocks login %s", e.msg, s->profile);
		source_fail(&sc->base, &sc->why);
	} else {
		use_token(sc);
	}
}

static void on_role_file(void *arg, const char *text, size_t n, const struct err *why)
{
	struct sso_call *sc = arg;
	struct sso *s = sso_of(sc);
	struct creds *c = NULL;
	struct err e = { 0 };

	sc->job = NULL;
	if (text)
		c = sso_role_parse(text, n, s->base.words, &e);
	if (!c && (text || why->sys != ENOENT))
		log_debug("creds", "%s is of no use: %s", s->role_path, text ? e.msg : why->msg);
	if (c && c->expires_ms - sso_now_ms(s) > CACHED_MIN_MS &&
	    !(s->refused && strcmp(s->refused, c->access_key_id) == 0)) {
		source_end(&sc->base, c, NULL);
		return;
	}
	creds_unref(c);
	sc->job = file_job_read(s->loop, s->token_path, on_token, sc, &e);
	if (!sc->job)
		source_fail(&sc->base, &e);
}

/* --- the provider --- */

static int begin(struct source_call *call, struct err *e)
{
	struct sso_call *sc = (struct sso_call *)call;

	sc->job = file_job_read(sso_of(sc)->loop, sso_of(sc)->role_path, on_role_file, sc, e);
	return sc->job ? 0 : -1;
}

static void sso_free(struct provider *p)
{
	struct sso *s = (struct sso *)p;

	mem_free(s->profile);
	mem_free(s->session);
	mem_free(s->start_url);
	mem_free(s->region);
	mem_free(s->account);
	mem_free(s->role);
	mem_free(s->portal_url);
	mem_free(s->oidc_url);
	mem_free(s->ca_file);
	mem_free(s->token_path);
	mem_free(s->role_path);
	mem_free(s->refused);
}

static const struct source_ops ops = {
	.base = { .name = "SSO", SOURCE_CALLS },
	.call_size = sizeof(struct sso_call),
	.begin = begin,
	.drop = drop,
	.free = sso_free,
};

static bool kept(char **to, const char *text)
{
	*to = mem_strdup(text);
	return *to || !text;
}

static int name_files(struct sso *s, const struct sso_opts *o, struct err *e)
{
	char name[SSO_NAME];

	if (sso_token_name(&s->where, name, e) != 0)
		return -1;
	s->token_path = sso_file_path(o->environ, SSO_TOKENS, name, e);
	if (!s->token_path || sso_role_name(&s->where, s->account, s->role, name, e) != 0)
		return -1;
	s->role_path = sso_file_path(o->environ, SSO_ROLES, name, e);
	return s->role_path ? 0 : -1;
}

static int fill(struct sso *s, const struct sso_opts *o, struct err *e)
{
	size_t n = strlen(o->profile) + strlen(o->role) + strlen(o->account) + 80;

	s->base.words = mem_alloc(n);
	if (!s->base.words || !kept(&s->profile, o->profile) ||
	    !kept(&s->session, o->where.session) || !kept(&s->start_url, o->where.start_url) ||
	    !kept(&s->region, o->where.region) || !kept(&s->account, o->account) ||
	    !kept(&s->role, o->role) || !kept(&s->portal_url, o->portal_url) ||
	    !kept(&s->oidc_url, o->oidc_url) || !kept(&s->ca_file, o->ca_file) ||
	    !kept(&s->refused, o->refused))
		return err_set(e, ERR_NOMEM, "credentials");
	(void)str_fmt(s->base.words, n, "profile %s (SSO, role %s in %s)", o->profile, o->role,
		      o->account);
	s->where = (struct sso_where){ s->session, s->start_url, s->region };
	if (name_files(s, o, e) != 0)
		return -1;
	s->renewal = sso_renewal_of(o->renewals, s->token_path);
	return s->renewal ? 0 : err_set(e, ERR_NOMEM, "credentials");
}

struct provider *sso_new(const struct sso_opts *o, struct err *e)
{
	struct sso *s = source_new(sizeof(*s), &ops, e);

	if (!s)
		return NULL;
	s->loop = o->loop;
	s->http = o->http;
	s->rest = o->rest;
	if (fill(s, o, e) != 0) {
		source_close(&s->base.base);
		return NULL;
	}
	return &s->base.base;
}
