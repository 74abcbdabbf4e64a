#ifndef ROUTING_HOST_H
#define ROUTING_HOST_H
/*
 * The host that a client named, in one canonical form, before any rule sees
 * it: lower case, no trailing dot, IDN as A-labels (UTS 46 through libidn2),
 * and every odd notation of an address (127.1, 0x7f.1, 2130706433,
 * [::ffff:1.2.3.4]) as the address that the system's resolver would make of it.
 * IPv6 zone ids are refused: they name an interface of this host.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { HOST_MAX = 254 }; /* a name of 253 bytes and its NUL (RFC 1035, 2.3.4) */

struct host {
	char text[HOST_MAX]; /* canonical name or address (IPv6 without brackets) */
	bool is_address;
};

/* n bytes at p, as the client sent them (any bytes). ERR_PROTO: NUL, control
 * byte, blank, percent sign, '@', '/', empty or overlong label, ... named in *e.
 * Normalising the result again gives the same. */
MUST_CHECK int host_normalize(const char *p, size_t n, struct host *, struct err *);

/* An address as bytes: 4 or 16 of them, network order. */
struct host_addr {
	uint8_t byte[16];
	unsigned size; /* 4 or 16 */
};
/* Of a normalised host; false: it is a name. */
bool host_addr(const char *host, struct host_addr *);
/* The canonical text (RFC 5952); an IPv4-mapped address as IPv4. */
void host_addr_format(const struct host_addr *, char out[static HOST_MAX]);
#endif
