/* The fence in `awsocks status`. */
#include <cjson/cJSON.h>

#include "cmd/awsocks/fence.h"

void fence_describe(const struct fence_report *r, struct cJSON *into)
{
	struct cJSON *o = cJSON_AddObjectToObject(into, "sandbox");

	cJSON_AddBoolToObject(o, "seccomp", r->seccomp);
	cJSON_AddNumberToObject(o, "landlock", r->landlock);
	cJSON_AddBoolToObject(o, "no_new_privs", r->no_new_privs);
	cJSON_AddBoolToObject(o, "core_dumps", r->core_dumps);
	if (!r->wanted)
		cJSON_AddStringToObject(o, "missing", "--no-sandbox");
	else if (*r->missing)
		cJSON_AddStringToObject(o, "missing", r->missing);
}
