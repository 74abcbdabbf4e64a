#include "proxy/socks_udp.h"

int socks_udp_decode(const uint8_t *p, size_t n, size_t *used, struct socks_dest *d, struct err *e)
{
	*d = (struct socks_dest){ 0 };
	if (n < 3)
		return err_set(e, ERR_PROTO, "SOCKS5: a datagram without a whole header");
	if (p[2] != 0)
		return err_set(e, ERR_UNSUPPORTED, "SOCKS5: fragments are not supported");
	switch (socks5_address(p + 3, n - 3, used, d, e)) {
	case SOCKS_DONE: *used += 3; return 0;
	case SOCKS_MORE: return err_set(e, ERR_PROTO, "SOCKS5: a datagram without a whole header");
	default: return -1;
	}
}

size_t socks_udp_header(uint8_t out[static SOCKS_UDP_HEAD_MAX], const struct addr *from)
{
	out[0] = out[1] = out[2] = 0;
	return 3 + socks5_put_address(out + 3, from);
}
