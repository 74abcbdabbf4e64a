/* vm/link.h between a host and a guest that mean well. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/vm_link_rig.h"

static struct side host, guest;

static void begin(const struct link_opts *o)
{
	side_init(&host, LINK_HOST, o);
	side_init(&guest, LINK_GUEST, o);
	rig_greet(&host, &guest);
}
static void end(void)
{
	rig_free(&host, &guest);
}

static void greets(void **state)
{
	(void)state;
	side_init(&host, LINK_HOST, NULL);
	side_init(&guest, LINK_GUEST, NULL);
	link_log(guest.l, 2, "first");
	assert_false(link_pending(guest.l)); /* HELLO is first */
	assert_int_equal(rig_move(&guest, &host, 0, SIZE_MAX), 0);
	assert_int_equal(rig_move(&host, &guest, 0, SIZE_MAX), 0);
	rig_greet(&host, &guest);
	assert_string_equal(host.hello.agent, "0.1.0 test");
	assert_int_equal(host.hello.nonce[31], 7);
	assert_int_equal(host.hello.least, FRAME_VERSION);
	assert_int_equal(guest.welcome.version, FRAME_VERSION);
	assert_int_equal(guest.welcome.caps, FRAME_CAP_IPV6);
	assert_int_equal(host.logs, 1);
	assert_string_equal(host.log[0], "first");
	end();
}

static void nothing_before_the_welcome(void **state)
{
	struct frame_hello h = { .agent = "x" };
	struct frame_welcome w = { 0 };
	struct frame_addresses a = { .count = 0 };
	uint32_t id;
	struct err e;

	(void)state;
	side_init(&host, LINK_HOST, NULL);
	side_init(&guest, LINK_GUEST, NULL);
	host.no_welcome = true;
	rig_address(&a, "192.0.2.1", 1);
	assert_int_equal(link_open(host.l, &a, &id, &e), -1);
	assert_int_equal(e.code, ERR_CLOSED);
	link_ping(host.l, 1);
	link_hello(guest.l, &h);
	link_metrics(guest.l, &(struct frame_metrics){ .streams = 3 });
	rig_pump(&host, &guest);
	assert_int_equal(host.hellos, 1);
	assert_int_equal(host.metrics + guest.welcomes, 0);
	assert_int_equal(link_welcome(host.l, &w, &e), 0);
	assert_int_equal(link_welcome(host.l, &w, &e), -1);
	rig_pump(&host, &guest);
	assert_int_equal(host.metrics, 1);
	assert_int_equal(host.last_metrics.streams, 3);
	assert_int_equal(host.pongs, 1);
	end();
}

static void carries_both_ways(void **state)
{
	struct user a, b;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	a.credit_back = b.credit_back = true;
	stream_credit(a.s, 64 << 10);
	stream_credit(b.s, 64 << 10);
	a.write_on_writable = b.write_on_writable = true;
	for (int i = 0; i < 100; i++) {
		user_write(&a, 100000);
		user_write(&b, 70000);
		rig_pump(&host, &guest);
	}
	assert_true(a.wrote > 5000000 && b.wrote > 5000000);
	a.write_on_writable = b.write_on_writable = false;
	rig_pump(&host, &guest);
	assert_int_equal(a.n, b.wrote);
	assert_int_equal(b.n, a.wrote);
	assert_int_equal(a.bad + b.bad, 0);
	stream_shutdown(a.s);
	rig_pump(&host, &guest);
	assert_int_equal(b.eofs, 1);
	assert_int_equal(a.closeds + b.closeds + a.eofs, 0);
	assert_int_equal(user_write(&b, 10), 10); /* half-closed */
	stream_shutdown(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(a.eofs, 1);
	stream_close(a.s);
	stream_close(b.s);
	rig_pump(&host, &guest);
	assert_true(a.clean && b.clean);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greets),
		cmocka_unit_test(nothing_before_the_welcome),
		cmocka_unit_test(carries_both_ways),
	};

	return cmocka_run_group_tests_name("vm_link", tests, NULL, NULL);
}
