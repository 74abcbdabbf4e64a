/*
 * Input: HOST '\n' LIST. Laws: one more entry never takes anything out; the order does not matter;
 * nor do case and a last dot; an entry for another port covers nothing of this one.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/no_proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { PORT = 443, HOST_MAX = 253 };

static void laws(const char *host, const char *list)
{
	size_t room = strlen(list) + strlen(host) + 64;
	char *other = mem_alloc(room);
	bool covers = no_proxy_covers(list, host, PORT);

	assert(other);
	(void)snprintf(other, room, "%s,zz.invalid", list);
	assert(no_proxy_covers(other, host, PORT) == covers);
	(void)snprintf(other, room, "zz.invalid ,, %s", list);
	assert(no_proxy_covers(other, host, PORT) == covers);
	(void)snprintf(other, room, "%s", list);
	str_lower(other);
	assert(no_proxy_covers(other, host, PORT) == covers);
	(void)snprintf(other, room, "*,%s", list);
	assert(no_proxy_covers(other, host, PORT));
	(void)snprintf(other, room, "%s,*", list);
	assert(no_proxy_covers(other, host, PORT));
	mem_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text = mem_strndup((const char *)p, n), *end = text ? strchr(text, '\n') : NULL;

	assert(text);
	/* what is asked about is a host that a URL was read to (net/url.h) */
	if (end) {
		*end = '\0';
		if (*text && strlen(text) <= HOST_MAX && !strcasestr(text, "zz.invalid"))
			laws(text, end + 1);
	}
	assert(!no_proxy_covers(NULL, text, PORT) && !no_proxy_covers("", text, PORT));
	mem_free(text);
	return 0;
}
