#include "credentials/sso_files.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/json.h"
#include "credentials/profile.h"

enum { NAME_TEXT_MAX = 16 * 1024 };

/* --- names --- */

int sso_token_name(const struct sso_where *w, char out[SSO_NAME], struct err *e)
{
	const char *text = w->session ? w->session : w->start_url;

	return json_sha1(text, strlen(text), out, e);
}

static int finish_name(struct buf *b, int failed, char out[SSO_NAME], struct err *e)
{
	if (!failed)
		failed = json_sha1(buf_ptr(b), buf_len(b), out, e);
	buf_free(b);
	return failed;
}

static int add_member(struct buf *b, const char *before, const char *name, const char *colon,
		      const char *text, struct err *e)
{
	if (buf_addf(b, e, "%s\"%s\"%s", before, name, colon) != 0)
		return -1;
	return text ? json_add_quoted(b, text, e) : buf_addf(b, e, "null");
}

int sso_role_name(const struct sso_where *w, const char *account, const char *role,
		  char out[SSO_NAME], struct err *e)
{
	struct buf b;
	int failed;

	buf_init(&b, NAME_TEXT_MAX);
	failed = add_member(&b, "{", "accountId", ":", account, e) != 0 ||
		 add_member(&b, ",", "roleName", ":", role, e) != 0 ||
		 add_member(&b, ",", w->session ? "sessionName" : "startUrl", ":",
			    w->session ? w->session : w->start_url, e) != 0 ||
		 buf_addf(&b, e, "}") != 0;
	return finish_name(&b, failed ? -1 : 0, out, e);
}

bool sso_scope(const char *scopes, size_t i, char out[128])
{
	size_t n;

	for (; scopes; scopes = *scopes == ',' ? scopes + 1 : NULL) {
		scopes += strspn(scopes, " \t\n");
		n = strcspn(scopes, ",");
		if (i-- == 0) {
			bool fits = str_fmt(out, 128, "%.*s", (int)n, scopes);
			char *text = str_trim(out);

			memmove(out, text, strlen(text) + 1);
			return fits && *out;
		}
		scopes += n;
	}
	return false;
}

static int add_scopes(struct buf *b, const char *scopes, struct err *e)
{
	char one[128];

	if (buf_addf(b, e, ", \"scopes\": %s", scopes ? "[" : "null") != 0)
		return -1;
	for (size_t i = 0; sso_scope(scopes, i, one); i++)
		if (buf_addf(b, e, "%s", i ? ", " : "") != 0 || json_add_quoted(b, one, e) != 0)
			return -1;
	return scopes ? buf_addf(b, e, "]") : 0;
}

int sso_client_name(const struct sso_where *w, const char *scopes, const char *tool,
		    char out[SSO_NAME], struct err *e)
{
	struct buf b;
	int failed;

	buf_init(&b, NAME_TEXT_MAX);
	failed = add_member(&b, "{", "region", ": ", w->region, e) != 0 ||
		 add_scopes(&b, scopes, e) != 0 ||
		 add_member(&b, ", ", "session_name", ": ", w->session, e) != 0 ||
		 add_member(&b, ", ", "startUrl", ": ", w->start_url, e) != 0 ||
		 add_member(&b, ", ", "tool", ": ", tool, e) != 0 || buf_addf(&b, e, "}") != 0;
	return finish_name(&b, failed ? -1 : 0, out, e);
}

char *sso_file_path(const char *const *env, enum sso_dir dir, const char *name, struct err *e)
{
	char *folder = aws_path(env, NULL,
				dir == SSO_ROLES ? "~/.aws/cli/cache" : "~/.aws/sso/cache");
	size_t size = folder ? strlen(folder) + strlen(name) + sizeof("/.json") : 0;
	char *path = folder ? mem_alloc(size) : NULL;

	if (path)
		(void)str_fmt(path, size, "%s/%s.json", folder, name);
	else
		(void)err_set(e, ERR_NOMEM, "~/.aws");
	mem_free(folder);
	return path;
}

void sso_date(int64_t wall_ms, char out[25])
{
	clock_iso(wall_ms, out);
	(void)str_fmt(out + 19, 2, "Z"); /* whole seconds */
}

/* --- token files --- */

/* RFC 6750, 2.1: what a header can carry (and no blank). */
static bool fits_a_header(const char *token)
{
	while (*token > ' ' && *token < 0x7f)
		token++;
	return *token == '\0';
}

static int look(struct sso_token *t, const char *name, struct err *e)
{
	const char *until = json_text(t->root, "expiresAt");
	const char *client_until = json_text(t->root, "registrationExpiresAt");
	struct err odd;

	t->access = json_text(t->root, "accessToken");
	t->refresh = json_text(t->root, "refreshToken");
	t->client_id = json_text(t->root, "clientId");
	t->client_secret = json_text(t->root, "clientSecret");
	if (!t->access || !*t->access || !until)
		return err_set(e, ERR_CREDS, "%s has no %s", name,
			       until ? "accessToken" : "expiresAt");
	if (!fits_a_header(t->access))
		return err_set(e, ERR_CREDS,
			       "%s: accessToken is no token: a blank, a line's end or "
			       "the like is in it",
			       name);
	if (clock_parse_iso(until, &t->expires_ms, &odd) != 0)
		return err_set(e, ERR_CREDS, "%s: expiresAt: %s", name, odd.msg);
	if (!client_until || clock_parse_iso(client_until, &t->client_expires_ms, &odd) != 0)
		t->client_expires_ms = 0;
	return 0;
}

int sso_token_parse(const char *text, size_t n, const char *name, struct sso_token *t,
		    struct err *e)
{
	*t = (struct sso_token){ .root = cJSON_ParseWithLength(text, n) };
	if (!cJSON_IsObject(t->root))
		(void)err_set(e, ERR_CREDS, "%s is not a JSON object", name);
	else if (look(t, name, e) == 0)
		return 0;
	sso_token_free(t);
	return -1;
}

int sso_token_begin(struct sso_token *t, const struct sso_where *w, struct err *e)
{
	*t = (struct sso_token){ .root = cJSON_CreateObject() };
	if (!t->root)
		return err_set(e, ERR_NOMEM, "token");
	if (json_set(t->root, "startUrl", w->start_url, e) == 0 &&
	    json_set(t->root, "region", w->region, e) == 0)
		return 0;
	sso_token_free(t);
	return -1;
}

static int take_reply(struct sso_token *t, const cJSON *reply, int64_t now_ms, struct err *e)
{
	const char *access = json_text(reply, "accessToken");
	const char *refresh = json_text(reply, "refreshToken");
	int64_t life_s;
	char until[25];

	if (!access || !*access)
		return err_set(e, ERR_PROTO, "the answer has no accessToken");
	if (!json_number(reply, "expiresIn", &life_s) || life_s < 0 || life_s > INT32_MAX)
		return err_set(e, ERR_PROTO, "the answer has no expiresIn");
	sso_date(now_ms + life_s * 1000, until);
	if (json_set(t->root, "accessToken", access, e) == 0 &&
	    json_set(t->root, "expiresAt", until, e) == 0 &&
	    (!refresh || json_set(t->root, "refreshToken", refresh, e) == 0))
		return look(t, "the answer", e);
	/* Out of memory: neither the old nor the new one is whole, and none is to be used. */
	t->access = t->refresh = NULL;
	t->expires_ms = 0;
	return -1;
}

int sso_token_renew(struct sso_token *t, const char *text, size_t n, int64_t now_ms, struct err *e)
{
	cJSON *reply = cJSON_ParseWithLength(text, n);
	int result;

	if (!cJSON_IsObject(reply))
		result = err_set(e, ERR_PROTO, "the answer is not a JSON object");
	else
		result = take_reply(t, reply, now_ms, e);
	json_secret_free(reply);
	return result;
}

int sso_token_client(struct sso_token *t, const char *id, const char *secret, int64_t expires_ms,
		     struct err *e)
{
	char until[25];

	sso_date(expires_ms, until);
	if (json_set(t->root, "clientId", id, e) != 0 ||
	    json_set(t->root, "clientSecret", secret, e) != 0 ||
	    json_set(t->root, "registrationExpiresAt", until, e) != 0)
		return -1;
	t->client_id = json_text(t->root, "clientId");
	t->client_secret = json_text(t->root, "clientSecret");
	t->client_expires_ms = expires_ms;
	return 0;
}

void sso_token_free(struct sso_token *t)
{
	json_secret_free(t->root);
	*t = (struct sso_token){ 0 };
}

char *sso_token_print(const struct sso_token *t)
{
	return json_print(t->root);
}

int sso_token_copy(const struct sso_token *from, struct sso_token *to, struct err *e)
{
	char *text = sso_token_print(from);
	struct sso_token fresh;
	int result = text ? sso_token_parse(text, strlen(text), "token", &fresh, e)
			  : err_set(e, ERR_NOMEM, "token");

	json_text_free(text);
	if (result == 0) {
		sso_token_free(to);
		*to = fresh;
	}
	return result;
}

/* --- role credentials --- */

static struct creds *role_from(const cJSON *at, const char *source, struct err *e)
{
	const char *id = json_text(at, "AccessKeyId"), *secret = json_text(at, "SecretAccessKey");
	const char *token = json_text(at, "SessionToken"), *until = json_text(at, "Expiration");
	int64_t expires;

	if (!id || !secret || !token || !until) {
		(void)err_set(e, ERR_CREDS, "no complete credentials in it");
		return NULL;
	}
	if (clock_parse_iso(until, &expires, e) != 0) {
		e->code = ERR_CREDS;
		return NULL;
	}
	return creds_new(id, secret, token, expires, json_text(at, "AccountId"), source, e);
}

struct creds *sso_role_parse(const char *text, size_t n, const char *source, struct err *e)
{
	cJSON *root = cJSON_ParseWithLength(text, n);
	struct creds *c = role_from(cJSON_GetObjectItemCaseSensitive(root, "Credentials"), source,
				    e);

	json_secret_free(root);
	return c;
}

char *sso_role_print(const struct creds *c)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *at = root && cJSON_AddStringToObject(root, "ProviderType", "sso")
			    ? cJSON_AddObjectToObject(root, "Credentials")
			    : NULL;
	char until[25], *text = NULL;

	sso_date(c->expires_ms, until);
	if (at && json_set_creds(at, c, until) == 0)
		text = json_print(root);
	json_secret_free(root);
	return text;
}

struct creds *sso_reply_parse(const char *text, size_t n, const char *account, const char *source,
			      struct err *e)
{
	cJSON *root = cJSON_ParseWithLength(text, n);
	const cJSON *at = cJSON_GetObjectItemCaseSensitive(root, "roleCredentials");
	const char *id = json_text(at, "accessKeyId"), *secret = json_text(at, "secretAccessKey");
	const char *token = json_text(at, "sessionToken");
	struct creds *c = NULL;
	int64_t expires;

	if (!id || !secret || !token || !json_number(at, "expiration", &expires) || expires <= 0)
		(void)err_set(e, ERR_PROTO, "the answer has no complete credentials");
	else
		c = creds_new(id, secret, token, expires, account, source, e);
	json_secret_free(root);
	return c;
}
