/*
 * Laws: a URL put together from its parts reads as the same parts; nothing in
 * the parts can end a line or a token of a request head.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void no_blanks(const char *s)
{
	for (; *s; s++)
		assert(*s > ' ' && *s < 0x7f && *s != '#');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text = mem_strndup((const char *)p, n), *target, *again;
	struct url u, v;
	struct err e;

	if (text && url_parse(text, "ws", "wss", &u, &e) == 0) {
		target = url_target(&u);
		assert(target && target[0] == '/' && u.port != 0);
		no_blanks(u.host);
		no_blanks(u.authority);
		no_blanks(target);
		assert(u.host[0] && !strpbrk(u.authority, "/?@") && !strpbrk(u.host, "[]/?@"));
		again = mem_alloc(n + 32);
		assert(again);
		snprintf(again, n + 32, "%s://%s%s", u.tls ? "wss" : "ws", u.authority, u.rest);
		assert(url_parse(again, "ws", "wss", &v, &e) == 0);
		assert(u.tls == v.tls && u.v6 == v.v6 && u.port == v.port);
		assert(strcmp(u.host, v.host) == 0 && strcmp(u.rest, v.rest) == 0);
		assert(strcmp(u.authority, v.authority) == 0);
		mem_free(again);
		mem_free(target);
	}
	mem_free(text);
	return 0;
}
