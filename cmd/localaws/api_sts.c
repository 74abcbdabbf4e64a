/* STS: AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity (Query protocol, version
 * 2011-06-15). */
#include "cmd/localaws/api.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"

#define STS_NS "https://sts.amazonaws.com/doc/2011-06-15/"
enum {
	DURATION_DEFAULT_S = 3600,
	DURATION_MIN_S = 900,
	DURATION_MAX_S = 43200,
	CHAINED_MAX_S = 3600
};

static void begin(struct api_call *c, const char *op)
{
	c->reply->type = "text/xml";
	if (buf_addf(&c->reply->body, NULL, "<%sResponse xmlns=\"" STS_NS "\"><%sResult>", op,
		     op) != 0)
		log_error("sts", "out of memory");
}

static void end(struct api_call *c, const char *op)
{
	struct buf *b = &c->reply->body;

	if (buf_addf(b, NULL,
		     "</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata>"
		     "</%sResponse>",
		     op, c->request->id, op) != 0)
		log_error("sts", "out of memory");
}

static bool role_arn_ok(const char *arn)
{
	return str_starts(arn, "arn:aws") && strstr(arn, ":iam::") && strstr(arn, ":role/") &&
	       strlen(arn) >= 20;
}

static bool session_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				"_+=,.@-");

	return name[n] == '\0' && n >= 2 && n <= 64;
}

static bool duration(struct api_call *c, uint64_t *seconds)
{
	const char *text = form_get(c->form, "DurationSeconds");
	struct err e = { 0 };

	*seconds = DURATION_DEFAULT_S;
	if (text && str_number(text, DURATION_MIN_S, DURATION_MAX_S, seconds, &e) != 0) {
		api_error(c, 400, "ValidationError",
			  "1 validation error detected: Value '%.20s' at 'durationSeconds' failed "
			  "to satisfy constraint: %s",
			  text, e.msg);
		return false;
	}
	if (*seconds <= CHAINED_MAX_S || !c->caller || !c->caller->token.text)
		return true;
	api_error(c, 400, "ValidationError",
		  "The requested DurationSeconds exceeds the 1 hour session limit for roles "
		  "assumed by role chaining");
	return false;
}

static void write_credentials(struct api_call *c, const struct key *key)
{
	struct buf *b = &c->reply->body;
	char date[25];

	clock_iso(key->expires_ms, date);
	(void)str_fmt(date + 19, 2, "Z"); /* STS writes whole seconds */
	if (buf_addf(b, NULL, "<AssumedRoleUser>") != 0)
		log_error("sts", "out of memory");
	api_xml(b, "AssumedRoleId", key->user_id);
	api_xml(b, "Arn", key->arn);
	if (buf_addf(b, NULL, "</AssumedRoleUser><Credentials>") != 0)
		log_error("sts", "out of memory");
	api_xml(b, "AccessKeyId", key->id);
	api_xml(b, "SecretAccessKey", key->secret.text);
	api_xml(b, "SessionToken", key->token.text);
	api_xml(b, "Expiration", date);
	if (buf_addf(b, NULL, "</Credentials>") != 0)
		log_error("sts", "out of memory");
}

/* The parameters that both kinds of AssumeRole have, and chance. */
static const struct key *issue(struct api_call *c)
{
	const char *arn = form_get(c->form, "RoleArn");
	const char *name = form_get(c->form, "RoleSessionName");
	struct world *w = c->w;
	struct err e = { 0 };
	const struct key *key;
	uint64_t seconds;
	double life;

	if (!arn || !role_arn_ok(arn)) {
		api_error(c, 400, "ValidationError", "%.100s is invalid", arn ? arn : "null");
		return NULL;
	}
	if (!name || !session_name_ok(name)) {
		api_error(
			c, 400, "ValidationError",
			"1 validation error detected: Value '%.80s' at 'roleSessionName' failed to "
			"satisfy constraint: Member must satisfy regular expression pattern: "
			"[\\w+=,.@-]*",
			name ? name : "null");
		return NULL;
	}
	if (!keys_role_account(&w->keys, arn)) {
		api_error(c, 403, "AccessDenied",
			  "User: %s is not authorized to perform: sts:AssumeRole on resource: "
			  "%.200s",
			  c->caller ? c->caller->arn : "anonymous", arn);
		return NULL;
	}
	if (!duration(c, &seconds))
		return NULL;
	if (dice_percent(&w->dice, fault_value(&w->faults, FAULT_FAIL_REFRESH, 0))) {
		api_error(c, 500, "InternalFailure", "An internal error has occurred");
		return NULL;
	}
	life = fault_value(&w->faults, FAULT_EXPIRE_CREDENTIALS, (double)seconds);
	key = keys_issue(&w->keys, arn, name, world_wall_ms(w) + (int64_t)(life * 1000), &e);
	if (!key)
		api_error(c, 500, "InternalFailure", "%s", e.msg);
	return key;
}

/* A role that wants MFA of its users; a role's session has had it already, or never can. */
static bool mfa_ok(struct api_call *c)
{
	const char *serial = form_get(c->form, "SerialNumber");
	const char *code = form_get(c->form, "TokenCode"), *arn = form_get(c->form, "RoleArn");
	const struct options *o = c->w->opts;

	if (!serial && !code) {
		if (!o->mfa_serial || c->caller->token.text)
			return true;
		api_error(c, 403, "AccessDenied",
			  "User: %s is not authorized to perform: sts:AssumeRole on resource: "
			  "%.200s",
			  c->caller->arn, arn ? arn : "null");
		return false;
	}
	if (!serial || !code || strlen(code) != 6 || strspn(code, "0123456789") != 6) {
		api_error(c, 400, "ValidationError",
			  "1 validation error detected: Value at '%s' failed to satisfy "
			  "constraint: Member must not be null, and have length 6 of digits",
			  serial ? "tokenCode" : "serialNumber");
		return false;
	}
	if (o->mfa_serial && strcmp(serial, o->mfa_serial) == 0 && strcmp(code, o->mfa_code) == 0)
		return true;
	api_error(c, 403, "AccessDenied",
		  "MultiFactorAuthentication failed with invalid MFA one time pass code. ");
	return false;
}

static void assume_role(struct api_call *c)
{
	const struct key *key = mfa_ok(c) ? issue(c) : NULL;

	if (!key)
		return;
	begin(c, "AssumeRole");
	write_credentials(c, key);
	end(c, "AssumeRole");
}

/* The payload of a JSON Web Token; the signature is not looked at. The caller's. */
static cJSON *jwt_payload(const char *token)
{
	const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
	char raw[4096 + 4];
	size_t n;
	long len;

	if (!second || strchr(second + 1, '.'))
		return NULL;
	n = (size_t)(second - first - 1);
	if (n == 0 || n > 4096)
		return NULL;
	memcpy(raw, first + 1, n);
	for (size_t i = 0; i < n; i++)
		raw[i] = raw[i] == '-' ? '+' : raw[i] == '_' ? '/' : raw[i];
	while (n % 4)
		raw[n++] = '=';
	len = str_unbase64(raw, n, raw);
	return len > 0 ? cJSON_ParseWithLength(raw, (size_t)len) : NULL;
}

static void write_web_identity(struct api_call *c, const cJSON *payload, const struct key *key)
{
	static const char *const names[][2] = { { "SubjectFromWebIdentityToken", "sub" },
						{ "Audience", "aud" },
						{ "Provider", "iss" } };
	struct buf *b = &c->reply->body;

	begin(c, "AssumeRoleWithWebIdentity");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(payload, names[i][1]));

		api_xml(b, names[i][0], text ? text : "unknown");
	}
	write_credentials(c, key);
	end(c, "AssumeRoleWithWebIdentity");
}

static void assume_role_with_web_identity(struct api_call *c)
{
	const char *token = form_get(c->form, "WebIdentityToken");
	cJSON *payload = token ? jwt_payload(token) : NULL;
	const cJSON *until = cJSON_GetObjectItem(payload, "exp");
	const struct key *key;

	if (!payload) {
		api_error(c, 400, "InvalidIdentityToken",
			  "The ID Token provided is not a valid JWT. (You may see this error if "
			  "you sent an Access Token)");
		return;
	}
	if (cJSON_IsNumber(until) && until->valuedouble * 1000 <= (double)world_wall_ms(c->w)) {
		api_error(c, 400, "ExpiredTokenException",
			  "Token expired: current date/time must be before the expiration "
			  "date/time %.0f",
			  until->valuedouble);
	} else {
		key = issue(c);
		if (key)
			write_web_identity(c, payload, key);
	}
	cJSON_Delete(payload);
}

static void get_caller_identity(struct api_call *c)
{
	struct buf *b = &c->reply->body;

	begin(c, "GetCallerIdentity");
	api_xml(b, "Arn", c->caller->arn);
	api_xml(b, "UserId", c->caller->user_id);
	api_xml(b, "Account", c->caller->account);
	end(c, "GetCallerIdentity");
}

const struct api_op api_sts_ops[] = {
	{ "AssumeRole", assume_role },
	{ "GetCallerIdentity", get_caller_identity },
	{ NULL, NULL },
};
const struct api_op api_sts_unsigned_ops[] = {
	{ "AssumeRoleWithWebIdentity", assume_role_with_web_identity },
	{ NULL, NULL },
};
