#include "cmd/awsocks/json_member.h"

#include <cjson/cJSON.h>

const char *member_text(const struct cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

double member_number(const struct cJSON *o, const char *key)
{
	const struct cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}
