/*
 * Laws of cmd/bridge/ask.c: an answer has the same outcome however it arrives, ends where it says
 * that it ends and not beyond the longest one, what is behind it changes nothing, and an error says
 * why. A request fits, and says the host and the port that were asked for.
 */
#include <assert.h>
#include <string.h>

#include "cmd/bridge/ask.h"

enum { LONGEST = 2 + 4 + 1 + 255 + 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void ask(const uint8_t *data, size_t n)
{
	uint8_t out[ASK_REQUEST];
	char host[256];
	size_t len;

	for (len = 0; len < n && len < 255 && data[len]; len++)
		host[len] = (char)data[len];
	host[len] = '\0';
	if (len == 0)
		return;
	assert(ask_request(host, 443, out) == 10 + len && 10 + len <= sizeof(out));
	assert(out[7] == len && memcmp(out + 8, host, len) == 0);
	assert(out[8 + len] == 443 >> 8 && out[9 + len] == (443 & 0xff));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e = { 0 };
	size_t used = 0, used2 = 0, cut;
	int whole, got = 0;

	ask(data, n);
	whole = ask_answer(data, n, "host.example", 443, &used, &e);
	assert(whole >= 0 || (e.code && e.msg[0]));
	for (cut = 0; cut <= n && got == 0; cut++)
		got = ask_answer(data, cut, "host.example", 443, &used2, &e);
	assert(got == whole);
	if (whole == 1)
		assert(used == used2 && used == cut - 1 && used <= LONGEST);
	if (whole == 1)
		assert(data[2] == 5 && (data[5] == 1 || data[5] == 3 || data[5] == 4));
	if (whole == 0)
		assert(n < LONGEST);
	return 0;
}
