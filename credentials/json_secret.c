#include "credentials/json_secret.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/mem.h"

struct cJSON *json_secret_parse(const char *text, size_t n)
{
	return cJSON_ParseWithLength(text, n);
}

/* As deep as cJSON lets trees be (CJSON_NESTING_LIMIT). */
static void wipe(cJSON *at)
{
	for (; at; at = at->next) {
		if (at->valuestring)
			mem_wipe(at->valuestring, strlen(at->valuestring));
		wipe(at->child);
	}
}

void json_secret_free(cJSON *root)
{
	wipe(root);
	cJSON_Delete(root);
}

const char *json_text(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}
