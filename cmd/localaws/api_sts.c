/* STS: AssumeRole and GetCallerIdentity (Query protocol, version 2011-06-15). */
#include "cmd/localaws/api.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"

#define STS_NS "https://sts.amazonaws.com/doc/2011-06-15/"
enum { DURATION_DEFAULT_S = 3600, DURATION_MIN_S = 900, DURATION_MAX_S = 43200 };

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
	if (!text || str_number(text, DURATION_MIN_S, DURATION_MAX_S, seconds, &e) == 0)
		return true;
	api_error(c, 400, "ValidationError",
		  "1 validation error detected: Value '%.20s' at 'durationSeconds' failed to "
		  "satisfy constraint: %s",
		  text, e.msg);
	return false;
}

static void write_credentials(struct api_call *c, const struct key *key)
{
	struct buf *b = &c->reply->body;
	char date[25];

	clock_iso(key->expires_ms, date);
	(void)str_fmt(date + 19, 2, "Z"); /* STS writes whole seconds */
	begin(c, "AssumeRole");
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
	end(c, "AssumeRole");
}

static void assume_role(struct api_call *c)
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
		return;
	}
	if (!name || !session_name_ok(name)) {
		api_error(
			c, 400, "ValidationError",
			"1 validation error detected: Value '%.80s' at 'roleSessionName' failed to "
			"satisfy constraint: Member must satisfy regular expression pattern: "
			"[\\w+=,.@-]*",
			name ? name : "null");
		return;
	}
	if (!duration(c, &seconds))
		return;
	life = fault_value(&w->faults, FAULT_EXPIRE_CREDENTIALS, (double)seconds);
	key = keys_issue(&w->keys, arn, name, world_wall_ms(w) + (int64_t)(life * 1000), &e);
	if (key)
		write_credentials(c, key);
	else
		api_error(c, 500, "InternalFailure", "%s", e.msg);
}

static void get_caller_identity(struct api_call *c)
{
	struct buf *b = &c->reply->body;

	begin(c, "GetCallerIdentity");
	api_xml(b, "Arn", c->caller->arn);
	api_xml(b, "UserId", c->caller->user_id);
	api_xml(b, "Account", KEYS_ACCOUNT);
	end(c, "GetCallerIdentity");
}

const struct api_op api_sts_ops[] = {
	{ "AssumeRole", assume_role },
	{ "GetCallerIdentity", get_caller_identity },
	{ NULL, NULL },
};
