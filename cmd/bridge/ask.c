#include "cmd/bridge/ask.h"

#include <string.h>

#include "cmd/bridge/user.h"

const uint8_t ask_greeting[4] = { 5, 2, 0, 2 };

int ask_method(const uint8_t p[static 2], struct err *e)
{
	if (p[0] == 5 && (p[1] == 0 || p[1] == 2))
		return p[1] == 2;
	return err_set(e, ERR_PROTO, "the listener does not speak SOCKS5");
}

static size_t put_part(uint8_t *to, const char *p, size_t n)
{
	to[0] = (uint8_t)n;
	memcpy(to + 1, p, n);
	return n + 1;
}

size_t ask_login(const struct user *u, uint8_t out[static ASK_LOGIN])
{
	const char *password = u->text + u->name_n + 1;
	size_t n = 1;

	out[0] = 1;
	n += put_part(out + n, u->text, u->name_n);
	return n + put_part(out + n, password, strlen(password));
}

int ask_admitted(const uint8_t p[static 2], struct err *e)
{
	if (p[0] == 1 && p[1] == 0)
		return 0;
	return err_set(e, ERR_CREDS,
		       "the listener does not take this user name and password, or there were too "
		       "many wrong ones (its log tells)");
}

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
			       "the listener asks for a user and password: give them in "
			       "AWSOCKS_PROXY_USER or the file of --user-file, as NAME:PASSWORD");
	if ((n >= 2 && (p[0] != 5 || p[1] != 0)) || (n >= 3 && p[2] != 5))
		return err_set(e, ERR_PROTO, "the listener does not speak SOCKS5");
	if (n >= 4 && p[3] != 0)
		return err_set(e,
			       p[3] == 5   ? ERR_REFUSED
			       : p[3] == 2 ? ERR_DENIED
					   : ERR_DIAL,
			       p[3] == 2 ? "%s:%u: %s (awsocks route shows which)" : "%s:%u: %s",
			       host, port, reply_text(p[3]));
	if (n >= 6 && p[5] != 1 && p[5] != 3 && p[5] != 4)
		return err_set(e, ERR_PROTO, "%s:%u: the listener's answer has an unknown address",
			       host, port);
	*used = answers_length(p, n);
	return *used != 0;
}
