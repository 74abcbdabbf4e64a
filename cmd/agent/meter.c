#include "cmd/agent/meter.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/agent/boot.h"

enum { MEMINFO_MAX = 8192 };

static uint64_t kib_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? (uint64_t)strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

void meter_memory(uint64_t *total, uint64_t *available)
{
	char text[MEMINFO_MAX];
	size_t n;

	*total = *available = 0;
	if (boot_read("/proc/meminfo", text, sizeof(text), &n, NULL) != 0)
		return;
	*total = kib_of(text, "MemTotal:");
	*available = kib_of(text, "MemAvailable:");
}
