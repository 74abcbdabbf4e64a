/* DHCP's packets: what the client writes, and what it takes of a server's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/agent/dhcp.h"

enum { XID = 0x01020304, OPTIONS = 240 };
static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

struct packet {
	uint8_t p[DHCP_MOST + 1];
	size_t n;
};

static void add(struct packet *k, uint8_t code, const void *p, uint8_t n)
{
	k->p[k->n++] = code;
	k->p[k->n++] = n;
	memcpy(k->p + k->n, p, n);
	k->n += n;
}

#define ADD(k, code, ...)                                      \
	do {                                                   \
		const uint8_t bytes_[] = { __VA_ARGS__ };      \
		add(k, code, bytes_, (uint8_t)sizeof(bytes_)); \
	} while (0)

static struct packet packet(uint8_t type)
{
	static const uint8_t head[] = { 2, 1, 6, 0, 1, 2, 3, 4 };
	static const uint8_t address[] = { 10, 0, 2, 15 }, magic[] = { 99, 130, 83, 99 };
	struct packet k = { .n = OPTIONS };

	memcpy(k.p, head, sizeof(head));
	memcpy(k.p + 16, address, 4);
	memcpy(k.p + 28, mac, 6);
	memcpy(k.p + 236, magic, 4);
	ADD(&k, 53, type);
	ADD(&k, 54, 10, 0, 2, 2);
	return k;
}

static int read_it(struct dhcp_answer *a, const struct packet *k, struct err *e)
{
	*e = (struct err){ 0 };
	return dhcp_read(a, k->p, k->n, XID, mac, e);
}

static void test_ack(void **state)
{
	struct packet k = packet(DHCP_ACK);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	ADD(&k, 1, 255, 255, 240, 0);
	ADD(&k, 3, 10, 0, 2, 2, 10, 0, 2, 9);
	ADD(&k, 0xfe, 1, 2, 3); /* unknown */
	k.p[k.n++] = 0;         /* pad */
	ADD(&k, 6, 10, 0, 2, 3, 127, 0, 0, 1, 9, 9, 9, 9);
	ADD(&k, 26, 0x05, 0xdc);
	ADD(&k, 51, 0, 0, 0, 100);
	k.p[k.n++] = 255;
	assert_int_equal(read_it(&a, &k, &e), 0);
	assert_int_equal(a.type, DHCP_ACK);
	assert_memory_equal(a.address, ((uint8_t[]){ 10, 0, 2, 15 }), 4);
	assert_memory_equal(a.server, ((uint8_t[]){ 10, 0, 2, 2 }), 4);
	assert_memory_equal(a.router, ((uint8_t[]){ 10, 0, 2, 2 }), 4);
	assert_int_equal(a.prefix, 20);
	assert_int_equal(a.dns_count, 2); /* a loopback is no server for us */
	assert_memory_equal(a.dns[1], ((uint8_t[]){ 9, 9, 9, 9 }), 4);
	assert_int_equal(a.mtu, 1500);
	assert_int_equal(a.lease_s, 100);
	assert_int_equal(a.renew_s, 50);
	assert_int_equal(a.rebind_s, 88);
}

static void test_least(void **state)
{
	struct packet k = packet(DHCP_OFFER);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	assert_int_equal(read_it(&a, &k, &e), 0); /* no END either */
	assert_int_equal(a.prefix, 24);
	assert_int_equal(a.router[0] + a.dns_count + a.mtu, 0);
	assert_int_equal(a.lease_s, 3600);
}

static void test_times(void **state)
{
	static const struct {
		uint8_t lease, renew, rebind;
		uint32_t got[3];
	} t[] = {
		{ 100, 20, 60, { 100, 20, 60 } },     { 100, 90, 60, { 100, 30, 60 } },
		{ 100, 10, 200, { 100, 10, 88 } },    { 0, 0, 0, { 4, 2, 4 } },
		{ 100, 100, 100, { 100, 100, 100 } },
	};
	struct dhcp_answer a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct packet k = packet(DHCP_ACK);

		ADD(&k, 51, 0, 0, 0, t[i].lease);
		ADD(&k, 58, 0, 0, 0, t[i].renew);
		ADD(&k, 59, 0, 0, 0, t[i].rebind);
		assert_int_equal(read_it(&a, &k, &e), 0);
		assert_int_equal(a.lease_s, t[i].got[0]);
		assert_int_equal(a.renew_s, t[i].got[1]);
		assert_int_equal(a.rebind_s, t[i].got[2]);
	}
}

static void test_for_ever(void **state)
{
	struct packet k = packet(DHCP_ACK);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	ADD(&k, 51, 255, 255, 255, 255);
	assert_int_equal(read_it(&a, &k, &e), 0);
	assert_int_equal(a.lease_s, DHCP_FOR_EVER);
	assert_true(a.renew_s <= a.rebind_s && a.rebind_s <= a.lease_s);
}

/* RFC 2132, 9.3: options in the fields of names. */
static void test_overload(void **state)
{
	struct packet k = packet(DHCP_ACK);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	ADD(&k, 52, 3);
	memcpy(k.p + 108, ((uint8_t[]){ 3, 4, 10, 0, 2, 7, 255 }), 7);
	memcpy(k.p + 44, ((uint8_t[]){ 6, 4, 10, 0, 2, 8 }), 6);
	assert_int_equal(read_it(&a, &k, &e), 0);
	assert_int_equal(a.router[3], 7);
	assert_int_equal(a.dns[0][3], 8);
	k.p[44 + 63] = 6; /* its length is beyond the field */
	memset(k.p + 50, 0, 57);
	assert_int_equal(read_it(&a, &k, &e), -1);
}

static void test_nak(void **state)
{
	struct packet k = packet(DHCP_NAK);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	memset(k.p + 16, 0, 4);
	assert_int_equal(read_it(&a, &k, &e), 0);
	assert_int_equal(a.type, DHCP_NAK);
}

static void spoil(size_t at, uint8_t value)
{
	struct packet k = packet(DHCP_ACK);
	struct dhcp_answer a;
	struct err e;

	k.p[at] = value;
	if (read_it(&a, &k, &e) == 0)
		fail_msg("byte %zu as %u is taken", at, value);
	assert_int_equal(e.code, ERR_PROTO);
}

static void test_not_ours(void **state)
{
	struct packet k = packet(DHCP_ACK);
	struct dhcp_answer a;
	struct err e;

	(void)state;
	spoil(0, 1);     /* a request */
	spoil(2, 7);     /* length of the MAC */
	spoil(7, 5);     /* xid */
	spoil(33, 9);    /* MAC */
	spoil(239, 0);   /* magic */
	spoil(242, 1);   /* DISCOVER */
	spoil(241, 200); /* an option's length */
	spoil(16, 127);  /* address */
	spoil(16, 0);
	spoil(16, 239);
	spoil(245, 0); /* server */
	for (k.n = 0; k.n < 249; k.n++) {
		if (k.n != 243)
			assert_int_equal(read_it(&a, &k, &e), -1);
	}
	k.n = DHCP_MOST + 1;
	assert_int_equal(read_it(&a, &k, &e), -1);
}

static void test_masks(void **state)
{
	static const struct {
		uint8_t mask[4];
		int prefix; /* -1: refused */
	} t[] = {
		{ { 255, 255, 255, 255 }, 32 }, { { 128, 0, 0, 0 }, 1 },
		{ { 0, 0, 0, 0 }, -1 },         { { 255, 0, 255, 0 }, -1 },
		{ { 0, 255, 255, 255 }, -1 },   { { 255, 255, 255, 254 }, 31 },
	};
	struct dhcp_answer a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct packet k = packet(DHCP_ACK);

		add(&k, 1, t[i].mask, 4);
		assert_int_equal(read_it(&a, &k, &e), t[i].prefix < 0 ? -1 : 0);
		if (t[i].prefix >= 0)
			assert_int_equal(a.prefix, t[i].prefix);
	}
}

static const uint8_t *find(const uint8_t *p, uint8_t code)
{
	for (size_t i = OPTIONS; i < DHCP_REQUEST_BYTES && p[i] != 255; i += 2u + p[i + 1])
		if (p[i] == code)
			return p + i;
	return NULL;
}

static void test_discover(void **state)
{
	struct dhcp_question q = { .type = DHCP_DISCOVER, .xid = XID, .secs = 258 };
	uint8_t p[DHCP_REQUEST_BYTES];

	(void)state;
	memcpy(q.mac, mac, 6);
	memset(p, 0xaa, sizeof(p));
	dhcp_write(p, &q);
	assert_memory_equal(p, ((uint8_t[]){ 1, 1, 6, 0, 1, 2, 3, 4, 1, 2, 0x80, 0 }), 12);
	assert_memory_equal(p + 28, mac, 6);
	assert_memory_equal(find(p, 53), ((uint8_t[]){ 53, 1, 1 }), 3);
	assert_memory_equal(find(p, 61), ((uint8_t[]){ 61, 7, 1, 0x52, 0x54, 0, 1, 2, 3 }), 9);
	assert_non_null(find(p, 55));
	assert_null(find(p, 50));
	assert_null(find(p, 54));
}

static void test_request(void **state)
{
	struct dhcp_question q = { .type = DHCP_REQUEST,
				   .requested = { 10, 0, 2, 15 },
				   .server = { 10, 0, 2, 2 } };
	struct dhcp_question renew = { .type = DHCP_REQUEST, .own = { 10, 0, 2, 15 } };
	uint8_t p[DHCP_REQUEST_BYTES];

	(void)state;
	dhcp_write(p, &q);
	assert_memory_equal(find(p, 50), ((uint8_t[]){ 50, 4, 10, 0, 2, 15 }), 6);
	assert_memory_equal(find(p, 54), ((uint8_t[]){ 54, 4, 10, 0, 2, 2 }), 6);
	dhcp_write(p, &renew);
	assert_int_equal(p[10], 0); /* the answer may be unicast */
	assert_memory_equal(p + 12, renew.own, 4);
	assert_null(find(p, 50)); /* RFC 2131, table 5 */
	assert_null(find(p, 54));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ack),      cmocka_unit_test(test_least),
		cmocka_unit_test(test_times),    cmocka_unit_test(test_for_ever),
		cmocka_unit_test(test_overload), cmocka_unit_test(test_nak),
		cmocka_unit_test(test_not_ours), cmocka_unit_test(test_masks),
		cmocka_unit_test(test_discover), cmocka_unit_test(test_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
