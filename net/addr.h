#ifndef NET_ADDR_H
#define NET_ADDR_H
/* Socket addresses as values: IPv4, IPv6 and Unix. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct addr {
	struct sockaddr_storage ss;
	socklen_t len;
};
enum { ADDR_TEXT = 128 };

/* "127.0.0.1:1080", "[::1]:1080", "localhost:1080", ":1080" (127.0.0.1), "unix:/path".
 * Names other than localhost are refused: this is for places to listen at or helpers to reach. */
MUST_CHECK int addr_parse(const char *text, struct addr *, struct err *);
/* An address literal without port; false: it is not one. */
bool addr_from_literal(const char *host, uint16_t port, struct addr *);
/* "127.0.0.1:1080", "[::1]:1080", "unix:/path". */
void addr_format(const struct addr *, char out[static ADDR_TEXT]);
/* Without the port: "127.0.0.1", "::1", "unix". */
void addr_format_host(const struct addr *, char out[static ADDR_TEXT]);
uint16_t addr_port(const struct addr *);
/* The IP address, network order; its size: 4, 16, or 0 for others. */
size_t addr_bytes(const struct addr *, uint8_t out[static 16]);
/* An IPv4 address in IPv6's clothes (::ffff:192.0.2.1, as a socket for both families has its
 * peers) becomes IPv4. */
void addr_unmap(struct addr *);
void addr_set_port(struct addr *, uint16_t port); /* IPv4 and IPv6 */
/* The same IP address, whatever the ports. A scope counts when both have one. */
bool addr_same_host(const struct addr *, const struct addr *);
/* What stands in the way of sending to one host at this IP address: "unspecified", "multicast",
 * "broadcast" (only 255.255.255.255 shows it by itself); NULL: nothing. */
const char *addr_not_one_host(const struct addr *);
bool addr_is_loopback(const struct addr *); /* Unix counts as loopback */
#endif
