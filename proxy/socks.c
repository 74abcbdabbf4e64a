/*
 * The SOCKS codecs (the header of UDP datagrams is in socks_udp.c). Every decoder reads its input
 * from the start each time it is called, judges each byte as soon as it is there, and asks for more
 * when the input ends: so a message has one outcome however it arrives.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"
#include "proxy/socks.h"

enum { ATYP_IPV4 = 1, ATYP_NAME = 3, ATYP_IPV6 = 4 };
enum { CMD_CONNECT = 1, CMD_BIND = 2, CMD_UDP_ASSOCIATE = 3 };

static enum socks_step bad(struct err *e, enum err_code code, const char *what)
{
	err_set(e, code, "%s", what);
	return SOCKS_BAD;
}

static uint16_t port_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

enum socks_step socks5_greeting(const uint8_t *p, size_t n, uint8_t wanted, size_t *used,
				uint8_t *method, struct err *e)
{
	if (n && p[0] != 5)
		return bad(e, ERR_PROTO, "SOCKS5: wrong version in the greeting");
	if (n < 2 || n < 2u + p[1])
		return SOCKS_MORE;
	*used = 2u + p[1];
	*method = memchr(p + 2, wanted, p[1]) ? wanted : SOCKS_NO_METHOD;
	return SOCKS_DONE;
}

enum socks_step socks5_login(const uint8_t *p, size_t n, size_t *used, struct socks_login *l,
			     struct err *e)
{
	size_t at;

	if (n && p[0] != 1)
		return bad(e, ERR_PROTO, "SOCKS5: wrong version of the user name and password");
	if (n < 2 || n < 2u + p[1] + 1u)
		return SOCKS_MORE;
	at = 2u + p[1];
	if (n < at + 1 + p[at])
		return SOCKS_MORE;
	l->name = (const char *)p + 2;
	l->name_n = p[1];
	l->password = (const char *)p + at + 1;
	l->password_n = p[at];
	*used = at + 1 + l->password_n;
	return SOCKS_DONE;
}

static enum socks_step command(uint8_t cmd, struct err *e)
{
	switch (cmd) {
	case CMD_CONNECT:
	case CMD_UDP_ASSOCIATE: return SOCKS_DONE;
	case CMD_BIND: return bad(e, ERR_UNSUPPORTED, "SOCKS: BIND is not supported");
	default: return bad(e, ERR_UNSUPPORTED, "SOCKS: unknown command");
	}
}

static enum socks_step address(int family, const uint8_t *p, size_t n, struct socks_dest *d)
{
	size_t size = family == AF_INET ? 4 : 16;

	if (n < size + 2)
		return SOCKS_MORE;
	if (family == AF_INET)
		(void)str_ipv4(p, d->literal);
	else
		inet_ntop(family, p, d->literal,
			  sizeof(d->literal)); /* cannot fail: the text fits */
	d->port = port_at(p + size);
	return SOCKS_DONE;
}

static enum socks_step name(const uint8_t *p, size_t n, struct socks_dest *d, struct err *e)
{
	if (n && p[0] == 0)
		return bad(e, ERR_PROTO, "SOCKS5: empty host name");
	if (n < 1 || n < 1u + p[0] + 2u)
		return SOCKS_MORE;
	d->name = (const char *)p + 1;
	d->name_len = p[0];
	d->port = port_at(p + 1 + p[0]);
	return SOCKS_DONE;
}

enum socks_step socks5_address(const uint8_t *p, size_t n, size_t *used, struct socks_dest *d,
			       struct err *e)
{
	enum socks_step step;

	*d = (struct socks_dest){ 0 };
	if (n < 1)
		return SOCKS_MORE;
	switch (p[0]) {
	case ATYP_IPV4:
		step = address(AF_INET, p + 1, n - 1, d);
		*used = 1 + 4 + 2;
		return step;
	case ATYP_IPV6:
		step = address(AF_INET6, p + 1, n - 1, d);
		*used = 1 + 16 + 2;
		return step;
	case ATYP_NAME:
		step = name(p + 1, n - 1, d, e);
		*used = 1 + 1 + d->name_len + 2;
		return step;
	default: return bad(e, ERR_ADDRTYPE, "SOCKS5: unknown address type");
	}
}

enum socks_step socks5_request(const uint8_t *p, size_t n, size_t *used, struct socks_dest *d,
			       struct err *e)
{
	enum socks_step step;

	*d = (struct socks_dest){ 0 };
	if (n && p[0] != 5)
		return bad(e, ERR_PROTO, "SOCKS5: wrong version in the request");
	if (n > 1 && command(p[1], e) == SOCKS_BAD)
		return SOCKS_BAD;
	if (n < 4)
		return SOCKS_MORE;
	step = socks5_address(p + 3, n - 3, used, d, e);
	*used += 3;
	d->udp = p[1] == CMD_UDP_ASSOCIATE;
	return step;
}

/* A text ended by NUL; its length, without the NUL, to *len. */
static enum socks_step text(const uint8_t *p, size_t n, size_t max, size_t *len)
{
	const uint8_t *end = memchr(p, 0, n < max + 1 ? n : max + 1);

	if (!end)
		return n > max ? SOCKS_BAD : SOCKS_MORE;
	*len = (size_t)(end - p);
	return SOCKS_DONE;
}

enum socks_step socks4_request(const uint8_t *p, size_t n, size_t *used, struct socks_dest *d,
			       struct err *e)
{
	size_t at = 8, len = 0;
	enum socks_step step;

	*d = (struct socks_dest){ 0 };
	if (n && p[0] != 4)
		return bad(e, ERR_PROTO, "SOCKS4: wrong version");
	if (n > 1 && p[1] != CMD_CONNECT)
		return bad(e, ERR_UNSUPPORTED, "SOCKS4: only CONNECT is supported");
	if (n < at)
		return SOCKS_MORE;
	step = text(p + at, n - at, SOCKS4_USER_MAX, &len);
	if (step == SOCKS_BAD)
		return bad(e, ERR_PROTO, "SOCKS4: user id is too long");
	if (step == SOCKS_MORE)
		return SOCKS_MORE;
	at += len + 1;
	d->port = port_at(p + 2);
	if (memcmp(p + 4, "\0\0\0", 3) != 0 || p[7] == 0) {
		(void)str_ipv4(p + 4, d->literal);
		*used = at;
		return SOCKS_DONE;
	}
	step = text(p + at, n - at, 255, &len);
	if (step == SOCKS_BAD || (step == SOCKS_DONE && !len))
		return bad(e, ERR_PROTO, "SOCKS4a: empty or overlong host name");
	if (step == SOCKS_MORE)
		return SOCKS_MORE;
	d->name = (const char *)p + at;
	d->name_len = len;
	*used = at + len + 1;
	return SOCKS_DONE;
}

size_t socks5_put_address(uint8_t out[static SOCKS_ADDRESS_MAX], const struct addr *a)
{
	const struct sockaddr_in *v4 = (const void *)&a->ss;
	const struct sockaddr_in6 *v6 = (const void *)&a->ss;

	if (a->ss.ss_family == AF_INET6) {
		out[0] = ATYP_IPV6;
		memcpy(out + 1, &v6->sin6_addr, 16);
		memcpy(out + 17, &v6->sin6_port, 2);
		return 19;
	}
	memset(out, 0, 7);
	out[0] = ATYP_IPV4;
	if (a->ss.ss_family == AF_INET) {
		memcpy(out + 1, &v4->sin_addr, 4);
		memcpy(out + 5, &v4->sin_port, 2);
	}
	return 7;
}

size_t socks5_reply(uint8_t out[static SOCKS_REPLY_MAX], int code, const struct addr *bound)
{
	static const struct addr none = { 0 };

	out[0] = 5;
	out[1] = (uint8_t)code;
	out[2] = 0;
	return 3 + socks5_put_address(out + 3, bound ? bound : &none);
}

size_t socks4_reply(uint8_t out[static SOCKS_REPLY_MAX], int code, const struct addr *bound)
{
	memset(out, 0, SOCKS_REPLY_MAX);
	out[1] = (uint8_t)code;
	if (bound && bound->ss.ss_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)&bound->ss;

		memcpy(out + 2, &a->sin_port, 2);
		memcpy(out + 4, &a->sin_addr, 4);
	}
	return 8;
}
