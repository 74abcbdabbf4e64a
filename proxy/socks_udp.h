#ifndef PROXY_SOCKS_UDP_H
#define PROXY_SOCKS_UDP_H
/*
 * The header in front of each datagram between a SOCKS5 client and its
 * association (RFC 1928, 7), as pure codecs:
 *
 *     RSV RSV FRAG ATYP DST.ADDR DST.PORT DATA
 *
 * Fragments (FRAG != 0) are not put together; an implementation that does not
 * must drop them, says the RFC. RSV is ignored, since nothing hangs on it.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"
#include "proxy/socks.h"

enum { SOCKS_UDP_HEAD_MAX = 3 + SOCKS_ADDRESS_MAX }; /* of those that are built here */

/* 0: the header takes *used bytes, the data are what follows, and may be none. -1: the datagram
 * is to be dropped; *e says why (ERR_PROTO; ERR_ADDRTYPE; ERR_UNSUPPORTED: a fragment). */
MUST_CHECK int socks_udp_decode(const uint8_t *p, size_t n, size_t *used, struct socks_dest *,
				struct err *);
/* The header of a datagram that came from this address. Returns its length. */
size_t socks_udp_header(uint8_t out[static SOCKS_UDP_HEAD_MAX], const struct addr *from);
#endif
