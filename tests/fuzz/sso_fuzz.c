/*
 * Law: a token or login file that is read, written and read again says the
 * same. And whatever the bytes: files and replies of the sign-in services are a
 * value or an error with a text.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "credentials/creds.h"
#include "credentials/dpop.h"
#include "credentials/json.h"
#include "credentials/login_file.h"
#include "credentials/rest.h"
#include "credentials/sso_files.h"

static const struct sso_where where = { "corp", "https://u", "r" };

static void told(bool ok, const struct err *e)
{
	assert(ok || (e->code != ERR_NONE && *e->msg));
}

static void same(const char *a, const char *b)
{
	assert(!a == !b && (!a || strcmp(a, b) == 0));
}

static void tokens(const char *p, size_t n)
{
	struct sso_token t, again;
	struct err e = { 0 };
	char *text;
	bool ok = sso_token_parse(p, n, "fuzz", &t, &e) == 0;

	told(ok, &e);
	if (ok) {
		text = sso_token_print(&t);
		assert(text && sso_token_parse(text, strlen(text), "fuzz", &again, &e) == 0);
		same(t.access, again.access);
		same(t.refresh, again.refresh);
		same(t.client_secret, again.client_secret);
		assert(t.expires_ms == again.expires_ms);
		json_text_free(text);
		sso_token_free(&again);
		sso_token_free(&t);
	}
	if (sso_token_begin(&t, &where, &e) == 0) {
		e = (struct err){ 0 };
		ok = sso_token_renew(&t, p, n, 1, &e) == 0;
		told(ok, &e);
		assert(!ok || (t.access && *t.access && t.expires_ms >= 0));
		sso_token_free(&t);
	}
}

static void logins(const char *p, size_t n)
{
	struct login_file f, again;
	struct dpop_key *key;
	struct err e = { 0 };
	struct creds *c;
	char *text;
	bool ok = login_file_parse(p, n, "fuzz", &f, &e) == 0;

	told(ok, &e);
	if (!ok)
		return;
	e = (struct err){ 0 };
	c = login_file_creds(&f, "fuzz", &e);
	told(c != NULL, &e);
	creds_unref(c);
	if (dpop_key_load(f.key_pem, &key, &e) == 0) {
		text = dpop_proof(key, "https://u/v1/token", 1, f.client_id, &e);
		mem_free(text);
		dpop_key_free(key);
	}
	text = login_file_print(&f);
	assert(text && login_file_parse(text, strlen(text), "fuzz", &again, &e) == 0);
	same(f.refresh, again.refresh);
	same(f.key_pem, again.key_pem);
	json_text_free(text);
	login_file_free(&again);
	e = (struct err){ 0 };
	told(login_file_renew(&f, p, n, 1, &e) == 0, &e);
	login_file_free(&f);
}

static void roles(const char *p, size_t n)
{
	struct err e = { 0 };
	struct creds *c = sso_role_parse(p, n, "fuzz", &e);
	char *text;

	told(c != NULL, &e);
	if (c && c->expires_ms) {
		text = sso_role_print(c);
		assert(text);
		json_text_free(text);
	}
	creds_unref(c);
	e = (struct err){ 0 };
	c = sso_reply_parse(p, n, "111122223333", "fuzz", &e);
	told(c != NULL, &e);
	creds_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rest_error error = { 0 };
	const char *p = (const char *)data;

	if (size > 20000)
		return 0;
	tokens(p, size);
	logins(p, size);
	roles(p, size);
	rest_error_read(p, size, NULL, &error);
	return 0;
}
