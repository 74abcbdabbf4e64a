#include "net/host_kind.h"

#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
static const uint8_t nothing[16] = { 0 };

bool ip_from_sockaddr(struct ip *out, const struct sockaddr *sa)
{
	if (sa && sa->sa_family == AF_INET) {
		memcpy(out->byte, mapped, 12);
		memcpy(out->byte + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
		       4);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(out->byte, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
		return true;
	}
	return false;
}

/* ---- IPv4 inside IPv6 ---- */

static void add(struct ip *out, size_t *n, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const uint8_t v4[4] = { a, b, c, d };

	memcpy(out[*n].byte, mapped, 12);
	memcpy(out[(*n)++].byte + 12, v4, 4);
}

/* How the last four bytes come to be IPv4: 12 bytes before them. */
static const uint8_t before_v4[][12] = {
	{ [10] = 0xff, [11] = 0xff }, /* mapped */
	{ 0 },                        /* compatible */
	{ [8] = 0xff, [9] = 0xff },   /* translated */
	{ 0, 0x64, 0xff, 0x9b },      /* NAT64, well-known */
};

static bool ends_in_v4(const uint8_t *p)
{
	for (size_t i = 0; i < sizeof(before_v4) / sizeof(before_v4[0]); i++)
		if (memcmp(p, before_v4[i], 12) == 0)
			return true;
	/* ISATAP: an interface identifier, behind any prefix */
	return (p[8] & 0xfd) == 0 && p[9] == 0 && p[10] == 0x5e && p[11] == 0xfe;
}

/* RFC 6052, 2.2: where IPv4 stands depends on the length of the prefix, which only the
 * translator knows. With nothing behind the /48 it is /96, unless it is nothing at all. */
static void local_nat64(const uint8_t *p, struct ip *out, size_t *n)
{
	add(out, n, p[12], p[13], p[14], p[15]);
	if (memcmp(p + 6, nothing, 6) == 0 && memcmp(p + 12, nothing, 4) != 0)
		return;
	add(out, n, p[6], p[7], p[9], p[10]);
	add(out, n, p[7], p[9], p[10], p[11]);
	add(out, n, p[9], p[10], p[11], p[12]);
}

size_t ip_inside(const struct ip *ip, struct ip out[static HOST_KIND_INSIDE_MAX])
{
	static const uint8_t local_use[6] = { 0, 0x64, 0xff, 0x9b, 0, 1 };
	static const uint8_t teredo[4] = { 0x20, 0x01 };
	const uint8_t *p = ip->byte;
	size_t n = 0;

	/* ::1 and :: have the compatible form's prefix but are IPv6's own. */
	if (memcmp(p, nothing, 15) == 0 && p[15] <= 1)
		return 0;
	if (ends_in_v4(p)) {
		add(out, &n, p[12], p[13], p[14], p[15]);
	} else if (memcmp(p, local_use, sizeof(local_use)) == 0) {
		local_nat64(p, out, &n);
	} else if (p[0] == 0x20 && p[1] == 0x02) { /* 6to4 */
		add(out, &n, p[2], p[3], p[4], p[5]);
	} else if (memcmp(p, teredo, sizeof(teredo)) == 0) { /* the client's is written inverted */
		add(out, &n, p[4], p[5], p[6], p[7]);
		add(out, &n, p[12] ^ 0xff, p[13] ^ 0xff, p[14] ^ 0xff, p[15] ^ 0xff);
	}
	return n;
}

/* ---- kinds ---- */

static const char *kind_of_v4(const uint8_t *p)
{
	static const uint8_t metadata[][4] = {
		{ 168, 63, 129, 16 },   /* Azure's wire server */
		{ 100, 100, 100, 200 }, /* Alibaba Cloud */
		{ 192, 0, 0, 192 },     /* Oracle Cloud, its older one */
	};

	if (p[0] == 127)
		return "loopback";
	if (p[0] == 0)
		return "unspecified";
	if (p[0] == 169 && p[1] == 254)
		return "link-local";
	if (p[0] >= 224)
		return p[0] < 240 ? "multicast" : "reserved";
	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		if (memcmp(p, metadata[i], 4) == 0)
			return "metadata service's";
	return NULL;
}

static const char *kind_of_v6(const uint8_t *p)
{
	static const uint8_t metadata[][14] = {
		{ 0xfd, 0x00, 0x0e, 0xc2 }, /* fd00:ec2::/112, AWS */
		{ 0xfd, 0x20, 0x00, 0xce }, /* fd20:ce::254, Google Cloud */
		{ 0xfd, 0x00, 0x00, 0x42 }, /* fd00:42::42, Scaleway */
		{ 0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, [13] = 0xfe }, /* fd00:c1::a9fe:*, Oracle */
	};

	if (memcmp(p, nothing, 16) == 0)
		return "unspecified";
	if (memcmp(p, nothing, 15) == 0 && p[15] == 1)
		return "loopback";
	if (p[0] == 0xfe && (p[1] & 0xc0) == 0x80)
		return "link-local";
	if (p[0] == 0xff)
		return "multicast";
	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		if (memcmp(p, metadata[i], sizeof(metadata[i])) == 0)
			return "metadata service's";
	return NULL;
}

const char *ip_kind(const struct ip *ip)
{
	struct ip inside[HOST_KIND_INSIDE_MAX];
	size_t n = ip_inside(ip, inside);
	const char *kind = kind_of_v6(ip->byte);

	for (size_t i = 0; !kind && i < n; i++)
		kind = kind_of_v4(inside[i].byte + 12);
	return kind;
}
