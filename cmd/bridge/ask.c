#include "cmd/bridge/ask.h"

#include <string.h>

size_t ask_request(const char *host, uint16_t port, uint8_t out[static ASK_REQUEST])
{
	size_t n = strlen(host);

	memcpy(out, "\x05\x01\x00\x05\x01\x00\x03", 7);
	out[7] = (uint8_t)n;
	memcpy(out + 8, host, n);
	out[8 + n] = (uint8_t)(port >> 8);
	out[9 + n] = (uint8_t)port;
	return 10 + n;
}

static const char *reply_text(unsigned code)
{
	static const char *const text[] = {
		"succeeded",           "failed (see awsocks' log)",   "refused by a rule",
		"network unreachable", "host unreachable or unknown", "connection refused",
		"timed out",           "command not supported",       "address type not supported",
	};

	return code < sizeof(text) / sizeof(text[0]) ? text[code] : "unknown reply";
}

/* Of both answers; 0: more is needed (RFC 1928, 3 and 6). */
static size_t answers_length(const uint8_t *p, size_t n)
{
	size_t address;

	if (n < 7)
		return 0;
	address = p[5] == 1 ? 4 : p[5] == 4 ? 16 : (size_t)p[6] + 1;
	return n >= 2 + 4 + address + 2 ? 2 + 4 + address + 2 : 0;
}

int ask_answer(const uint8_t *p, size_t n, const char *host, uint16_t port, size_t *used,
	       struct err *e)
{
	if (n >= 2 && p[0] == 5 && p[1] == 0xff)
		return err_set(e, ERR_CREDS,
			       "the listener asks for a user and password, which connect has not");
	if (n >= 2 && (p[0] != 5 || p[1] != 0))
		return err_set(e, ERR_PROTO, "the listener does not speak SOCKS5");
	if (n >= 4 && p[3] != 0)
		return err_set(e,
			       p[3] == 5   ? ERR_REFUSED
			       : p[3] == 2 ? ERR_DENIED
					   : ERR_DIAL,
			       p[3] == 2 ? "%s:%u: %s (awsocks route shows which)" : "%s:%u: %s",
			       host, port, reply_text(p[3]));
	*used = answers_length(p, n);
	return *used != 0;
}
