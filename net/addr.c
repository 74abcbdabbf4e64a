#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "base/str.h"

/* AF_INET and AF_INET6 as the struct they are; the storage is aligned for both. */
static struct sockaddr_in *in4(struct addr *a)
{
	return (struct sockaddr_in *)(void *)&a->ss;
}
static struct sockaddr_in6 *in6(struct addr *a)
{
	return (struct sockaddr_in6 *)(void *)&a->ss;
}
static const struct sockaddr_in *cin4(const struct addr *a)
{
	return (const struct sockaddr_in *)(const void *)&a->ss;
}
static const struct sockaddr_in6 *cin6(const struct addr *a)
{
	return (const struct sockaddr_in6 *)(const void *)&a->ss;
}

static int unix_addr(const char *path, struct addr *out, struct err *e)
{
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&out->ss;
	size_t n = strlen(path);

	if (n == 0)
		return err_set(e, ERR_USAGE, "unix: needs a path behind it (unix:/run/x.sock)");
	if (n >= sizeof(un->sun_path))
		return err_set(e, ERR_USAGE,
			       "Unix socket path '%s' is %zu bytes long; the system takes %zu",
			       path, n, sizeof(un->sun_path) - 1);
	*out = (struct addr){ 0 };
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n + 1);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

bool addr_from_literal(const char *host, uint16_t port, struct addr *out)
{
	struct addr a = { 0 };

	if (inet_pton(AF_INET, host, &in4(&a)->sin_addr) == 1) {
		in4(&a)->sin_family = AF_INET;
		in4(&a)->sin_port = htons(port);
		a.len = sizeof(struct sockaddr_in);
	} else if (inet_pton(AF_INET6, host, &in6(&a)->sin6_addr) == 1) {
		in6(&a)->sin6_family = AF_INET6;
		in6(&a)->sin6_port = htons(port);
		a.len = sizeof(struct sockaddr_in6);
	} else {
		return false;
	}
	*out = a;
	return true;
}

int addr_parse(const char *text, struct addr *out, struct err *e)
{
	char host[INET6_ADDRSTRLEN + 1];
	uint16_t port;

	if (str_starts(text, "unix:"))
		return unix_addr(text + 5, out, e);
	if (str_host_port(text, host, sizeof(host), &port, e) != 0)
		return -1;
	if (!host[0] || str_eq_nocase(host, "localhost"))
		(void)str_fmt(host, sizeof(host), "127.0.0.1");
	if (!addr_from_literal(host, port, out))
		return err_set(e, ERR_USAGE,
			       "'%.80s' is not an address to listen at: use an IP address, "
			       "localhost:PORT or unix:/PATH",
			       text);
	return 0;
}

void addr_format_host(const struct addr *a, char out[static ADDR_TEXT])
{
	const char *text = NULL;

	if (a->ss.ss_family == AF_INET) {
		(void)str_ipv4((const uint8_t *)&cin4(a)->sin_addr, out);
		return;
	}
	if (a->ss.ss_family == AF_INET6)
		text = inet_ntop(AF_INET6, &cin6(a)->sin6_addr, out, ADDR_TEXT);
	if (!text)
		(void)str_fmt(out, ADDR_TEXT, a->ss.ss_family == AF_UNIX ? "unix" : "?");
}

void addr_format(const struct addr *a, char out[static ADDR_TEXT])
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a->ss;
	char host[ADDR_TEXT];
	size_t n;

	if (a->ss.ss_family == AF_INET) {
		n = str_ipv4((const uint8_t *)&cin4(a)->sin_addr, out);
		out[n++] = ':';
		(void)str_decimal(addr_port(a), out + n);
		return;
	}
	if (a->ss.ss_family == AF_UNIX) { /* an unnamed peer has no path at all */
		bool named = a->len > offsetof(struct sockaddr_un, sun_path);

		(void)str_fmt(out, ADDR_TEXT, "unix:%.*s", named ? (int)sizeof(un->sun_path) : 0,
			      un->sun_path);
		return;
	}
	addr_format_host(a, host);
	(void)str_fmt(out, ADDR_TEXT, a->ss.ss_family == AF_INET6 ? "[%.64s]:%u" : "%.64s:%u", host,
		      addr_port(a));
}

uint16_t addr_port(const struct addr *a)
{
	if (a->ss.ss_family == AF_INET)
		return ntohs(cin4(a)->sin_port);
	if (a->ss.ss_family == AF_INET6)
		return ntohs(cin6(a)->sin6_port);
	return 0;
}

bool addr_is_loopback(const struct addr *a)
{
	const struct in6_addr *v6;

	if (a->ss.ss_family == AF_UNIX)
		return true;
	if (a->ss.ss_family == AF_INET)
		return ntohl(cin4(a)->sin_addr.s_addr) >> 24 == 127;
	if (a->ss.ss_family != AF_INET6)
		return false;
	v6 = &cin6(a)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

size_t addr_bytes(const struct addr *a, uint8_t out[static 16])
{
	if (a->ss.ss_family == AF_INET) {
		memcpy(out, &cin4(a)->sin_addr, 4);
		return 4;
	}
	if (a->ss.ss_family != AF_INET6)
		return 0;
	memcpy(out, &cin6(a)->sin6_addr, 16);
	return 16;
}

void addr_unmap(struct addr *a)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };

	if (a->ss.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&cin6(a)->sin6_addr))
		return;
	v4.sin_port = cin6(a)->sin6_port;
	memcpy(&v4.sin_addr, cin6(a)->sin6_addr.s6_addr + 12, 4);
	*a = (struct addr){ .len = sizeof(v4) };
	memcpy(&a->ss, &v4, sizeof(v4));
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->ss.ss_family == AF_INET)
		in4(a)->sin_port = htons(port);
	else if (a->ss.ss_family == AF_INET6)
		in6(a)->sin6_port = htons(port);
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
	uint32_t scope_a, scope_b;

	if (a->ss.ss_family != b->ss.ss_family)
		return false;
	if (a->ss.ss_family == AF_INET)
		return cin4(a)->sin_addr.s_addr == cin4(b)->sin_addr.s_addr;
	if (a->ss.ss_family != AF_INET6)
		return false;
	scope_a = cin6(a)->sin6_scope_id;
	scope_b = cin6(b)->sin6_scope_id;
	return memcmp(&cin6(a)->sin6_addr, &cin6(b)->sin6_addr, 16) == 0 &&
	       (!scope_a || !scope_b || scope_a == scope_b);
}

const char *addr_not_one_host(const struct addr *a)
{
	uint32_t v4;

	if (a->ss.ss_family == AF_INET6) {
		const struct in6_addr *v6 = &cin6(a)->sin6_addr;

		if (IN6_IS_ADDR_MULTICAST(v6))
			return "multicast";
		return IN6_IS_ADDR_UNSPECIFIED(v6) ? "unspecified" : NULL;
	}
	if (a->ss.ss_family != AF_INET)
		return NULL;
	v4 = ntohl(cin4(a)->sin_addr.s_addr);
	if (v4 >> 24 == 0)
		return "unspecified";
	if (v4 == 0xffffffff)
		return "broadcast";
	return v4 >> 28 == 14 ? "multicast" : NULL;
}
