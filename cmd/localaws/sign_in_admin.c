/*
 * What a browser does at a sign-in. GET /_localaws/device?user_code=XXXX-XXXX
 * is a page with two buttons; POST with user_code and action=approve or deny
 * is what they send. POST /_localaws/login-session gives the file that `aws
 * login` would have written.
 */
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/api.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

enum { LOGIN_LIFE_MS = 12 * 3600 * 1000, CREDENTIALS_LIFE_S = 900 };

static void page(struct reply *r, int status, const char *text, const char *user_code)
{
	int failed;

	r->status = status;
	r->type = "text/html; charset=utf-8";
	failed = buf_addf(&r->body, NULL,
			  "<!DOCTYPE html>\n<title>awsocks-localaws</title>\n<p>%s</p>\n", text);
	if (user_code) {
		failed = failed || buf_addf(&r->body, NULL,
					    "<form method=\"post\"><input name=\"user_code\" "
					    "value=\"");
		api_xml_text(&r->body, user_code);
		failed = failed ||
			 buf_addf(&r->body, NULL,
				  "\"><button name=\"action\" value=\"approve\">Allow</button>"
				  "<button name=\"action\" value=\"deny\">Deny</button></form>\n");
	}
	if (failed)
		log_error("http", "out of memory");
}

static void decide(struct world *w, const struct form *f, struct reply *r)
{
	const char *code = form_get(f, "user_code"), *action = form_get(f, "action");
	struct sign_in *s = &w->sign_in;
	struct oidc_device *d = NULL;

	for (size_t i = 0; code && i < SIGN_IN_DEVICES; i++)
		if (*s->devices[i].user_code && str_eq_nocase(s->devices[i].user_code, code))
			d = &s->devices[i];
	if (!d || d->state != DEVICE_PENDING || d->expires_ms <= world_wall_ms(w)) {
		page(r, 404, "This code is unknown, used or expired.", NULL);
	} else if (action && strcmp(action, "approve") == 0) {
		d->state = DEVICE_APPROVED;
		page(r, 200, "Request approved. You can close this window.", NULL);
	} else if (action && strcmp(action, "deny") == 0) {
		d->state = DEVICE_DENIED;
		page(r, 200, "Request denied.", NULL);
	} else {
		page(r, 400, "action must be approve or deny.", NULL);
	}
}

static void device(struct world *w, const struct request *q, struct reply *r)
{
	bool post = http1_text_is(q->head->method, "POST");
	struct form f;
	const char *code;

	if (form_parse(&f, post ? (const char *)q->body : q->query.p,
		       post ? q->body_len : q->query.n, NULL) != 0) {
		page(r, 400, "The form cannot be read.", NULL);
		return;
	}
	code = form_get(&f, "user_code");
	if (post)
		decide(w, &f, r);
	else
		page(r, 200, "A program asks to sign in with this code:", code ? code : "");
	form_free(&f);
}

/* --- a session of `aws login` --- */

static void encode(const unsigned char *p, char out[44])
{
	char text[48];

	str_base64(p, 32, text);
	for (int i = 0; i < 43; i++)
		out[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
	out[43] = '\0';
}

/* A new key: its public half in the grant, its private half as PEM text. */
static bool make_key(struct login_grant *g, char *pem, size_t size)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char point[65];
	size_t n = 0;
	bool ok = key && bio &&
		  EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
						  sizeof(point), &n) == 1 &&
		  n == sizeof(point) &&
		  PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
	char *text;
	long len = ok ? BIO_get_mem_data(bio, &text) : 0;

	ok = len > 0 && str_fmt(pem, size, "%.*s", (int)len, text);
	if (ok) {
		encode(point + 1, g->x);
		encode(point + 33, g->y);
	}
	BIO_free(bio);
	EVP_PKEY_free(key);
	return ok;
}

static void put_session(struct reply *r, const struct login_grant *g, const struct key *key,
			const char *pem)
{
	cJSON *out = cJSON_CreateObject(), *at = cJSON_AddObjectToObject(out, "accessToken");
	char until[25], *text;

	clock_iso(key->expires_ms, until);
	(void)str_fmt(until + 19, 2, "Z");
	cJSON_AddStringToObject(at, "accessKeyId", key->id);
	cJSON_AddStringToObject(at, "secretAccessKey", key->secret.text);
	cJSON_AddStringToObject(at, "sessionToken", key->token.text);
	cJSON_AddStringToObject(at, "accountId", KEYS_ACCOUNT);
	cJSON_AddStringToObject(at, "expiresAt", until);
	cJSON_AddStringToObject(out, "tokenType",
				"urn:aws:params:oauth:token-type:access_token_sigv4");
	cJSON_AddStringToObject(out, "clientId", g->client_id);
	cJSON_AddStringToObject(out, "refreshToken", g->refresh);
	cJSON_AddStringToObject(out, "idToken", "e30.e30.e30");
	cJSON_AddStringToObject(out, "dpopKey", pem);
	text = cJSON_Print(out);
	if (!text || buf_addf(&r->body, NULL, "%s\n", text) != 0)
		log_error("http", "out of memory");
	cJSON_free(text);
	cJSON_Delete(out);
}

static void login_session(struct world *w, struct reply *r)
{
	struct sign_in *s = &w->sign_in;
	struct login_grant *g = &s->logins[s->login_count % SIGN_IN_LOGINS];
	double life = fault_value(&w->faults, FAULT_EXPIRE_CREDENTIALS, CREDENTIALS_LIFE_S);
	const struct key *key;
	char pem[1024];
	struct err e;

	*g = (struct login_grant){ .expires_ms = world_wall_ms(w) + LOGIN_LIFE_MS };
	(void)str_fmt(g->client_id, sizeof(g->client_id), "arn:aws:signin:::devtools/same-device");
	sign_in_random("login-", g->refresh);
	key = keys_issue(&w->keys, "arn:aws:iam::" KEYS_ACCOUNT ":role/login", "user",
			 world_wall_ms(w) + (int64_t)(life * 1000), &e);
	if (!key || !make_key(g, pem, sizeof(pem))) {
		r->status = 500;
		return;
	}
	s->login_count++;
	put_session(r, g, key, pem);
}

bool sign_in_admin(struct world *w, const struct request *q, struct reply *r)
{
	bool post = http1_text_is(q->head->method, "POST");

	if (http1_text_is(q->path, "/_localaws/device") &&
	    (post || http1_text_is(q->head->method, "GET")))
		device(w, q, r);
	else if (http1_text_is(q->path, "/_localaws/login-session") && post)
		login_session(w, r);
	else
		return false;
	return true;
}
