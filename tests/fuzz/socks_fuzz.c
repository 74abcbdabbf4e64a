/*
 * Laws of proxy/socks.c: a message has the same outcome however it arrives,
 * what is used lies within the input, the host within what is used, and bytes
 * behind the message change nothing.
 */
#include <assert.h>
#include <string.h>

#include "proxy/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Name and password lie within what is used. */
static enum socks_step login(const uint8_t *p, size_t n, size_t *used, struct err *e)
{
	struct socks_login l;
	enum socks_step step = socks5_login(p, n, used, &l, e);

	assert(step != SOCKS_DONE || (*used <= n && l.name == (const char *)p + 2 &&
				      (const uint8_t *)l.password + l.password_n == p + *used));
	return step;
}

static enum socks_step decode(int kind, const uint8_t *p, size_t n, size_t *used, uint8_t *method,
			      struct socks_dest *d)
{
	struct err e = { 0 };
	enum socks_step step;

	if (kind == 0)
		step = socks5_greeting(p, n, SOCKS_NO_AUTH, used, method, &e);
	else if (kind == 3)
		step = login(p, n, used, &e);
	else
		step = (kind == 1 ? socks5_request : socks4_request)(p, n, used, d, &e);
	assert(step != SOCKS_BAD || (e.code && e.msg[0] && err_socks_reply(e.code)));
	return step;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct socks_dest d = { 0 }, part = { 0 };
	size_t used = 0, used2 = 0;
	uint8_t method = 1, method2 = 1;
	enum socks_step whole, got = SOCKS_MORE;
	const uint8_t *p = data + 1;
	int kind;

	if (n < 1)
		return 0;
	n--;
	kind = data[0] % 4;
	whole = decode(kind, p, n, &used, &method, &d);
	for (size_t cut = 0; cut <= n && got == SOCKS_MORE; cut++)
		got = decode(kind, p, cut, &used2, &method2, &part);
	assert(got == whole);
	if (whole != SOCKS_DONE)
		return 0;
	assert(used <= n && used2 == used && method2 == method);
	if (kind == 0 || kind == 3)
		return 0;
	assert(part.port == d.port && part.name == d.name && part.name_len == d.name_len);
	assert(strcmp(part.literal, d.literal) == 0);
	assert(!d.name == (d.literal[0] != 0));
	if (d.name) {
		assert((const uint8_t *)d.name > p && d.name_len > 0);
		assert((const uint8_t *)d.name + d.name_len <= p + used);
	}
	return 0;
}
