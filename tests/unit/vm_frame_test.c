/* vm/frame.h: what is written is read again, byte for byte as docs/PROTOCOL.vm has it. */
#include <string.h>

#include "base/log.h"
#include "tests/support/cmocka_all.h"
#include "vm/frame.h"

static struct err e;

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_true(addr_from_literal(text, port, &a));
	return a;
}

static bool same(const struct addr *a, const struct addr *b)
{
	return a->len == b->len && (a->len == 0 || addr_same_host(a, b)) &&
	       addr_port(a) == addr_port(b);
}

static void heads(void **state)
{
	struct frame_head h;
	uint8_t p[FRAME_HEAD];

	(void)state;
	frame_head_write(p, FRAME_DATA, 0x1234, 0xfedcba98);
	assert_memory_equal(p, "\x30\x00\x12\x34\xfe\xdc\xba\x98", FRAME_HEAD);
	assert_int_equal(frame_head_read(&h, p, &e), 0);
	assert_int_equal(h.type, FRAME_DATA);
	assert_int_equal(h.length, 0x1234);
	assert_true(h.stream == 0xfedcba98);
}

static void limits_of_each_type(void **state)
{
	static const struct {
		uint8_t type;
		const char *name;
		uint32_t least, most;
		bool of_link;
	} t[] = {
		{ 0x01, "HELLO", 48, 111, true },     { 0x02, "WELCOME", 10, 10, true },
		{ 0x03, "NETWORK", 5, 360, true },    { 0x04, "PING", 8, 8, true },
		{ 0x05, "PONG", 8, 8, true },         { 0x06, "LOG", 1, 1025, true },
		{ 0x07, "METRICS", 52, 52, true },    { 0x08, "SHUTDOWN", 0, 0, true },
		{ 0x09, "GOODBYE", 0, 1024, true },   { 0x20, "RESOLVE", 1, 255, false },
		{ 0x21, "ADDRESSES", 9, 276, false }, { 0x22, "OPEN", 9, 276, false },
		{ 0x23, "OPENED", 9, 21, false },     { 0x24, "FAILED", 1, 1025, false },
		{ 0x30, "DATA", 1, 32768, false },    { 0x31, "WINDOW", 4, 4, false },
		{ 0x32, "EOF", 0, 0, false },         { 0x33, "RESET", 0, 0, false },
		{ 0x34, "STOP", 0, 0, false },
	};
	struct frame_head h;
	uint8_t p[FRAME_HEAD];
	size_t known = 0;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		uint32_t id;

		if (known == COUNT(t) || t[known].type != type) {
			frame_head_write(p, (enum frame_type)type, 8, 1);
			assert_int_equal(frame_head_read(&h, p, &e), -1);
			assert_int_equal(e.code, ERR_PROTO);
			assert_string_equal(frame_name((uint8_t)type), "unknown");
			continue;
		}
		id = !t[known].of_link;
		assert_string_equal(frame_name((uint8_t)type), t[known].name);
		for (uint32_t n = 0; n < 40000; n++) {
			frame_head_write(p, (enum frame_type)type, n, id);
			assert_int_equal(frame_head_read(&h, p, &e) == 0,
					 n >= t[known].least && n <= t[known].most);
		}
		frame_head_write(p, (enum frame_type)type, 0xffffff, id);
		assert_int_equal(frame_head_read(&h, p, &e), -1);
		frame_head_write(p, (enum frame_type)type, t[known].most, !id);
		assert_int_equal(frame_head_read(&h, p, &e), -1);
		assert_true(t[known].most <= (type == 0x30 ? FRAME_DATA_MAX : FRAME_CONTROL_MAX));
		known++;
	}
	assert_int_equal(known, COUNT(t));
}

static void hello_and_welcome(void **state)
{
	struct frame_hello h = { .least = 1,
				 .most = 2,
				 .caps = 3,
				 .window = 65536,
				 .streams_max = 1024,
				 .agent = "0.1.0 x86_64" },
			   got;
	struct frame_welcome w = { 1, 1, 4096 }, w2;
	uint8_t p[FRAME_CONTROL_MAX];
	size_t n;

	(void)state;
	memset(h.nonce, 0xab, sizeof(h.nonce));
	n = frame_hello_write(p, &h);
	assert_int_equal(n, 48 + 12);
	assert_memory_equal(p, "\0\1\0\2\0\0\0\3\0\1\0\0\0\0\4\0\xab", 17);
	assert_memory_equal(p + 48, "0.1.0 x86_64", 12);
	assert_int_equal(frame_hello_read(&got, p, n, &e), 0);
	assert_int_equal(got.most, 2);
	assert_int_equal(got.window, 65536);
	assert_int_equal(got.streams_max, 1024);
	assert_memory_equal(got.nonce, h.nonce, FRAME_NONCE);
	assert_string_equal(got.agent, h.agent);
	memset(h.agent, 'a', sizeof(h.agent)); /* not even ended: cut */
	n = frame_hello_write(p, &h);
	assert_int_equal(n, 48 + 63);
	assert_int_equal(frame_hello_read(&got, p, n, &e), 0);
	assert_int_equal(strlen(got.agent), 63);
	for (size_t i = 0; i < 48; i++)
		assert_int_equal(frame_hello_read(&got, p, i, &e), -1);
	h.least = 3;
	n = frame_hello_write(p, &h);
	assert_int_equal(frame_hello_read(&got, p, n, &e), -1);

	n = frame_welcome_write(p, &w);
	assert_int_equal(n, 10);
	assert_memory_equal(p, "\0\1\0\0\0\1\0\0\20\0", 10);
	assert_int_equal(frame_welcome_read(&w2, p, n, &e), 0);
	assert_int_equal(w2.window, 4096);
	assert_int_equal(frame_welcome_read(&w2, p, 9, &e), -1);
	assert_int_equal(frame_welcome_read(&w2, p, 11, &e), -1);
}

static void network(void **state)
{
	struct frame_network a = { .up = true, .prefix = 24, .dns_count = 2 }, b;
	uint8_t p[FRAME_CONTROL_MAX];
	size_t n;

	(void)state;
	a.address = ip("192.168.64.5", 0);
	a.gateway = ip("192.168.64.1", 0);
	a.dns[0] = ip("192.168.64.1", 0);
	a.dns[1] = ip("fe80::1", 0);
	n = frame_network_write(p, &a);
	assert_memory_equal(p, "\1\30\4\xc0\xa8\x40\5\4\xc0\xa8\x40\1\2\4\xc0\xa8\x40\1\6\xfe\x80",
			    21);
	assert_int_equal(frame_network_read(&b, p, n, &e), 0);
	assert_true(b.up && b.prefix == 24 && b.dns_count == 2);
	assert_true(same(&a.address, &b.address) && same(&a.gateway, &b.gateway));
	assert_true(same(&a.dns[0], &b.dns[0]) && same(&a.dns[1], &b.dns[1]));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(frame_network_read(&b, p, i, &e), -1);

	a = (struct frame_network){ .why = "no DHCP answer" };
	n = frame_network_write(p, &a);
	assert_int_equal(n, 5 + 14);
	assert_int_equal(frame_network_read(&b, p, n, &e), 0);
	assert_false(b.up);
	assert_int_equal(b.address.len + b.gateway.len, 0);
	assert_string_equal(b.why, "no DHCP answer");
	memset(a.why, 'w', sizeof(a.why));
	a.dns_count = 9; /* more than there are */
	for (int i = 0; i < FRAME_DNS_MAX; i++)
		a.dns[i] = ip("2001:db8::1", 0);
	a.address = a.gateway = a.dns[0];
	n = frame_network_write(p, &a);
	assert_int_equal(n, 3 + 6 * 17 + 255);
	assert_int_equal(frame_network_read(&b, p, n, &e), 0);
	assert_int_equal(strlen(b.why), 255);
	assert_int_equal(frame_network_read(&b, p, n - 1, &e), 0);
}

static void metrics(void **state)
{
	struct frame_metrics a = { 1, 2, 3, 4, 5, 6, 7, 0x0102030405060708 }, b;
	uint8_t p[FRAME_CONTROL_MAX];
	size_t n = frame_metrics_write(p, &a);

	(void)state;
	assert_int_equal(n, 52);
	assert_memory_equal(p + 44, "\1\2\3\4\5\6\7\10", 8);
	assert_int_equal(frame_metrics_read(&b, p, n, &e), 0);
	assert_true(b.memory_total == 1 && b.memory_available == 2 && b.bytes_up == 3);
	assert_true(b.bytes_down == 4 && b.streams == 5 && b.dials == 6 && b.failed == 7);
	assert_true(b.uptime_ms == a.uptime_ms);
	assert_int_equal(frame_metrics_read(&b, p, n - 1, &e), -1);
}

static void addresses(void **state)
{
	struct frame_addresses a = { .flags = FRAME_OPEN_SIBLINGS, .count = 2 }, b;
	uint8_t p[FRAME_CONTROL_MAX];
	size_t n;

	(void)state;
	a.list[0] = ip("192.0.2.1", 443);
	a.list[1] = ip("2001:db8::1", 443);
	n = frame_addresses_write(p, &a);
	assert_int_equal(n, 4 + 5 + 17);
	assert_memory_equal(p, "\1\1\xbb\2\4\xc0\0\2\1\6\x20\1\xd\xb8", 14);
	assert_int_equal(frame_addresses_read(&b, p, n, &e), 0);
	assert_int_equal(b.flags, FRAME_OPEN_SIBLINGS);
	assert_true(same(&a.list[0], &b.list[0]) && same(&a.list[1], &b.list[1]));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(frame_addresses_read(&b, p, i, &e), -1);
	assert_int_equal(frame_addresses_read(&b, p, n + 1, &e), -1);
	a.count = 99;
	for (int i = 0; i < FRAME_ADDRESSES_MAX; i++)
		a.list[i] = ip("2001:db8::1", 1);
	assert_int_equal(frame_addresses_write(p, &a), 276);
	assert_int_equal(frame_addresses_read(&b, p, 276, &e), 0);
	assert_int_equal(b.count, FRAME_ADDRESSES_MAX);
}

static void failures(void **state)
{
	struct frame_failed a = { .cause = FRAME_CAUSE_TIMEOUT, .text = "10 s" }, b;
	uint8_t p[FRAME_CONTROL_MAX];
	size_t n = frame_failed_write(p, &a);

	(void)state;
	assert_int_equal(n, 5);
	assert_int_equal(frame_failed_read(&b, p, n, &e), 0);
	assert_int_equal(b.cause, FRAME_CAUSE_TIMEOUT);
	assert_string_equal(b.text, "10 s");
	assert_int_equal(frame_failed_read(&b, p, 1, &e), 0);
	assert_string_equal(b.text, "");
	assert_int_equal(frame_failed_read(&b, p, 0, &e), -1);
	memset(a.text, 't', sizeof(a.text));
	assert_int_equal(frame_failed_write(p, &a), 1025);
	p[5] = 0;
	assert_int_equal(frame_failed_read(&b, p, 1025, &e), -1);
}

static void causes(void **state)
{
	static const struct {
		uint8_t cause;
		enum err_code code;
	} c[] = {
		{ 1, ERR_REFUSED }, { 2, ERR_NETUNREACH }, { 3, ERR_HOSTUNREACH },
		{ 4, ERR_TIMEOUT }, { 5, ERR_RESOLVE },    { 7, ERR_DENIED },
		{ 8, ERR_LIMIT },   { 9, ERR_DIAL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(c); i++) {
		assert_int_equal(frame_cause_err(c[i].cause), c[i].code);
		assert_int_equal(frame_cause_of(c[i].code), c[i].cause);
	}
	assert_int_equal(frame_cause_err(6), ERR_RESOLVE);
	assert_int_equal(frame_cause_err(0), ERR_DIAL);
	assert_int_equal(frame_cause_err(10), ERR_DIAL);
	assert_int_equal(frame_cause_err(255), ERR_DIAL);
	assert_int_equal(frame_cause_of(ERR_NOMEM), FRAME_CAUSE_LIMIT);
	assert_int_equal(frame_cause_of(ERR_TLS), FRAME_CAUSE_OTHER);
	assert_int_equal(FRAME_LOG_LEVEL_MAX, LOG_DEBUG);
}

static void texts(void **state)
{
	char to[5];

	(void)state;
	assert_int_equal(frame_text_read(to, sizeof(to), (const uint8_t *)"abcd", 4, &e), 0);
	assert_string_equal(to, "abcd");
	assert_int_equal(frame_text_read(to, sizeof(to), (const uint8_t *)"abcde", 5, &e), -1);
	assert_int_equal(frame_text_read(to, sizeof(to), (const uint8_t *)"a\0b", 3, &e), -1);
	assert_int_equal(frame_text_read(to, sizeof(to), NULL, 0, &e), 0);
	assert_string_equal(to, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads),
		cmocka_unit_test(limits_of_each_type),
		cmocka_unit_test(hello_and_welcome),
		cmocka_unit_test(network),
		cmocka_unit_test(metrics),
		cmocka_unit_test(addresses),
		cmocka_unit_test(failures),
		cmocka_unit_test(causes),
		cmocka_unit_test(texts),
	};

	return cmocka_run_group_tests_name("vm_frame", tests, NULL, NULL);
}
