/*
 * Laws of cmd/agent/dhcp.c: whatever a server sends, an answer that is taken is of a known type,
 * has an address that a host can have, a mask, and times in order; what is refused says why.
 */
#include <assert.h>
#include <string.h>

#include "cmd/agent/dhcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool host(const uint8_t ip[4])
{
	return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

static void check(const struct dhcp_answer *a)
{
	assert(a->type == DHCP_OFFER || a->type == DHCP_ACK || a->type == DHCP_NAK);
	if (a->type == DHCP_NAK)
		return;
	assert(host(a->address) && host(a->server));
	assert(a->router[0] == 0 || host(a->router));
	assert(a->prefix >= 1 && a->prefix <= 32);
	assert(a->dns_count <= DHCP_DNS_MAX);
	for (size_t i = 0; i < a->dns_count; i++)
		assert(host(a->dns[i]));
	assert(a->mtu == 0 || a->mtu >= 576);
	assert(a->lease_s && a->renew_s && a->renew_s <= a->rebind_s && a->rebind_s <= a->lease_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint8_t head[] = { 2, 1, 6, 0, 1, 2, 3, 4 }, magic[] = { 99, 130, 83, 99 };
	static const uint8_t mac[6] = { 0 };
	struct dhcp_answer a;
	struct err e = { 0 };
	uint8_t p[DHCP_MOST];

	if (dhcp_read(&a, data, n, 0x01020304, mac, &e) == 0)
		check(&a);
	else
		assert(e.code == ERR_PROTO && e.msg[0]);
	/* the same with what is always right, so that its options are reached */
	if (n < 240 || n > sizeof(p))
		return 0;
	memcpy(p, data, n);
	memcpy(p, head, sizeof(head));
	memset(p + 28, 0, 6);
	memcpy(p + 236, magic, sizeof(magic));
	if (dhcp_read(&a, p, n, 0x01020304, mac, &e) == 0)
		check(&a);
	return 0;
}
