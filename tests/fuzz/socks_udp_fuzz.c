/*
 * Laws of proxy/socks_udp.c: a header lies within the datagram and the host
 * within the header, what follows it changes nothing, a datagram cut inside of
 * its header has none, and a header that is built is read back as it was.
 */
#include <assert.h>
#include <string.h>

#include "proxy/socks_udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void back(const struct socks_dest *d)
{
	uint8_t out[SOCKS_UDP_HEAD_MAX];
	struct socks_dest again;
	struct addr a;
	struct err e;
	size_t len, used = 0;

	assert(addr_from_literal(d->literal, d->port, &a));
	len = socks_udp_header(out, &a);
	assert(socks_udp_decode(out, len, &used, &again, &e) == 0);
	assert(used == len && again.port == d->port && strcmp(again.literal, d->literal) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct socks_dest d, part;
	struct err e = { 0 };
	size_t used = 0, used2 = 0;

	if (socks_udp_decode(data, n, &used, &d, &e)) {
		assert(e.code && e.msg[0]);
		return 0;
	}
	assert(used <= n && !d.udp);
	assert(socks_udp_decode(data, used, &used2, &part, &e) == 0 && used2 == used);
	assert(part.port == d.port && part.name == d.name && part.name_len == d.name_len);
	for (size_t cut = 0; cut < used; cut++)
		assert(socks_udp_decode(data, cut, &used2, &part, &e) != 0);
	assert(!d.name == (d.literal[0] != 0));
	if (!d.name) {
		back(&d);
		return 0;
	}
	assert((const uint8_t *)d.name > data && d.name_len > 0);
	assert((const uint8_t *)d.name + d.name_len + 2 == data + used);
	return 0;
}
