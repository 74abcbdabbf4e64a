#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/vm_print.h"

#include <cjson/cJSON.h>
#include <stdio.h>

static void print_first_line(const struct cJSON *vm)
{
	const char *accel = member_text(vm, "accel");

	printf("VM %s  %s%s%s", member_text(vm, "state"), member_text(vm, "driver"),
	       *accel ? " with " : "", accel);
	if (member_number(vm, "pid") > 0)
		printf(", pid %.0f", member_number(vm, "pid"));
	if (member_number(vm, "uptime_ms") > 0)
		printf(", up %.0f s, came up in %.1f s", member_number(vm, "uptime_ms") / 1000,
		       member_number(vm, "boot_ms") / 1000);
	if (member_number(vm, "restarts") > 0)
		printf(", %.0f restarts", member_number(vm, "restarts"));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(vm, "halted")))
		printf(" (until awsocks vm start)");
	printf("\n");
}

static void print_failure(const struct cJSON *vm)
{
	const char *reason = member_text(vm, "reason"), *last = member_text(vm, "last_failure");

	if (*reason)
		printf("  %-16s %s\n", "reason", reason);
	if (*last)
		printf("  %-16s %s\n", "last failure", last);
	if (member_number(vm, "next_try_in_ms") > 0)
		printf("  %-16s in %.1f s\n", "next try",
		       member_number(vm, "next_try_in_ms") / 1000);
}

static void print_list(const struct cJSON *vm, const char *key, const char *name)
{
	const struct cJSON *list = cJSON_GetObjectItemCaseSensitive(vm, key), *item;

	if (!list || !list->child)
		return;
	printf("  %-16s ", name);
	for (item = list->child; item; item = item->next)
		printf("%s%s", item == list->child ? "" : ", ",
		       cJSON_IsString(item) ? item->valuestring : "?");
	printf("\n");
}

static void print_network(const struct cJSON *vm)
{
	const char *why = member_text(vm, "network_reason");

	if (*member_text(vm, "address"))
		printf("  %-16s %s, gateway %s\n", "address", member_text(vm, "address"),
		       member_text(vm, "gateway"));
	if (*why)
		printf("  %-16s %s\n", "no network", why);
	print_list(vm, "dns", "name servers");
}

static void print_work(const struct cJSON *vm)
{
	const struct cJSON *guest = cJSON_GetObjectItemCaseSensitive(vm, "guest");

	if (!cJSON_GetObjectItemCaseSensitive(vm, "streams"))
		return;
	printf("  %-16s %.0f now, answers in %.0f ms\n", "streams", member_number(vm, "streams"),
	       member_number(vm, "ping_ms"));
	if (guest)
		printf("  %-16s %.0f of %.0f MiB free\n", "memory in it",
		       member_number(guest, "memory_available") / (1 << 20),
		       member_number(guest, "memory_total") / (1 << 20));
}

void vm_print(const struct cJSON *vm)
{
	print_first_line(vm);
	print_failure(vm);
	if (*member_text(vm, "kernel"))
		printf("  %-16s %s, %s, %.0f MiB\n", "kernel", member_text(vm, "kernel"),
		       member_text(vm, "arch"), member_number(vm, "memory_mib"));
	print_network(vm);
	print_work(vm);
	print_list(vm, "broken", "does not work");
}
