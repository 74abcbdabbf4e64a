#ifndef NET_HOST_KIND_H
#define NET_HOST_KIND_H
/*
 * What kind of place an address is by its bytes alone, as far as the host guard
 * minds: pure, so that it can be asked on either side of a link.
 *
 * An IPv6 address that stands for an IPv4 one is judged as that: mapped and
 * compatible (RFC 4291, 2.5.5), translated (RFC 7915), NAT64's well-known and
 * local-use prefixes (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380,
 * its server and its client), ISATAP (RFC 5214).
 */
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

enum { HOST_KIND_INSIDE_MAX = 4 };

struct ip { /* IPv4 as its mapped IPv6 form, so that there is one kind */
	uint8_t byte[16];
};

bool ip_from_sockaddr(struct ip *, const struct sockaddr *); /* false: neither IPv4 nor IPv6 */
/* The IPv4 addresses that it may stand for, as mapped ones; how many. An IPv4 address stands for
 * itself; of NAT64's local-use prefix nobody can tell which of several. */
size_t ip_inside(const struct ip *, struct ip out[static HOST_KIND_INSIDE_MAX]);
/* "loopback", "unspecified", "link-local", "multicast", "reserved", "metadata service's"; NULL: an
 * address like others. Metadata services are those of AWS, Azure, Google Cloud, Oracle Cloud and
 * Alibaba Cloud, by their documentation; what is link-local is called that. */
const char *ip_kind(const struct ip *);
#endif
