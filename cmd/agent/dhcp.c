#include "cmd/agent/dhcp.h"

#include <string.h>

enum { /* RFC 2131, figure 1 */
       AT_OP = 0,
       AT_HTYPE = 1,
       AT_HLEN = 2,
       AT_XID = 4,
       AT_SECS = 8,
       AT_FLAGS = 10,
       AT_CIADDR = 12,
       AT_YIADDR = 16,
       AT_CHADDR = 28,
       AT_SNAME = 44,
       AT_FILE = 108,
       AT_MAGIC = 236,
       AT_OPTIONS = 240
};
enum { /* RFC 2132 */
       OPT_PAD = 0,
       OPT_MASK = 1,
       OPT_ROUTER = 3,
       OPT_DNS = 6,
       OPT_MTU = 26,
       OPT_REQUESTED = 50,
       OPT_LEASE = 51,
       OPT_OVERLOAD = 52,
       OPT_TYPE = 53,
       OPT_SERVER = 54,
       OPT_WANTED = 55,
       OPT_SIZE = 57,
       OPT_RENEW = 58,
       OPT_REBIND = 59,
       OPT_CLIENT = 61,
       OPT_END = 255
};
enum { PREFIX = 24, LEASE_S = 3600, LEASE_LEAST_S = 4, MTU_LEAST = 576 };

static const uint8_t magic[4] = { 99, 130, 83, 99 };
static const uint8_t none[4];

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static bool there(const uint8_t ip[4])
{
	return memcmp(ip, none, 4) != 0;
}

/* ---- writing ---- */

static uint8_t *option(uint8_t *at, uint8_t code, const void *p, uint8_t n)
{
	*at++ = code;
	*at++ = n;
	memcpy(at, p, n);
	return at + n;
}

void dhcp_write(uint8_t out[static DHCP_REQUEST_BYTES], const struct dhcp_question *q)
{
	static const uint8_t wanted[] = { OPT_MASK,  OPT_ROUTER, OPT_DNS,   OPT_MTU,
					  OPT_LEASE, OPT_SERVER, OPT_RENEW, OPT_REBIND };
	uint8_t *at = out + AT_OPTIONS, type = (uint8_t)q->type, id[7] = { 1 }, size[2];

	memset(out, 0, DHCP_REQUEST_BYTES);
	out[AT_OP] = 1;
	out[AT_HTYPE] = 1; /* Ethernet */
	out[AT_HLEN] = 6;
	put32(out + AT_XID, q->xid);
	put16(out + AT_SECS, q->secs);
	/* Without an address yet, a unicast answer would not be taken by the system. */
	put16(out + AT_FLAGS, there(q->own) ? 0 : 0x8000);
	memcpy(out + AT_CIADDR, q->own, 4);
	memcpy(out + AT_CHADDR, q->mac, 6);
	memcpy(out + AT_MAGIC, magic, 4);
	memcpy(id + 1, q->mac, 6);
	put16(size, DHCP_MOST);
	at = option(at, OPT_TYPE, &type, 1);
	at = option(at, OPT_CLIENT, id, sizeof(id));
	at = option(at, OPT_SIZE, size, sizeof(size));
	at = option(at, OPT_WANTED, wanted, sizeof(wanted));
	if (there(q->requested))
		at = option(at, OPT_REQUESTED, q->requested, 4);
	if (there(q->server))
		at = option(at, OPT_SERVER, q->server, 4);
	*at = OPT_END;
}

/* ---- reading ---- */

struct options {
	const uint8_t *value[256]; /* NULL: not there; the first of each counts */
	uint8_t size[256];
};

/* 0, or -1: one reaches beyond the end. */
static int collect(struct options *o, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n && p[i] != OPT_END;) {
		uint8_t code = p[i++];

		if (code == OPT_PAD)
			continue;
		if (i == n || p[i] > n - i - 1)
			return -1;
		if (!o->value[code]) {
			o->value[code] = p + i + 1;
			o->size[code] = p[i];
		}
		i += 1u + p[i];
	}
	return 0;
}

static const uint8_t *get(const struct options *o, uint8_t code, size_t size)
{
	return o->size[code] == size ? o->value[code] : NULL;
}

/* RFC 2131, 4.1: the fields of names may hold options. */
static int collect_all(struct options *o, const uint8_t *p, size_t n)
{
	const uint8_t *over;

	if (collect(o, p + AT_OPTIONS, n - AT_OPTIONS) != 0)
		return -1;
	over = get(o, OPT_OVERLOAD, 1);
	if (over && *over & 1 && collect(o, p + AT_FILE, AT_MAGIC - AT_FILE) != 0)
		return -1;
	return over && *over & 2 ? collect(o, p + AT_SNAME, AT_FILE - AT_SNAME) : 0;
}

static bool one_host(const uint8_t ip[4])
{
	return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

static int read_mask(struct dhcp_answer *a, const struct options *o, struct err *e)
{
	const uint8_t *p = get(o, OPT_MASK, 4);
	uint32_t mask = p ? get32(p) : 0;

	a->prefix = PREFIX;
	if (!o->value[OPT_MASK])
		return 0;
	/* Ones, then zeroes: what is behind the ones is a power of two less one. */
	if (!mask || (~mask & (~mask + 1)) != 0)
		return err_set(e, ERR_PROTO, "not a subnet mask");
	for (a->prefix = 0; mask; mask <<= 1)
		a->prefix++;
	return 0;
}

static uint32_t seconds(const struct options *o, uint8_t code, uint32_t otherwise)
{
	const uint8_t *p = get(o, code, 4);

	return p ? get32(p) : otherwise;
}

/* RFC 2131, 4.4.5 */
static void read_times(struct dhcp_answer *a, const struct options *o)
{
	a->lease_s = seconds(o, OPT_LEASE, LEASE_S);
	if (a->lease_s < LEASE_LEAST_S)
		a->lease_s = LEASE_LEAST_S;
	a->renew_s = seconds(o, OPT_RENEW, a->lease_s / 2);
	a->rebind_s = seconds(o, OPT_REBIND, a->lease_s - a->lease_s / 8);
	if (a->rebind_s > a->lease_s || a->rebind_s == 0)
		a->rebind_s = a->lease_s - a->lease_s / 8;
	if (a->renew_s > a->rebind_s || a->renew_s == 0)
		a->renew_s = a->rebind_s / 2;
}

static void read_dns(struct dhcp_answer *a, const struct options *o)
{
	const uint8_t *p = o->value[OPT_DNS];

	for (size_t i = 0; p && i + 4 <= o->size[OPT_DNS] && a->dns_count < DHCP_DNS_MAX; i += 4)
		if (one_host(p + i))
			memcpy(a->dns[a->dns_count++], p + i, 4);
}

static int read_lease(struct dhcp_answer *a, const uint8_t *p, const struct options *o,
		      struct err *e)
{
	const uint8_t *router = o->size[OPT_ROUTER] >= 4 ? o->value[OPT_ROUTER] : NULL;
	const uint8_t *mtu = get(o, OPT_MTU, 2);

	memcpy(a->address, p + AT_YIADDR, 4);
	if (!one_host(a->address))
		return err_set(e, ERR_PROTO, "not an address for a host");
	if (!one_host(a->server))
		return err_set(e, ERR_PROTO, "it does not say which server it is of");
	if (router && one_host(router))
		memcpy(a->router, router, 4);
	if (mtu && get16(mtu) >= MTU_LEAST)
		a->mtu = get16(mtu);
	read_dns(a, o);
	read_times(a, o);
	return read_mask(a, o, e);
}

static bool is_for(const uint8_t *p, size_t n, uint32_t xid, const uint8_t mac[static 6])
{
	return n >= AT_OPTIONS && n <= DHCP_MOST && p[AT_OP] == 2 && p[AT_HTYPE] == 1 &&
	       p[AT_HLEN] == 6 && get32(p + AT_XID) == xid && memcmp(p + AT_CHADDR, mac, 6) == 0 &&
	       memcmp(p + AT_MAGIC, magic, 4) == 0;
}

int dhcp_read(struct dhcp_answer *a, const uint8_t *p, size_t n, uint32_t xid,
	      const uint8_t mac[static 6], struct err *e)
{
	struct options o = { 0 };
	const uint8_t *type, *server;

	*a = (struct dhcp_answer){ 0 };
	if (!is_for(p, n, xid, mac))
		return err_set(e, ERR_PROTO, "DHCP: not an answer to us");
	if (collect_all(&o, p, n) != 0)
		return err_set(e, ERR_PROTO, "DHCP: an option reaches beyond the end");
	type = get(&o, OPT_TYPE, 1);
	server = get(&o, OPT_SERVER, 4);
	if (!type || (*type != DHCP_OFFER && *type != DHCP_ACK && *type != DHCP_NAK))
		return err_set(e, ERR_PROTO, "DHCP: neither OFFER, ACK nor NAK");
	a->type = (enum dhcp_type) * type;
	if (server)
		memcpy(a->server, server, 4);
	if (a->type != DHCP_NAK && read_lease(a, p, &o, e) != 0)
		return err_wrap(e, "DHCP");
	return 0;
}
