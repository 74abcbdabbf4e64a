#ifndef CMD_AGENT_DHCP_H
#define CMD_AGENT_DHCP_H
/*
 * DHCP's packets, as a client writes and reads them: RFC 2131, options of RFC 2132. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	DHCP_MOST = 1500,         /* bytes of a packet that are read */
	DHCP_REQUEST_BYTES = 300, /* of one that is written: what BOOTP had, RFC 1542, 2.1 */
	DHCP_DNS_MAX = 4
};
enum dhcp_type { /* RFC 2132, 9.6 */
		 DHCP_DISCOVER = 1,
		 DHCP_OFFER = 2,
		 DHCP_REQUEST = 3,
		 DHCP_ACK = 5,
		 DHCP_NAK = 6
};
#define DHCP_FOR_EVER UINT32_MAX /* seconds */

struct dhcp_question {
	enum dhcp_type type;
	uint32_t xid;
	uint16_t secs; /* since the client began */
	uint8_t mac[6];
	/* Bytes in network order; all zero: not there. */
	uint8_t own[4];       /* ciaddr: an address that it has already */
	uint8_t requested[4]; /* option 50 */
	uint8_t server[4];    /* option 54 */
};
/* DHCP_REQUEST_BYTES. Client-id is 01 and the MAC, so that the server's leases show it. */
void dhcp_write(uint8_t out[static DHCP_REQUEST_BYTES], const struct dhcp_question *);

struct dhcp_answer {
	enum dhcp_type type; /* OFFER, ACK, NAK */
	uint8_t server[4];   /* zero: not said (NAK) */
	/* of OFFER and ACK */
	uint8_t address[4], router[4]; /* router zero: none */
	uint8_t prefix;                /* 1..32; 24 when the server does not say */
	uint8_t dns[DHCP_DNS_MAX][4];
	size_t dns_count;
	uint16_t mtu;                        /* 0: not said */
	uint32_t lease_s, renew_s, rebind_s; /* renew <= rebind <= lease */
};
/* What is an answer to that xid and MAC. ERR_PROTO: it is not, or breaks the rules. */
MUST_CHECK int dhcp_read(struct dhcp_answer *, const uint8_t *p, size_t n, uint32_t xid,
			 const uint8_t mac[static 6], struct err *);
#endif
