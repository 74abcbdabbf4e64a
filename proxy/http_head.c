/*
 * Targets and forwarded heads.
 *
 * Fields that concern one hop are taken off: those that RFC 9110, 7.6.1 names, those that
 * Connection names, and the proxy's own. Content-Length, Transfer-Encoding
 * and Host are never taken off because Connection named them: that would change where a
 * message ends or whom it is for. No Via is added: the far side need not know that
 * there is a proxy, and loops are impossible, since a request is only taken in absolute-form
 * and only sent in origin-form.
 */
#include <string.h>

#include "proxy/http_head.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "host", "host:", "host:port", "[v6]:port". */
static int authority(struct http1_text a, struct http_target *t, struct err *e)
{
	const char *end = a.p + a.n, *colon;
	uint32_t port = 0;

	t->authority = a;
	if (memchr(a.p, '@', a.n))
		return err_set(e, ERR_PROTO, "user information in the target is refused");
	if (a.n && a.p[0] == '[') {
		const char *close = memchr(a.p, ']', a.n);

		if (!close || !memchr(a.p, ':', (size_t)(close - a.p)))
			return err_set(e, ERR_PROTO, "bad IPv6 address in the target");
		t->host = (struct http1_text){ a.p + 1, (size_t)(close - a.p - 1) };
		colon = close + 1;
	} else {
		colon = memchr(a.p, ':', a.n);
		if (!colon)
			colon = end;
		t->host = (struct http1_text){ a.p, (size_t)(colon - a.p) };
	}
	if (!t->host.n || t->host.n > HTTP_HOST_MAX)
		return err_set(e, ERR_PROTO, "empty or overlong host in the target");
	if (colon == end)
		return 0;
	if (*colon != ':')
		return err_set(e, ERR_PROTO, "bad authority in the target");
	for (const char *c = colon + 1; c < end; c++) {
		if (!is_digit(*c) || end - colon > 6)
			return err_set(e, ERR_PROTO, "bad port in the target");
		port = port * 10 + (uint32_t)(*c - '0');
	}
	if (port > 65535 || (colon + 1 < end && !port))
		return err_set(e, ERR_PROTO, "bad port in the target");
	t->port_given = port != 0;
	t->port = (uint16_t)port;
	return 0;
}

/* The part behind "scheme:"; 0 where the target has no scheme. */
static size_t scheme(struct http1_text target)
{
	const char *colon = memchr(target.p, ':', target.n);

	if (!colon || colon == target.p || target.n - (size_t)(colon - target.p) < 3 ||
	    memcmp(colon, "://", 3) != 0)
		return 0;
	return (size_t)(colon - target.p) + 3;
}

int http_plain_target(const struct http1_head *h, struct http_target *t, struct err *e)
{
	struct http1_text target = h->target, a;
	size_t skip = scheme(target);

	*t = (struct http_target){ .port = 80 };
	if (!skip)
		return err_set(e, ERR_PROTO,
			       "this is a proxy, not a web server: set it as http_proxy and ask "
			       "for a whole http:// address");
	if (!http1_text_is_nocase((struct http1_text){ target.p, skip }, "http://"))
		return err_set(e, ERR_UNSUPPORTED,
			       "only http:// is proxied by plain requests: use CONNECT (set "
			       "https_proxy to http://, as usual) for anything else");
	if (memchr(target.p, '#', target.n))
		return err_set(e, ERR_PROTO, "fragment in the target");
	a = (struct http1_text){ target.p + skip, 0 };
	while (skip + a.n < target.n && a.p[a.n] != '/' && a.p[a.n] != '?')
		a.n++;
	t->path = (struct http1_text){ a.p + a.n, target.n - skip - a.n };
	if (authority(a, t, e))
		return -1;
	if (!t->port_given)
		t->port = 80;
	return 0;
}

int http_connect_target(const struct http1_head *h, struct http1_text *host, uint16_t *port,
			struct err *e)
{
	struct http_target t = { 0 };

	if (h->body != HTTP1_NO_BODY)
		return err_set(e, ERR_PROTO, "CONNECT with a body");
	if (scheme(h->target) || memchr(h->target.p, '/', h->target.n) ||
	    memchr(h->target.p, '?', h->target.n) || memchr(h->target.p, '#', h->target.n))
		return err_set(e, ERR_PROTO, "CONNECT takes HOST:PORT");
	if (authority(h->target, &t, e))
		return -1;
	if (!t.port_given)
		return err_set(e, ERR_PROTO, "CONNECT takes HOST:PORT, the port is missing");
	*host = t.host;
	*port = t.port;
	return 0;
}

static bool in_table(struct http1_text name, const char *const *table)
{
	for (; *table; table++)
		if (http1_text_is_nocase(name, *table))
			return true;
	return false;
}

static bool named_by_connection(const struct http1_head *h, struct http1_text name)
{
	char copy[128];

	if (name.n >= sizeof(copy))
		return false;
	memcpy(copy, name.p, name.n);
	copy[name.n] = 0;
	return http1_has_token(h, "connection", copy);
}

static bool hop_by_hop(const struct http1_head *h, struct http1_text name)
{
	static const char *const always[] = { "connection",
					      "proxy-connection",
					      "keep-alive",
					      "te",
					      "transfer-encoding",
					      "upgrade",
					      "proxy-authorization",
					      "proxy-authenticate",
					      "proxy-authentication-info",
					      NULL };
	static const char *const never[] = { "content-length", "host", "trailer", NULL };

	if (in_table(name, always))
		return true;
	return !in_table(name, never) && named_by_connection(h, name);
}

static int add_field(const struct http1_field *f, struct buf *out, struct err *e)
{
	return buf_addf(out, e, "%.*s: %.*s\r\n", (int)f->name.n, f->name.p, (int)f->value.n,
			f->value.p);
}

/* All fields that pass, and in an upgrade those that ask for it. */
static int add_fields(const struct http1_head *h, bool upgrade, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < h->fields; i++) {
		const struct http1_field *f = &h->field[i];

		if (upgrade && http1_text_is_nocase(f->name, "upgrade")) {
			if (add_field(f, out, e))
				return -1;
			continue;
		}
		if (hop_by_hop(h, f->name) || (!h->status && http1_text_is_nocase(f->name, "host")))
			continue;
		if (add_field(f, out, e))
			return -1;
	}
	return upgrade ? buf_addf(out, e, "Connection: upgrade\r\n") : 0;
}

static struct http1_text text(const char *s)
{
	return (struct http1_text){ s, strlen(s) };
}

int http_forward_request(const struct http1_head *h, const struct http_target *t, bool upgrade,
			 struct buf *out, struct err *e)
{
	struct http1_text path = t->path, host = t->authority;
	const char *slash = "";

	if (!path.n)
		path = text(http1_text_is(h->method, "OPTIONS") ? "*" : "/"); /* RFC 9112, 3.2.4 */
	else if (path.p[0] == '?')
		slash = "/";
	if (!t->port_given && host.n && host.p[host.n - 1] == ':')
		host.n--;
	if (buf_addf(out, e, "%.*s %s%.*s HTTP/1.1\r\nHost: %.*s\r\n", (int)h->method.n,
		     h->method.p, slash, (int)path.n, path.p, (int)host.n, host.p))
		return -1;
	if (add_fields(h, upgrade, out, e))
		return -1;
	if (h->body == HTTP1_CHUNKED && buf_addf(out, e, "Transfer-Encoding: chunked\r\n"))
		return -1;
	return buf_addf(out, e, "\r\n");
}

bool http_wants_upgrade(const struct http1_head *h)
{
	return h->upgrade && h->body == HTTP1_NO_BODY && h->minor == 1 &&
	       !http1_has_token(h, "upgrade", "h2c") && !http1_has_token(h, "upgrade", "h2");
}

int http_forward_response(const struct http1_head *h, bool chunked, enum http_after after,
			  struct buf *out, struct err *e)
{
	if (buf_addf(out, e, "HTTP/1.1 %03d %.*s\r\n", h->status, (int)h->reason.n,
		     h->reason.n ? h->reason.p : "") ||
	    add_fields(h, h->status == 101, out, e))
		return -1;
	if (chunked && buf_addf(out, e, "Transfer-Encoding: chunked\r\n"))
		return -1;
	if (after != HTTP_AFTER_DEFAULT &&
	    buf_addf(out, e, "Connection: %s\r\n",
		     after == HTTP_AFTER_CLOSE ? "close" : "keep-alive"))
		return -1;
	return buf_addf(out, e, "\r\n");
}

int http_refusal_status(const struct err *e)
{
	switch (e->code) {
	case ERR_LIMIT: return 431;
	case ERR_UNSUPPORTED: return 501;
	default: return 400;
	}
}
