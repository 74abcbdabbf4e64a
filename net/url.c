#include "net/url.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

static int check_bytes(const char *text, struct err *e)
{
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p >= 0x7f)
			return err_set(e, ERR_USAGE, "URL with a blank, control or non-ASCII byte");
		if (*p == '#')
			return err_set(e, ERR_USAGE, "URL with a fragment");
	}
	return 0;
}

/* "scheme://" at the start: what stands behind it, or NULL. */
static const char *after_scheme(const char *text, const char *scheme)
{
	size_t n = strlen(scheme);

	if (strncasecmp(text, scheme, n) != 0 || strncmp(text + n, "://", 3) != 0)
		return NULL;
	return text + n + 3;
}

/* A name or an IPv4 literal; an IPv6 literal has brackets, which are cut off. */
static int take_host(const char *p, size_t n, struct url *u, struct err *e)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-._";
	static const char v6[] = "0123456789abcdefABCDEF:.";

	u->v6 = n >= 2 && p[0] == '[' && p[n - 1] == ']';
	if (u->v6) {
		p++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(u->host))
		return err_set(e, ERR_USAGE, "URL with no host, or one longer than 253 bytes");
	memcpy(u->host, p, n);
	u->host[n] = '\0';
	if (strspn(u->host, u->v6 ? v6 : name) != n)
		return err_set(e, ERR_USAGE, "URL with a wrong host \"%s\"", u->host);
	return 0;
}

static int take_port(const char *p, size_t n, struct url *u, struct err *e)
{
	char digits[8];
	uint64_t port;

	if (n == 0 || n >= sizeof(digits))
		return err_set(e, ERR_USAGE, "URL with a wrong port");
	memcpy(digits, p, n);
	digits[n] = '\0';
	if (str_number(digits, 1, 65535, &port, e) != 0)
		return err_wrap(e, "URL's port");
	u->port = (uint16_t)port;
	return 0;
}

static int take_authority(const char *p, size_t n, struct url *u, struct err *e)
{
	uint16_t usual = u->tls ? 443 : 80;
	size_t host = n, at = n;
	bool fits;

	while (at > 0 && p[at - 1] != ':' && p[at - 1] != ']')
		at--;
	if (at > 0 && p[at - 1] == ':')
		host = at - 1;
	u->port = usual;
	if (take_host(p, host, u, e) != 0)
		return -1;
	if (host < n && take_port(p + host + 1, n - host - 1, u, e) != 0)
		return -1;
	if (u->port == usual)
		fits = str_fmt(u->authority, sizeof(u->authority), u->v6 ? "[%s]" : "%s", u->host);
	else
		fits = str_fmt(u->authority, sizeof(u->authority), u->v6 ? "[%s]:%u" : "%s:%u",
			       u->host, (unsigned)u->port);
	return fits ? 0 : err_set(e, ERR_USAGE, "URL with too long a host");
}

int url_parse(const char *text, const char *plain, const char *tls, struct url *u, struct err *e)
{
	const char *p;

	memset(u, 0, sizeof(*u));
	if (check_bytes(text, e) != 0)
		return -1;
	p = after_scheme(text, tls);
	u->tls = p != NULL;
	if (!p)
		p = after_scheme(text, plain);
	if (!p)
		return err_set(e, ERR_USAGE, "URL that begins with neither %s:// nor %s://", plain,
			       tls);
	u->rest = p + strcspn(p, "/?");
	if (memchr(p, '@', (size_t)(u->rest - p)))
		return err_set(e, ERR_USAGE, "URL with a user part");
	return take_authority(p, (size_t)(u->rest - p), u, e);
}

char *url_target(const struct url *u)
{
	size_t n = strlen(u->rest), slash = u->rest[0] != '/';
	char *target = mem_alloc(n + slash + 1);

	if (!target)
		return NULL;
	target[0] = '/';
	memcpy(target + slash, u->rest, n + 1);
	return target;
}
