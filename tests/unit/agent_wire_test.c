/* The agent's pipe to the host: what it does not take at once waits, and keeps its place. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/vm_link_rig.h"

#include "cmd/agent/wire.h"
#include "cmd/bridge/ev.h"

static struct side host, guest;
static struct user a, b; /* of the host, of the guest */
static struct ev *ev;
static struct wire *wire;
static int far; /* the host's end of the pipe */
static uint8_t block[FRAME_HEAD + 3 * LINK_PIECE];

static void ended(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}

static void begin(void)
{
	int pair[2], small = 4096;
	struct err e;

	side_init(&host, LINK_HOST, NULL);
	side_init(&guest, LINK_GUEST, NULL);
	rig_greet(&host, &guest);
	rig_open(&host, &guest, &a, &b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	far = pair[0];
	assert_int_equal(ev_new(&ev, &e), 0);
	assert_int_equal(wire_new(&wire, ev, guest.l, pair[1], ended, NULL, &e), 0);
}

static void end(void)
{
	wire_free(wire);
	ev_free(ev);
	close(far);
	rig_free(&host, &guest);
}

/* From b, by the wire: how much it took. */
static size_t send_some(size_t n)
{
	size_t sent;

	for (size_t i = 0; i < n; i++)
		block[FRAME_HEAD + i] = rig_pattern(b.wrote + i);
	sent = wire_send(wire, b.s, block + FRAME_HEAD, n);
	b.wrote += sent;
	return sent;
}

/* At most so many bytes of the pipe come to the host: how many did. */
static size_t receive(size_t most)
{
	static uint8_t p[64 * 1024];
	struct err e = { 0 };
	ssize_t n = recv(far, p, most < sizeof(p) ? most : sizeof(p), 0);

	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		return 0;
	}
	if (link_input(host.l, p, (size_t)n, &e) != 0)
		fail_msg("%s", e.msg);
	link_run(host.l);
	(void)rig_move(&host, &guest, 0, SIZE_MAX);
	link_run(guest.l);
	return (size_t)n;
}

static void receive_all(void)
{
	do
		wire_pump(wire);
	while (receive(SIZE_MAX) || !wire_idle(wire));
}

static void goes_at_once(void **state)
{
	(void)state;
	begin();
	stream_credit(a.s, SIZE_MAX);
	assert_int_equal(send_some(500), 500);
	assert_true(wire_idle(wire));
	assert_int_equal(receive(SIZE_MAX), FRAME_HEAD + 500); /* nobody pumped */
	assert_int_equal(a.n, 500);
	assert_int_equal(a.bad, 0);
	end();
}

static void waits_for_a_full_pipe(void **state)
{
	(void)state;
	begin();
	stream_credit(a.s, SIZE_MAX);
	assert_int_equal(send_some(LINK_PIECE), LINK_PIECE);
	assert_false(wire_idle(wire)); /* the pipe has not taken all of it */
	assert_int_equal(send_some(100), 100);
	receive_all();
	assert_int_equal(a.n, LINK_PIECE + 100);
	assert_int_equal(a.bad, 0);
	end();
}

/* Whatever waits, and wherever: pieces of all sizes, some by the stream itself. */
static void keeps_the_order(void **state)
{
	unsigned seed = 1;

	(void)state;
	begin();
	a.credit_back = true;
	stream_credit(a.s, 64 * 1024);
	for (int i = 0; i < 3000; i++) {
		seed = seed * 1103515245u + 12345u;
		if (seed >> 30 == 0)
			(void)user_write(&b, (seed >> 8) % 5000);
		else
			(void)send_some((seed >> 4) % (3 * LINK_PIECE));
		if (seed >> 28 & 1)
			wire_pump(wire);
		if (seed >> 29 & 1)
			(void)receive((seed >> 6) % 40000 + 1);
	}
	receive_all();
	assert_true(b.wrote > 1000 * 1000);
	assert_int_equal(a.n, b.wrote);
	assert_int_equal(a.bad, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_at_once),
		cmocka_unit_test(waits_for_a_full_pipe),
		cmocka_unit_test(keeps_the_order),
	};

	return cmocka_run_group_tests_name("agent_wire", tests, NULL, NULL);
}
