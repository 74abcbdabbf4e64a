#include "cmd/awsocks/vm_print.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

const char *vm_text(const struct cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

static void print_value(const struct cJSON *item)
{
	const struct cJSON *one;
	const char *comma = "";

	if (cJSON_IsString(item))
		printf("%s", item->valuestring);
	else if (cJSON_IsNumber(item))
		printf("%.0f", item->valuedouble);
	else if (cJSON_IsBool(item))
		printf("%s", cJSON_IsTrue(item) ? "yes" : "no");
	if (!cJSON_IsArray(item))
		return;
	cJSON_ArrayForEach(one, item)
	{
		printf("%s", comma);
		print_value(one);
		comma = ", ";
	}
}

/* "memory_total" of metrics: "memory total". */
static void print_name(const char *name)
{
	char text[17];
	size_t n = 0;

	for (; name[n] && n < sizeof(text) - 1; n++)
		text[n] = name[n] == '_' ? ' ' : name[n];
	text[n] = '\0';
	printf("  %-16s ", text);
}

static void print_members(const struct cJSON *o)
{
	const struct cJSON *item;

	cJSON_ArrayForEach(item, o)
	{
		if (strcmp(item->string, "state") == 0 || strcmp(item->string, "driver") == 0 ||
		    strcmp(item->string, "accel") == 0)
			continue;
		if (cJSON_IsObject(item)) {
			print_members(item);
			continue;
		}
		if (cJSON_IsString(item) && !*item->valuestring)
			continue;
		print_name(item->string);
		print_value(item);
		printf("\n");
	}
}

void vm_print(const struct cJSON *vm)
{
	const char *driver = vm_text(vm, "driver"), *accel = vm_text(vm, "accel");

	printf("VM %s", vm_text(vm, "state"));
	if (*driver || *accel)
		printf(" (%s%s%s)", driver, *driver && *accel ? ", " : "", accel);
	printf("\n");
	print_members(vm);
}
