#include "cmd/localaws/names.h"

#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static void normal(const char *host, char out[static NAMES_TEXT])
{
	size_t n;

	(void)str_fmt(out, NAMES_TEXT, "%s", host);
	str_lower(out);
	n = strlen(out);
	if (n && out[n - 1] == '.')
		out[n - 1] = '\0';
}

/* ADDR, ADDR:PORT, [V6]:PORT; a bare IPv6 literal has no port. */
static int parse_to(const char *text, struct addr *to, struct err *e)
{
	char host[NAMES_TEXT];
	uint16_t port;

	if (addr_from_literal(text, 0, to))
		return 0;
	if (str_host_port(text, host, sizeof(host), &port, e) == 0 &&
	    addr_from_literal(host, port, to))
		return 0;
	return err_set(e, ERR_USAGE, "'%.60s' is not an address, or address and port", text);
}

static int parse_name(const char *text, size_t n, struct name *out, struct err *e)
{
	char whole[NAMES_TEXT], host[NAMES_TEXT];
	const char *slash = memchr(text, '/', n);

	if (slash) {
		if (slash - text != ACCOUNT_TEXT - 1)
			return err_set(e, ERR_USAGE, "an account has 12 digits");
		memcpy(out->account, text, ACCOUNT_TEXT - 1);
		n -= ACCOUNT_TEXT;
		text = slash + 1;
	}
	if (n == 0 || n >= sizeof(whole))
		return err_set(e, ERR_USAGE, "no name, or one that is too long");
	memcpy(whole, text, n);
	whole[n] = '\0';
	if (strchr(whole, ':')) {
		if (str_host_port(whole, host, sizeof(host), &out->port, e) != 0)
			return -1;
		normal(host, out->name);
	} else {
		normal(whole, out->name);
	}
	return 0;
}

int names_add(struct names *l, const char *text, struct err *e)
{
	const char *eq = strchr(text, '=');
	struct name name = { 0 }, *at;

	if (!eq)
		return err_set(e, ERR_USAGE, "resolve '%.60s' is not NAME=ADDR[:PORT]", text);
	if (parse_name(text, (size_t)(eq - text), &name, e) != 0 ||
	    parse_to(eq + 1, &name.to, e) != 0)
		return err_wrap(e, "resolve '%.60s'", text);
	at = mem_resize(l->at, (l->count + 1) * sizeof(*at));
	if (!at)
		return err_set(e, ERR_NOMEM, "names");
	l->at = at;
	at[l->count++] = name;
	return 0;
}

static void set_port(struct addr *a, uint16_t port)
{
	if (a->ss.ss_family == AF_INET)
		((struct sockaddr_in *)&a->ss)->sin_port = htons(port);
	else if (a->ss.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->ss)->sin6_port = htons(port);
}

bool names_find(const struct names *l, const char *account, const char *host, uint16_t port,
		struct addr *out)
{
	char name[NAMES_TEXT];
	const struct name *best = NULL;

	normal(host, name);
	for (size_t i = 0; i < l->count; i++) {
		const struct name *at = &l->at[i];

		if (strcmp(at->name, name) != 0 || (at->port && at->port != port))
			continue;
		if (at->account[0] && strcmp(at->account, account) != 0)
			continue;
		if (!best || (at->port && !best->port))
			best = at;
	}
	if (!best)
		return false;
	*out = best->to;
	if (addr_port(out) == 0)
		set_port(out, port);
	return true;
}

void names_free(struct names *l)
{
	mem_free(l->at);
	*l = (struct names){ 0 };
}

bool names_denied(const struct addr *a)
{
	static const uint8_t v4_last[] = { 254, 253, 123, 250, 251 };
	static const uint8_t v6_last[][2] = { { 2, 0x54 }, { 2, 0x53 }, { 1, 0x23 },
					      { 2, 0x50 }, { 2, 0x51 }, { 2, 0x40 } };
	static const uint8_t v6_first[14] = { 0xfd, 0x00, 0x0e, 0xc2 };
	const uint8_t *p;

	if (a->ss.ss_family == AF_INET) {
		p = (const uint8_t *)&((const struct sockaddr_in *)&a->ss)->sin_addr;
		return p[0] == 169 && p[1] == 254 && p[2] == 169 &&
		       memchr(v4_last, p[3], sizeof(v4_last));
	}
	if (a->ss.ss_family != AF_INET6)
		return false;
	p = (const uint8_t *)&((const struct sockaddr_in6 *)&a->ss)->sin6_addr;
	for (size_t i = 0; i < sizeof(v6_last) / sizeof(v6_last[0]); i++)
		if (memcmp(p, v6_first, 14) == 0 && p[14] == v6_last[i][0] &&
		    p[15] == v6_last[i][1])
			return true;
	return false;
}
