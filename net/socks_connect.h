#ifndef NET_SOCKS_CONNECT_H
#define NET_SOCKS_CONNECT_H
/*
 * The client's side of SOCKS5 CONNECT (RFC 1928), with user name and password
 * (RFC 1929) where the proxy's URL has them. Names go to the proxy as they are. Pure: no I/O.
 *
 * Messages are read to the byte, since the far side's first bytes may be right behind.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct http_connect_proxy;

enum { SOCKS_CONNECT_ANSWER = 262 }; /* of the longest answer */

enum socks_connect_phase { SOCKS_CONNECT_METHOD = 0, SOCKS_CONNECT_LOGIN, SOCKS_CONNECT_REPLY };

/* What is said first. */
MUST_CHECK int socks_connect_greet(const struct http_connect_proxy *, struct buf *out,
				   struct err *);
/* How many bytes the proxy's next message has, as far as its first n bytes tell: never more. */
size_t socks_connect_needs(enum socks_connect_phase, const uint8_t *p, size_t n);
/* A whole message. 0: what is to be answered is in `out`, and *phase is the next one; 1: the way
 * is open; -1: *e, with the code of the reply. host: a name or an address without brackets. */
MUST_CHECK int socks_connect_take(enum socks_connect_phase *, const struct http_connect_proxy *,
				  const char *host, uint16_t port, const uint8_t *p,
				  struct buf *out, struct err *);
#endif
