#ifndef PROXY_SOCKS_H
#define PROXY_SOCKS_H
/*
 * SOCKS5 (RFC 1928) and SOCKS4/4a as pure codecs: bytes in, a step out, and
 * nothing is consumed or kept. MORE: give the same bytes again with more
 * behind them. BAD: *e says what, and its code which reply fits
 * (err_socks_reply(): 1 malformed, 7 command, 8 address type).
 *
 * CONNECT and UDP ASSOCIATE are served. The host is a piece of the input: a name is any
 * bytes, to be judged by host_normalize().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "net/addr.h"

enum socks_step { SOCKS_BAD = -1, SOCKS_MORE = 0, SOCKS_DONE = 1 };
enum { SOCKS_NO_AUTH = 0x00, SOCKS_LOGIN = 0x02, SOCKS_NO_METHOD = 0xff }; /* RFC 1928, 3 */
enum { SOCKS4_GRANTED = 90, SOCKS4_REJECTED = 91 }; /* the only two this proxy sends */
enum { SOCKS4_USER_MAX = 255, SOCKS_ADDRESS_MAX = 19, SOCKS_REPLY_MAX = 22 };

struct socks_dest {
	char literal[46]; /* an address, as text; "" when the client sent a name */
	const char *name; /* into the input, name_len bytes, no NUL behind; NULL for an address */
	size_t name_len;
	uint16_t port;
	bool udp; /* of a request: UDP ASSOCIATE instead of CONNECT */
};

/* VER NMETHODS METHODS. DONE: *used bytes, *method is the wanted one where the
 * client offers it, otherwise SOCKS_NO_METHOD. */
enum socks_step socks5_greeting(const uint8_t *p, size_t n, uint8_t wanted, size_t *used,
				uint8_t *method, struct err *);
/* VER ULEN UNAME PLEN PASSWD (RFC 1929, 2). The texts are pieces of the input. */
struct socks_login {
	const char *name, *password;
	size_t name_n, password_n;
};
enum socks_step socks5_login(const uint8_t *p, size_t n, size_t *used, struct socks_login *,
			     struct err *);
/* VER CMD RSV ATYP DST.ADDR DST.PORT. RSV is ignored, since nothing hangs on it. */
enum socks_step socks5_request(const uint8_t *p, size_t n, size_t *used, struct socks_dest *,
			       struct err *);
/* ATYP DST.ADDR DST.PORT alone, as requests and datagrams have it. */
enum socks_step socks5_address(const uint8_t *p, size_t n, size_t *used, struct socks_dest *,
			       struct err *);
/* VN CD DSTPORT DSTIP USERID NUL [NAME NUL]: the name follows 0.0.0.x, x != 0 (4a). */
enum socks_step socks4_request(const uint8_t *p, size_t n, size_t *used, struct socks_dest *,
			       struct err *);

/* The same for an address, IPv4 (also what is neither: 0.0.0.0:0) or IPv6. Returns the length. */
size_t socks5_put_address(uint8_t out[static SOCKS_ADDRESS_MAX], const struct addr *);
/* Replies. bound: BND.ADDR and BND.PORT; NULL: 0.0.0.0:0. Return the length. */
size_t socks5_reply(uint8_t out[static SOCKS_REPLY_MAX], int code, const struct addr *bound);
size_t socks4_reply(uint8_t out[static SOCKS_REPLY_MAX], int code, const struct addr *bound);
#endif
