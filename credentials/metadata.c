#include "credentials/metadata.h"

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/json_secret.h"

static struct creds *from_json(const cJSON *root, const char *source, struct err *e)
{
	const char *code = json_text(root, "Code"), *message = json_text(root, "Message");
	const char *id = json_text(root, "AccessKeyId"), *until = json_text(root, "Expiration");
	const char *secret = json_text(root, "SecretAccessKey"), *token = json_text(root, "Token");
	int64_t expires;

	if (!cJSON_IsObject(root)) {
		(void)err_set(e, ERR_PROTO, "%s: the answer is not a JSON object", source);
		return NULL;
	}
	if (code && !str_eq_nocase(code, "Success")) {
		(void)err_set(e, ERR_CREDS, "%s: %.60s%s%.160s", source, code, message ? ": " : "",
			      message ? message : "");
		return NULL;
	}
	if (!id || !secret || !token || !until) {
		(void)err_set(e, ERR_PROTO, "%s: the answer has no %s", source,
			      !id       ? "AccessKeyId"
			      : !secret ? "SecretAccessKey"
			      : !token  ? "Token"
					: "Expiration");
		return NULL;
	}
	if (clock_parse_iso(until, &expires, e) != 0) {
		(void)err_wrap(e, "%s: Expiration", source);
		return NULL;
	}
	return creds_new(id, secret, token, expires, json_text(root, "AccountId"), source, e);
}

struct creds *metadata_parse(const char *json, size_t n, const char *source, struct err *e)
{
	cJSON *root = json_secret_parse(json, n);
	struct creds *c = from_json(root, source, e);

	json_secret_free(root);
	return c;
}

void metadata_message(const char *json, size_t n, char *out, size_t size)
{
	cJSON *root = json_secret_parse(json, n);
	const char *text = json_text(root, "message");

	if (!text)
		text = json_text(root, "Message");
	(void)str_fmt(out, size, "%s", text ? text : "");
	json_secret_free(root);
}
