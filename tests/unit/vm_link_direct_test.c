/* link_direct(): bytes that go into the pipe from where they are, and when they do not. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/vm_link_rig.h"

static struct side host, guest;
static struct user a, b; /* of the host, of the guest */
static uint8_t block[FRAME_HEAD + 2 * LINK_PIECE];
static uint8_t *const bytes = block + FRAME_HEAD;

static void begin(void)
{
	const struct link_opts o = { .streams_max = 8 }; /* a window of more than a frame */

	side_init(&host, LINK_HOST, &o);
	side_init(&guest, LINK_GUEST, &o);
	rig_greet(&host, &guest);
	rig_open(&host, &guest, &a, &b);
}
static void end(void)
{
	rig_free(&host, &guest);
}

/* What is left to the caller: to put the frame into the pipe. */
static size_t send_direct(size_t n)
{
	struct err e = { 0 };
	size_t sent;

	for (size_t i = 0; i < n; i++)
		bytes[i] = rig_pattern(b.wrote + i);
	sent = link_direct(b.s, bytes, n);
	if (sent && link_input(host.l, block, FRAME_HEAD + sent, &e) != 0)
		fail_msg("%s", e.msg);
	b.wrote += sent;
	return sent;
}

static void arrives_as_any_other(void **state)
{
	(void)state;
	begin();
	stream_credit(a.s, SIZE_MAX);
	assert_int_equal(send_direct(1), 1);
	assert_int_equal(user_write(&b, 3000), 3000);
	rig_pump(&host, &guest);
	assert_int_equal(send_direct(LINK_PIECE), LINK_PIECE);
	rig_pump(&host, &guest);
	assert_int_equal(send_direct(20), 20);
	assert_int_equal(a.n, 1 + 3000 + LINK_PIECE + 20);
	assert_int_equal(a.n, b.wrote);
	assert_int_equal(a.bad, 0);
	assert_false(link_pending(guest.l));
	end();
}

static void a_frame_at_most(void **state)
{
	(void)state;
	begin();
	stream_credit(a.s, SIZE_MAX);
	assert_int_equal(send_direct(LINK_PIECE + 1), LINK_PIECE);
	assert_int_equal(a.n, LINK_PIECE);
	end();
}

static void no_more_than_was_granted(void **state)
{
	size_t all = 0, n;

	(void)state;
	begin();
	while ((n = send_direct(1000)) > 0) /* nobody reads */
		all += n;
	assert_true(all >= 4096 && all <= 1024 * 1024);
	assert_int_equal(link_held(host.l), all);
	assert_int_equal(user_write(&b, 10), 10); /* this waits */
	assert_int_equal(send_direct(10), 0);
	stream_credit(a.s, SIZE_MAX);
	rig_pump(&host, &guest);
	assert_true(send_direct(10) > 0);
	assert_int_equal(a.n, b.wrote);
	assert_int_equal(a.bad, 0);
	end();
}

static void not_before_what_waits(void **state)
{
	struct user c, d;

	(void)state;
	begin();
	rig_open(&host, &guest, &c, &d);
	stream_credit(a.s, SIZE_MAX);
	stream_credit(c.s, SIZE_MAX);
	assert_int_equal(user_write(&b, 10), 10); /* its own */
	assert_int_equal(send_direct(10), 0);
	rig_pump(&host, &guest);
	assert_int_equal(user_write(&d, 10), 10); /* another's */
	assert_int_equal(send_direct(10), 0);
	rig_pump(&host, &guest);
	link_ping(guest.l, 7); /* the link's */
	assert_int_equal(send_direct(10), 0);
	rig_pump(&host, &guest);
	assert_int_equal(send_direct(10), 10);
	end();
}

static void not_after_the_end(void **state)
{
	(void)state;
	begin();
	stream_shutdown(b.s);
	assert_int_equal(send_direct(10), 0);
	rig_pump(&host, &guest);
	assert_int_equal(send_direct(10), 0);
	stream_close(b.s);
	assert_int_equal(send_direct(10), 0);
	end();

	begin();
	stream_close(a.s); /* STOP: nobody reads it */
	rig_move(&host, &guest, 0, SIZE_MAX);
	assert_int_equal(link_direct(b.s, bytes, 10), 0);
	end();

	begin();
	stream_abort(a.s);
	rig_move(&host, &guest, 0, SIZE_MAX);
	assert_int_equal(link_direct(b.s, bytes, 10), 0); /* before it has heard of it */
	end();

	begin();
	link_goodbye(guest.l, "so long");
	assert_int_equal(link_direct(b.s, bytes, 10), 0);
	rig_move(&guest, &host, 0, SIZE_MAX);
	assert_int_equal(link_direct(b.s, bytes, 10), 0);
	link_break(guest.l, NULL);
	assert_int_equal(link_direct(b.s, bytes, 10), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrives_as_any_other),     cmocka_unit_test(a_frame_at_most),
		cmocka_unit_test(no_more_than_was_granted), cmocka_unit_test(not_before_what_waits),
		cmocka_unit_test(not_after_the_end),
	};

	return cmocka_run_group_tests_name("vm_link_direct", tests, NULL, NULL);
}
