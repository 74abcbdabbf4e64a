#include "net/no_proxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"

enum { ENTRY_MAX = 300 };

static bool same_bits(const uint8_t *a, const uint8_t *b, uint64_t bits)
{
	uint64_t bytes = bits / 8;
	uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));

	return memcmp(a, b, bytes) == 0 && (bits % 8 == 0 || !((a[bytes] ^ b[bytes]) & mask));
}

/* "192.0.2.0/24" or an address alone, against an address. */
static bool net_covers(char *net, const struct addr *host)
{
	char *slash = strchr(net, '/');
	uint8_t a[16], b[16];
	struct addr literal;
	uint64_t bits;
	size_t n;

	if (slash)
		*slash = '\0';
	if (!addr_from_literal(net, 1, &literal))
		return false;
	n = addr_bytes(&literal, a);
	if (n == 0 || n != addr_bytes(host, b))
		return false;
	bits = 8 * n;
	if (slash && str_number(slash + 1, 0, 8 * n, &bits, NULL) != 0)
		return false;
	return same_bits(a, b, bits);
}

static bool name_covers(const char *name, const char *host)
{
	size_t n, h = strlen(host);

	if (str_starts(name, "*."))
		name++;
	if (*name == '.')
		name++;
	n = strlen(name);
	if (n == 0 || n > h || !str_eq_nocase(host + h - n, name))
		return false;
	return n == h || host[h - n - 1] == '.';
}

/* Cuts "[v6]" and ":port" off; false: another port than this one is meant. */
static bool take_port(char **entry, uint16_t port)
{
	char *end = NULL, *colon = strrchr(*entry, ':');
	uint64_t n;

	if (**entry == '[' && (end = strchr(*entry, ']'))) {
		colon = end[1] == ':' ? end + 1 : NULL;
		*end = '\0';
		++*entry;
	} else if (colon && strchr(*entry, ':') != colon) {
		colon = NULL; /* an IPv6 literal without brackets */
	}
	if (!colon)
		return true;
	*colon = '\0';
	return str_number(colon + 1, 1, 65535, &n, NULL) == 0 && n == port;
}

static bool entry_covers(char *entry, const char *host, const struct addr *literal, uint16_t port)
{
	if (strcmp(entry, "*") == 0)
		return true;
	if (!take_port(&entry, port))
		return false;
	return literal ? net_covers(entry, literal) : name_covers(entry, host);
}

bool no_proxy_covers(const char *list, const char *host, uint16_t port)
{
	static const char separators[] = ", \t";
	char entry[ENTRY_MAX], name[ENTRY_MAX];
	struct addr literal;
	bool is_literal = addr_from_literal(host, 1, &literal);

	if (!list || !str_fmt(name, sizeof(name), "%s", host))
		return false;
	if (*name && name[strlen(name) - 1] == '.')
		name[strlen(name) - 1] = '\0';
	for (size_t n; *(list += strspn(list, separators)); list += n) {
		n = strcspn(list, separators);
		if (str_fmt(entry, sizeof(entry), "%.*s", (int)(n < ENTRY_MAX ? n : ENTRY_MAX),
			    list) &&
		    entry_covers(entry, name, is_literal ? &literal : NULL, port))
			return true;
	}
	return false;
}
