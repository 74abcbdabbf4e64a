#ifndef CMD_BRIDGE_ASK_H
#define CMD_BRIDGE_ASK_H
/* A client's side of SOCKS5 (RFC 1928), with a name and a password (RFC 1929) where there is one,
 * as far as `connect` needs it. Pure. Without a user greeting and request go out together: the
 * listener is ours. With one: ask_greeting, what is answered to ask_method, if ask_method wants it
 * ask_login and what is answered to ask_admitted, then the request without its first ASK_GREETING
 * bytes; ask_answer wants the answer behind the two bytes 5 and 0. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct user;

enum { ASK_GREETING = 3, ASK_REQUEST = ASK_GREETING + 5 + 255 + 2, ASK_LOGIN = 3 + 2 * 255 };

/* Offers both: a listener without users takes the other. Its length is 4. */
extern const uint8_t ask_greeting[4];
/* Of the two bytes that answer the greeting. 1: the log-in is wanted; 0: it is not; -1: *e. */
MUST_CHECK int ask_method(const uint8_t p[static 2], struct err *);
/* u has a name. Returns the length. */
size_t ask_login(const struct user *u, uint8_t out[static ASK_LOGIN]);
/* Of the two bytes that answer it. */
MUST_CHECK int ask_admitted(const uint8_t p[static 2], struct err *);

/* host has 1 to 255 bytes, and is sent as the name it is. Returns the length. */
size_t ask_request(const char *host, uint16_t port, uint8_t out[static ASK_REQUEST]);
/* What has come so far. 1: granted, *used bytes are the answer. 0: more is needed. -1: refused,
 * or no SOCKS5 at all; *e says "HOST:PORT: why". */
MUST_CHECK int ask_answer(const uint8_t *p, size_t n, const char *host, uint16_t port, size_t *used,
			  struct err *e);
#endif
