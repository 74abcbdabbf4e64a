/*
 * Laws of net/tls_hello.c: a hello has the same outcome however it arrives, is
 * whole exactly where it says that it ends, what is behind it changes nothing, and its name is
 * one that may stand in a log.
 */
#include <assert.h>
#include <string.h>

#include "net/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum tls_hello_step whole, got = TLS_HELLO_MORE;
	struct tls_hello h, part = { 0 };
	struct err e = { 0 };
	size_t cut;

	whole = tls_hello_parse(data, n, &h, &e);
	assert(whole != TLS_HELLO_BAD || (e.code && e.msg[0]));
	for (cut = 0; cut <= n && got == TLS_HELLO_MORE; cut++)
		got = tls_hello_parse(data, cut, &part, &e);
	assert(got == whole);
	if (whole != TLS_HELLO_DONE)
		return 0;
	assert(h.used == cut - 1 && part.used == h.used && h.used <= TLS_HELLO_MAX);
	assert(strcmp(part.name, h.name) == 0 && part.ech == h.ech);
	assert(strlen(h.name) < TLS_NAME_MAX);
	for (const char *c = h.name; *c; c++)
		assert(*c > ' ' && *c < 0x7f);
	return 0;
}
