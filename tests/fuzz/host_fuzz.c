/*
 * Laws: what is normalised stays as it is when it is normalised again; the
 * result has only the bytes that a name or an address may have; and a name
 * never reads as an IPv4 address for the system's inet_aton().
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "routing/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.:";
	struct host once, twice;
	struct host_addr a;
	struct in_addr v4;
	struct err e;

	if (host_normalize((const char *)p, n, &once, &e) != 0)
		return 0;
	assert(once.text[0] && strlen(once.text) < HOST_MAX);
	assert(strspn(once.text, allowed) == strlen(once.text));
	assert(host_normalize(once.text, strlen(once.text), &twice, &e) == 0);
	assert(strcmp(once.text, twice.text) == 0 && once.is_address == twice.is_address);
	assert(host_addr(once.text, &a) == once.is_address);
	assert(once.is_address || inet_aton(once.text, &v4) == 0);
	return 0;
}
