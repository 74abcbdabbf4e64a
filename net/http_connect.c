#include "net/http_connect.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http1.h"
#include "net/url.h"

enum { USER_MAX = 1024, URL_MAX = 600, HEAD_ROOM = 4096, SOCKS_PORT = 1080 };

/* ---- the proxy's URL ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at;

	if (c >= 'A' && c <= 'F')
		c = (char)(c - 'A' + 'a');
	at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* Percent-decodes n bytes; false: not a user part. */
static bool decode(const char *p, size_t n, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)p[i];

		if (c == '%') {
			int high = n - i > 2 ? hex_digit(p[i + 1]) : -1;
			int low = n - i > 2 ? hex_digit(p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		}
		if (c == 0 || at + 1 >= size)
			return false;
		out[at++] = (char)c;
	}
	out[at] = '\0';
	return true;
}

/* "user:password" -> "Basic dXNlcjpwYXNzd29yZA==" (RFC 7617). */
static int set_user(struct http_connect_proxy *x, const char *p, size_t n, const char *name,
		    struct err *e)
{
	const char *colon = memchr(p, ':', n);
	size_t user = colon ? (size_t)(colon - p) : n, size;
	char text[USER_MAX];
	bool ok = decode(p, user, text, sizeof(text) / 2);

	if (ok) {
		size_t at = strlen(text);

		ok = !strchr(text, ':');
		text[at++] = ':';
		ok = ok &&
		     decode(p + user + 1, colon ? n - user - 1 : 0, text + at, sizeof(text) - at);
	}
	if (!ok) {
		mem_wipe(text, sizeof(text));
		return err_set(e, ERR_CONFIG, "%s: the user and password in it cannot be read",
			       name);
	}
	size = str_base64_len(strlen(text)) + 7;
	x->basic = mem_alloc(size);
	if (x->basic) {
		memcpy(x->basic, "Basic ", 6);
		str_base64(text, strlen(text), x->basic + 6);
	}
	mem_wipe(text, sizeof(text));
	return x->basic ? 0 : err_set(e, ERR_NOMEM, "%s", name);
}

/* Behind the scheme. */
static const char *host_of(const char *text)
{
	const char *sep = strstr(text, "://");

	return sep ? sep + 3 : text;
}

/* Behind the last '@' of the authority; where there is none, its start. */
static const char *user_end(const char *host)
{
	const char *at = host + strcspn(host, "/?#");

	while (at > host && at[-1] != '@')
		at--;
	return at;
}

static bool has_port(const char *host)
{
	const char *bracket = strchr(host, ']'), *colon = strchr(bracket ? bracket : host, ':');

	return colon != NULL;
}

int http_connect_parse(const char *text, const char *name, struct http_connect_proxy *x,
		       struct err *e)
{
	bool tls = str_starts(text, "https://");
	bool socks = str_starts(text, "socks5://") || str_starts(text, "socks5h://");
	const char *host = host_of(text), *at = user_end(host);
	char plain[URL_MAX];
	struct url u;
	struct err why;

	*x = (struct http_connect_proxy){ 0 };
	if (host != text && !tls && !socks && !str_starts(text, "http://"))
		return err_set(e, ERR_CONFIG,
			       "%s: only http://, https:// and socks5:// proxies can be used",
			       name);
	if (at > host && set_user(x, host, (size_t)(at - 1 - host), name, e) != 0)
		return -1;
	if (!str_fmt(plain, sizeof(plain), "%s://%s", tls ? "https" : "http", at) ||
	    url_parse(plain, "http", "https", &u, &why) != 0 ||
	    (u.rest[0] && strcmp(u.rest, "/") != 0))
		return err_set(e, ERR_CONFIG, "%s: http://[USER:PASSWORD@]HOST[:PORT] expected",
			       name);
	x->tls = tls;
	x->socks = socks;
	x->port = socks && !has_port(at) ? SOCKS_PORT : u.port;
	(void)str_fmt(x->host, sizeof(x->host), "%s", u.host);
	(void)str_fmt(x->authority, sizeof(x->authority), "%s%s", u.authority,
		      x->port != u.port ? ":1080" : "");
	return 0;
}

bool http_connect_has_password(const char *text)
{
	const char *host = host_of(text), *at = user_end(host);

	return at > host && memchr(host, ':', (size_t)(at - host)) != NULL;
}

void http_connect_free(struct http_connect_proxy *x)
{
	mem_free_str(x->basic);
	*x = (struct http_connect_proxy){ 0 };
}

/* ---- the exchange ---- */

int http_connect_request(struct buf *to, const struct http_connect_proxy *x, const char *host,
			 uint16_t port, struct err *e)
{
	bool v6 = strchr(host, ':') != NULL;
	char authority[272];
	int r;

	if (!str_fmt(authority, sizeof(authority), "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
		     (unsigned)port))
		return err_set(e, ERR_USAGE, "host name too long");
	r = buf_addf(to, e, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority);
	if (r == 0 && x->basic)
		r = buf_addf(to, e, "Proxy-Authorization: %s\r\n", x->basic);
	return r == 0 ? buf_add(to, "\r\n", 2, e) : r;
}

static enum http_connect_answer refused(const struct http1_head *h, struct err *e)
{
	enum err_code code = h->status == 504                       ? ERR_TIMEOUT
			     : h->status == 502 || h->status == 503 ? ERR_HOSTUNREACH
								    : ERR_DENIED;

	(void)err_set(e, code, "CONNECT was refused: HTTP %d %.*s%s", h->status,
		      h->reason.n > 80 ? 80 : (int)h->reason.n, h->reason.p,
		      h->status == 407 ? ": it wants another user and password" : "");
	return HTTP_CONNECT_REFUSED;
}

enum http_connect_answer http_connect_answer(const char *p, size_t n, bool ended, size_t *used,
					     struct err *e)
{
	struct http1_head h;
	enum http1_step step;

	*used = 0;
	while ((step = http1_response(p + *used, n - *used, &h, e)) == HTTP1_DONE && h.status < 200)
		*used += h.used; /* interim */
	if (step == HTTP1_MORE && !ended && n - *used < HEAD_ROOM * 4)
		return HTTP_CONNECT_MORE;
	if (step == HTTP1_MORE)
		(void)err_set(e, ERR_CLOSED, "no whole answer to CONNECT");
	if (step == HTTP1_BAD)
		(void)err_wrap(e, "answer to CONNECT");
	if (step != HTTP1_DONE)
		return HTTP_CONNECT_REFUSED;
	if (h.status > 299)
		return refused(&h, e);
	*used += h.used;
	return HTTP_CONNECT_OPEN;
}
