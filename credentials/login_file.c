#include "credentials/login_file.h"

#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/json.h"
#include "credentials/profile.h"
#include "credentials/sso_files.h"

enum { DIGEST = 32 };

char *login_file_path(const char *const *env, const char *session, struct err *e)
{
	uint8_t digest[DIGEST];
	char name[2 * DIGEST + 1], *dir, *path = NULL;
	size_t size;

	if (EVP_Digest(session, strlen(session), digest, NULL, EVP_sha256(), NULL) != 1) {
		(void)err_set(e, ERR_INTERNAL, "OpenSSL cannot compute SHA-256");
		return NULL;
	}
	str_hex(digest, DIGEST, name);
	dir = aws_path(env, "AWS_LOGIN_CACHE_DIRECTORY", "~/.aws/login/cache");
	size = dir ? strlen(dir) + sizeof(name) + sizeof("/.json") : 0;
	path = dir ? mem_alloc(size) : NULL;
	if (path)
		(void)str_fmt(path, size, "%s/%s.json", dir, name);
	else
		(void)err_set(e, ERR_NOMEM, "login session");
	mem_free(dir);
	return path;
}

static void look(struct login_file *f)
{
	f->refresh = json_text(f->root, "refreshToken");
	f->client_id = json_text(f->root, "clientId");
	f->key_pem = json_text(f->root, "dpopKey");
}

int login_file_parse(const char *text, size_t n, const char *name, struct login_file *f,
		     struct err *e)
{
	const char *missing = NULL;

	*f = (struct login_file){ .root = json_secret_parse(text, n) };
	look(f);
	if (!cJSON_IsObject(f->root))
		(void)err_set(e, ERR_CREDS, "%s is not a JSON object", name);
	else if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(f->root, "accessToken")))
		missing = "accessToken";
	else if (!f->refresh || !f->client_id || !f->key_pem)
		missing = !f->refresh ? "refreshToken" : !f->client_id ? "clientId" : "dpopKey";
	else
		return 0;
	if (missing)
		(void)err_set(e, ERR_CREDS, "%s has no %s", name, missing);
	login_file_free(f);
	return -1;
}

void login_file_free(struct login_file *f)
{
	json_secret_free(f->root);
	*f = (struct login_file){ 0 };
}

struct creds *login_file_creds(const struct login_file *f, const char *source, struct err *e)
{
	const cJSON *at = cJSON_GetObjectItemCaseSensitive(f->root, "accessToken");
	const char *id = json_text(at, "accessKeyId"), *secret = json_text(at, "secretAccessKey");
	const char *token = json_text(at, "sessionToken"), *until = json_text(at, "expiresAt");
	int64_t expires;
	struct err odd;

	if (!id || !secret || !token || !until)
		(void)err_set(e, ERR_CREDS, "its accessToken has no complete credentials");
	else if (clock_parse_iso(until, &expires, &odd) != 0)
		(void)err_set(e, ERR_CREDS, "expiresAt: %s", odd.msg);
	else
		return creds_new(id, secret, token, expires, json_text(at, "accountId"), source, e);
	return NULL;
}

static int take(struct login_file *f, const cJSON *reply, int64_t now_ms, struct err *e)
{
	cJSON *at = cJSON_GetObjectItemCaseSensitive(f->root, "accessToken");
	const cJSON *from = cJSON_GetObjectItemCaseSensitive(reply, "accessToken");
	const char *id = json_text(from, "accessKeyId");
	const char *secret = json_text(from, "secretAccessKey");
	const char *token = json_text(from, "sessionToken");
	const char *refresh = json_text(reply, "refreshToken");
	char until[25];
	int64_t life_s;

	if (!id || !secret || !token || !refresh)
		return err_set(e, ERR_PROTO, "the answer has no complete credentials");
	if (!json_number(reply, "expiresIn", &life_s) || life_s < 0 || life_s > INT32_MAX)
		return err_set(e, ERR_PROTO, "the answer has no expiresIn");
	sso_date(now_ms + life_s * 1000, until);
	if (json_set(at, "accessKeyId", id, e) != 0 ||
	    json_set(at, "secretAccessKey", secret, e) != 0 ||
	    json_set(at, "sessionToken", token, e) != 0 || json_set(at, "expiresAt", until, e) != 0)
		return -1;
	return json_set(f->root, "refreshToken", refresh, e);
}

int login_file_renew(struct login_file *f, const char *text, size_t n, int64_t now_ms,
		     struct err *e)
{
	cJSON *reply = json_secret_parse(text, n);
	int result;

	if (!cJSON_IsObject(reply))
		result = err_set(e, ERR_PROTO, "the answer is not a JSON object");
	else
		result = take(f, reply, now_ms, e);
	json_secret_free(reply);
	look(f);
	return result;
}

char *login_file_print(const struct login_file *f)
{
	return json_print(f->root);
}
