/* What the SSM calls have in common: their input, and refusals. */
#include "cmd/localaws/api_ssm.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/world.h"

const cJSON *ssm_member(const struct api_call *c, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(c->input, name);
}

void ssm_invalid(struct api_call *c, const char *field, const char *value, const char *rule)
{
	api_error(c, 400, "ValidationException",
		  "1 validation error detected: Value %s%.80s%s at '%s' failed to satisfy "
		  "constraint: %s",
		  value ? "'" : "", value ? value : "null", value ? "'" : "", field, rule);
}

size_t ssm_characters(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

const char *ssm_text_member(struct api_call *c, const char *name, const char *field, size_t max)
{
	const cJSON *m = ssm_member(c, name);
	char rule[80];

	if (!m || cJSON_IsNull(m)) {
		ssm_invalid(c, field, NULL, "Member must not be null");
		return NULL;
	}
	if (!cJSON_IsString(m)) {
		api_error(c, 400, "SerializationException",
			  "class java.lang.String can not be converted from what '%s' holds", name);
		return NULL;
	}
	if (*m->valuestring && ssm_characters(m->valuestring) <= max)
		return m->valuestring;
	(void)str_fmt(rule, sizeof(rule), "Member must have length between 1 and %zu, inclusive",
		      max);
	ssm_invalid(c, field, m->valuestring, rule);
	return NULL;
}

bool ssm_denied(struct api_call *c, const char *op)
{
	if (!fault_take(&c->w->faults, FAULT_DENY_STATUS))
		return false;
	api_error(c, 400, "AccessDeniedException",
		  "User: %s is not authorized to perform: ssm:%s on resource: * because no "
		  "identity-based policy allows the ssm:%s action",
		  c->caller->arn, op, op);
	return true;
}
