#ifndef CMD_AGENT_DHCP_CLIENT_H
#define CMD_AGENT_DHCP_CLIENT_H
/*
 * A DHCP client for one interface: RFC 2131, 4.4. DISCOVER is sent until a server answers, first
 * soon, then every 8 s; REQUEST four times. The lease is renewed at its server from T1 on, at any
 * from T2 on, and given up at its end. A NAK begins anew.
 */
#include "base/err.h"
#include "cmd/agent/dhcp.h"
#include "cmd/bridge/ev.h"

struct dhcp_client;
struct say;

struct dhcp_handler {
	void (*bound)(void *arg, const struct dhcp_answer *); /* also when it is renewed */
	void (*lost)(void *arg, const char *why);             /* or none has come yet */
};
MUST_CHECK int dhcp_client_new(struct dhcp_client **, struct ev *, const struct say *,
			       const char *interface, const uint8_t mac[static 6],
			       const struct dhcp_handler *, void *arg, struct err *);
void dhcp_client_free(struct dhcp_client *); /* NULL is allowed */
#endif
