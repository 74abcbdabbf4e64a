#include "net/socks_connect.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http_connect.h"

enum { METHOD_NONE = 0, METHOD_LOGIN = 2, METHOD_NO = 0xff };
enum { ATYP_IPV4 = 1, ATYP_NAME = 3, ATYP_IPV6 = 4, TEXT_MAX = 255 };

int socks_connect_greet(const struct http_connect_proxy *x, struct buf *out, struct err *e)
{
	static const uint8_t with[] = { 5, 2, METHOD_NONE, METHOD_LOGIN },
			     without[] = { 5, 1, METHOD_NONE };

	return x->basic ? buf_add(out, with, sizeof(with), e)
			: buf_add(out, without, sizeof(without), e);
}

size_t socks_connect_needs(enum socks_connect_phase phase, const uint8_t *p, size_t n)
{
	enum { HEAD = 4, PORT = 2 };

	if (phase != SOCKS_CONNECT_REPLY)
		return 2;
	if (n < HEAD + 1)
		return HEAD + 1;
	switch (p[3]) {
	case ATYP_IPV4: return HEAD + 4 + PORT;
	case ATYP_IPV6: return HEAD + 16 + PORT;
	case ATYP_NAME: return HEAD + 1u + p[4] + PORT;
	default: return HEAD + 1; /* is told as it is taken */
	}
}

/* One length byte, then the text. */
static int add_text(struct buf *out, const char *p, size_t n, struct err *e)
{
	uint8_t size = (uint8_t)n;

	if (n > TEXT_MAX)
		return err_set(e, ERR_CONFIG, "SOCKS5 takes 255 bytes of name or password at most");
	return buf_add(out, &size, 1, e) == 0 ? buf_add(out, p, n, e) : -1;
}

/* RFC 1929, 2, from "Basic " and base64 of "user:password". */
static int login(const struct http_connect_proxy *x, struct buf *out, struct err *e)
{
	static const uint8_t version = 1;
	size_t size = strlen(x->basic) - strlen("Basic ");
	char *text = mem_alloc(size + 1), *colon;
	long n = text ? str_unbase64(x->basic + strlen("Basic "), size, text) : -1;
	int r;

	colon = n > 0 ? memchr(text, ':', (size_t)n) : NULL;
	if (!colon)
		r = err_set(e, ERR_NOMEM, "proxy");
	else
		r = buf_add(out, &version, 1, e) == 0 &&
				    add_text(out, text, (size_t)(colon - text), e) == 0 &&
				    add_text(out, colon + 1, (size_t)(text + n - colon - 1), e) == 0
			    ? 0
			    : -1;
	if (text)
		mem_wipe(text, size);
	mem_free(text);
	return r;
}

static int request(const char *host, uint16_t port, struct buf *out, struct err *e)
{
	const uint8_t end[] = { (uint8_t)(port >> 8), (uint8_t)port };
	uint8_t head[20] = { 5, 1, 0, ATYP_NAME };
	int r;

	if (inet_pton(AF_INET, host, head + 4) == 1) {
		head[3] = ATYP_IPV4;
		r = buf_add(out, head, 4 + 4, e);
	} else if (inet_pton(AF_INET6, host, head + 4) == 1) {
		head[3] = ATYP_IPV6;
		r = buf_add(out, head, 4 + 16, e);
	} else {
		r = buf_add(out, head, 4, e) == 0 ? add_text(out, host, strlen(host), e) : -1;
	}
	return r == 0 ? buf_add(out, end, sizeof(end), e) : -1;
}

/* RFC 1928, 6. */
static int refused(uint8_t reply, struct err *e)
{
	static const struct {
		enum err_code code;
		const char *words;
	} replies[] = {
		[1] = { ERR_DIAL, "general failure" },
		[2] = { ERR_DENIED, "not allowed by its rules" },
		[3] = { ERR_NETUNREACH, "network unreachable" },
		[4] = { ERR_HOSTUNREACH, "host unreachable" },
		[5] = { ERR_REFUSED, "connection refused" },
		[6] = { ERR_TIMEOUT, "timed out" },
		[7] = { ERR_UNSUPPORTED, "command not supported" },
		[8] = { ERR_ADDRTYPE, "address type not supported" },
	};

	if (reply >= sizeof(replies) / sizeof(replies[0]))
		return err_set(e, ERR_DIAL, "SOCKS5 reply %u", reply);
	return err_set(e, replies[reply].code, "SOCKS5 reply %u: %s", reply, replies[reply].words);
}

int socks_connect_take(enum socks_connect_phase *phase, const struct http_connect_proxy *x,
		       const char *host, uint16_t port, const uint8_t *p, struct buf *out,
		       struct err *e)
{
	bool named = *phase == SOCKS_CONNECT_LOGIN; /* its version is that of the subnegotiation */

	if (p[0] != (named ? 1 : 5))
		return err_set(e, ERR_PROTO, "it does not speak SOCKS5");
	if (*phase == SOCKS_CONNECT_METHOD && p[1] == METHOD_LOGIN && x->basic) {
		*phase = SOCKS_CONNECT_LOGIN;
		return login(x, out, e);
	}
	if (*phase == SOCKS_CONNECT_METHOD && p[1] != METHOD_NONE)
		return err_set(e, ERR_DENIED, "%s",
			       x->basic ? "it takes no user name and password"
					: "it wants a user name and a password");
	if (named && p[1] != 0)
		return err_set(e, ERR_DENIED, "it wants another user and password");
	if (*phase != SOCKS_CONNECT_REPLY) {
		*phase = SOCKS_CONNECT_REPLY;
		return request(host, port, out, e);
	}
	if (p[1] != 0)
		return refused(p[1], e);
	if (p[3] != ATYP_IPV4 && p[3] != ATYP_IPV6 && p[3] != ATYP_NAME)
		return err_set(e, ERR_PROTO, "its SOCKS5 reply has an unknown address type");
	return 1;
}
