/* vm/link.h when memory runs out: one stream may end, or one question; on the guest's side, for
 * want of a place to note a question, the link. Nothing is lost or leaks. */
#include <string.h>

#include "base/mem.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"
#include "tests/support/vm_link_rig.h"

static struct side host, guest;
static unsigned host_failed, guest_failed, ask_failed, streams_failed, all_well;

static bool move(struct side *from, struct side *to)
{
	static uint8_t p[64 * 1024];
	size_t n;

	while ((n = link_pull(from->l, p, sizeof(p))) > 0) {
		struct err e;

		if (link_input(to->l, p, n, &e) == 0)
			continue;
		assert_int_equal(e.code, ERR_NOMEM);
		link_break(to->l, &e);
		return false;
	}
	return true;
}

static void pump(void)
{
	for (int i = 0; i < 10; i++) {
		host_failed += !move(&guest, &host);
		guest_failed += !move(&host, &guest);
		link_run(host.l);
		link_run(guest.l);
	}
}

static void one_stream(void)
{
	struct frame_addresses a = { .count = 0 };
	struct user x = { .credit_back = true }, y = { .credit_back = true };
	struct err e;
	uint32_t id;
	int before = host.answers;

	rig_address(&a, "192.0.2.1", 80);
	if (link_open(host.l, &a, &id, &e) != 0) {
		assert_int_equal(e.code, host.goodbyes ? ERR_CLOSED : ERR_NOMEM);
		ask_failed += e.code == ERR_NOMEM;
		return;
	}
	pump();
	if (!link_streams(guest.l))
		return;
	user_attach(&y, link_opened(guest.l, id, &a.list[0]));
	pump();
	assert_int_equal(host.answers, before + 1);
	user_attach(&x, host.answer[before % RIG_EVENTS].stream);
	if (y.s)
		user_write(&y, 3000);
	if (x.s)
		user_write(&x, 40000);
	pump(); /* nobody has given credit: it is held */
	if (x.s)
		stream_credit(x.s, 10000);
	if (y.s)
		stream_credit(y.s, 100000);
	pump();
	if (x.closeds || y.closeds) {
		streams_failed++;
		assert_true(x.why == ERR_NOMEM || y.why == ERR_NOMEM);
		assert_true(x.why == ERR_RESET || y.why == ERR_RESET);
	} else {
		assert_int_equal(x.n, 3000);
		assert_int_equal(y.n, 40000);
		all_well++;
	}
	if (x.s)
		stream_close(x.s);
	if (y.s)
		stream_close(y.s);
	pump();
	assert_int_equal(x.closeds + y.closeds, 2);
	assert_int_equal(x.bad + y.bad, 0);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
}

static void one_name(void)
{
	struct frame_failed f = { .cause = FRAME_CAUSE_NO_NAME, .text = "no such name" };
	struct err e;
	uint32_t id;
	int before = host.answers;

	if (link_resolve(host.l, "x.example", &id, &e) != 0) {
		assert_int_equal(e.code, host.goodbyes ? ERR_CLOSED : ERR_NOMEM);
		ask_failed += e.code == ERR_NOMEM;
		return;
	}
	link_log(guest.l, 1, "a line");
	pump();
	if (!link_streams(guest.l))
		return;
	link_failed(guest.l, id, &f);
	pump();
	assert_int_equal(host.answers, before + 1); /* at least the cause comes through */
	assert_int_equal(host.answer[before % RIG_EVENTS].cause, FRAME_CAUSE_NO_NAME);
}

static void greet(void)
{
	struct frame_hello h = { .agent = "x" };

	link_hello(guest.l, &h);
	pump();
	assert_int_equal(guest.welcomes, 1);
}

static void each_allocation(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		if (side_try(&host, LINK_HOST) && side_try(&guest, LINK_GUEST)) {
			greet();
			one_name();
			one_stream();
			rig_free(&host, &guest);
		} else {
			link_free(host.l);
		}
		assert_int_equal(mem_held, 0);
	}
	assert_int_equal(host_failed, 0);
	assert_true(guest_failed > 0 && ask_failed > 0 && streams_failed > 0 && all_well > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation),
	};

	return cmocka_run_group_tests_name("vm_link_nomem", tests, NULL, NULL);
}
