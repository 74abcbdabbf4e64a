#ifndef PROXY_HTTP_HEAD_H
#define PROXY_HTTP_HEAD_H
/*
 * What a proxy does to HTTP heads (RFC 9110, 7; RFC 9112, 3.2), as pure
 * functions: where a request wants to go, and the head that is passed on.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/http1.h"

enum { HTTP_HOST_MAX = 512 }; /* a longer host in a target is refused */

struct http_target {
	struct http1_text host; /* brackets of an IPv6 address taken off; any bytes otherwise */
	uint16_t port;
	bool port_given;
	struct http1_text authority; /* host and port as written */
	struct http1_text path;      /* with query; may be empty or begin with '?' */
};

/* Of a plain request: absolute-form with http:// only. The message of a
 * refusal tells the person behind it what to do. */
MUST_CHECK int http_plain_target(const struct http1_head *, struct http_target *, struct err *);
/* Of CONNECT: authority-form, with a port, without a body. */
MUST_CHECK int http_connect_target(const struct http1_head *, struct http1_text *host,
				   uint16_t *port, struct err *);

/* The request as the origin server gets it: origin-form, Host from the target, hop-by-hop
 * fields gone. upgrade: the client's wish to change protocols goes with it. */
MUST_CHECK int http_forward_request(const struct http1_head *, const struct http_target *,
				    bool upgrade, struct buf *out, struct err *);
/* Is an upgrade asked for that a proxy may pass on? (HTTP/2 is not: its requests
 * could not be routed one by one.) */
bool http_wants_upgrade(const struct http1_head *);

enum http_after { HTTP_AFTER_DEFAULT = 0, HTTP_AFTER_CLOSE, HTTP_AFTER_KEEP };
/* The response as the client gets it. chunked: its body follows chunked. after: what
 * Connection says (a final response; KEEP is for HTTP/1.0 clients). */
MUST_CHECK int http_forward_response(const struct http1_head *, bool chunked, enum http_after,
				     struct buf *out, struct err *);
/* The status that refuses a request which http1_request() found bad. */
int http_refusal_status(const struct err *);
#endif
