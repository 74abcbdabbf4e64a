#ifndef CMD_BRIDGE_ASK_H
#define CMD_BRIDGE_ASK_H
/* A client's side of SOCKS5 without authentication (RFC 1928), as far as `connect` needs it.
 * Pure. Greeting and request go out together: the listener is ours. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ASK_REQUEST = 3 + 5 + 255 + 2 };

/* host has 1 to 255 bytes, and is sent as the name it is. Returns the length. */
size_t ask_request(const char *host, uint16_t port, uint8_t out[static ASK_REQUEST]);
/* What has come so far. 1: granted, *used bytes are the answer. 0: more is needed. -1: refused,
 * or no SOCKS5 at all; *e says "HOST:PORT: why". */
MUST_CHECK int ask_answer(const uint8_t *p, size_t n, const char *host, uint16_t port, size_t *used,
			  struct err *e);
#endif
