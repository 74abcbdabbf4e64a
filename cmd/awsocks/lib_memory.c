#include "cmd/awsocks/lib_memory.h"

#include <cjson/cJSON.h>
#include <openssl/crypto.h>

#include "base/log.h"
#include "base/mem_wiping.h"

static void *alloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return mem_wiping_alloc(n);
}

static void *resize(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p && !n) {
		mem_wiping_free(p);
		return NULL;
	}
	return mem_wiping_resize(p, n);
}

static void release(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	mem_wiping_free(p);
}

void lib_memory_hook(void)
{
	cJSON_Hooks hooks = { mem_wiping_alloc, mem_wiping_free };

	cJSON_InitHooks(&hooks);
	if (!CRYPTO_set_mem_functions(alloc, resize, release))
		log_debug("start", "OpenSSL keeps its own allocator");
}
