#ifndef NET_URL_H
#define NET_URL_H
/*
 * The addresses of net/http.c and net/ws.c, taken apart (RFC 3986): scheme,
 * host, port, and the rest, which goes out verbatim. Strict: no user part, no
 * fragment, and only visible ASCII, so that nothing in it can end a line of
 * the request or be read in two ways.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct url {
	bool tls;
	bool v6;             /* the host is an IPv6 literal */
	char host[254];      /* without brackets */
	char authority[264]; /* for Host: "name", "name:8080", "[::1]:8080"; no default port */
	uint16_t port;
	const char *rest; /* into the text: "", "/path?query", "?query" */
};

/* plain and tls are the two schemes that fit: "http" and "https", "ws" and "wss". */
MUST_CHECK int url_parse(const char *text, const char *plain, const char *tls, struct url *,
			 struct err *);
/* Path and query as the request line has them: `rest`, behind a '/' where it
 * has none. The caller's (mem_free); NULL: out of memory. */
char *url_target(const struct url *);
#endif
