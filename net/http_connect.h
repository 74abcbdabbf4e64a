#ifndef NET_HTTP_CONNECT_H
#define NET_HTTP_CONNECT_H
/*
 * The client's side of HTTP CONNECT (RFC 9110, 9.3.6): a proxy's URL, which may be that of a
 * SOCKS5 one (net/socks_connect.h), the request, and what is answered. Pure: no I/O.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct http_connect_proxy {
	bool tls;   /* https://: the way to the proxy is TLS */
	bool socks; /* SOCKS5 is spoken instead of HTTP */
	uint16_t port;
	char host[254];      /* without brackets */
	char authority[264]; /* for messages: "name:3128" */
	char *basic;         /* the value of Proxy-Authorization; NULL: none; a secret */
};

/* "[http://|https://|socks5://|socks5h://][USER[:PASSWORD]@]HOST[:PORT][/]"; user and password may
 * be percent-encoded; the ports are 80, 443 and 1080 otherwise. Both socks5 forms mean the same:
 * the proxy resolves. `name` stands in messages, the text never does. ERR_CONFIG. To be freed also
 * when it fails. */
MUST_CHECK int http_connect_parse(const char *text, const char *name, struct http_connect_proxy *,
				  struct err *);
/* Does the text have a password in it? */
bool http_connect_has_password(const char *text);
void http_connect_free(struct http_connect_proxy *);

/* host: as in net/url.h, without brackets. */
MUST_CHECK int http_connect_request(struct buf *, const struct http_connect_proxy *,
				    const char *host, uint16_t port, struct err *);
enum http_connect_answer {
	HTTP_CONNECT_REFUSED = -1, /* *e tells */
	HTTP_CONNECT_MORE = 0,
	HTTP_CONNECT_OPEN = 1, /* the tunnel begins behind *used of the n bytes */
};
/* The n bytes that have come. ended: no more will. */
enum http_connect_answer http_connect_answer(const char *p, size_t n, bool ended, size_t *used,
					     struct err *);
#endif
