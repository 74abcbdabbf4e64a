/* vm/link.h against a peer that does what it must not: the link says which frame, says GOODBYE, and
 * nothing of ours is harmed. Frames are made by hand. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/vm_link_rig.h"
#include "vm/link_impl.h"

static struct side host, guest;
static struct err e;

static void begin(void)
{
	struct link_opts o = { .streams_max = 4 };

	side_init(&host, LINK_HOST, &o);
	side_init(&guest, LINK_GUEST, &o);
	rig_greet(&host, &guest);
}

/* *s has failed, with this in what it says; a GOODBYE with it is ready, and nothing else. */
static void failed_with(struct side *s, const char *what)
{
	uint8_t p[16384];
	size_t n;

	if (!strstr(e.msg, what))
		fail_msg("'%s' is not in '%s'", what, e.msg);
	n = link_pull(s->l, p, sizeof(p));
	assert_int_equal(p[0], FRAME_GOODBYE);
	assert_int_equal(n, FRAME_HEAD + strlen(e.msg));
	assert_memory_equal(p + FRAME_HEAD, e.msg, strlen(e.msg));
	assert_int_equal(link_pull(s->l, p, sizeof(p)), 0);
	assert_int_equal(rig_feed(s, FRAME_PING, 0, p, 8, &e), -1);
	assert_false(link_pending(s->l));
}

static void end(void)
{
	rig_free(&host, &guest);
}

/* An open stream 1, user of each side; then one frame to the host or to the guest. */
struct wrong {
	uint8_t type;
	uint32_t id;
	const char *payload;
	size_t n;
	const char *what;
};
#define BYTES(s) s, sizeof(s) - 1

static const struct wrong to_host[] = {
	{ 0x00, 0, BYTES(""), "type 0x00" },
	{ 0x0a, 0, BYTES(""), "type 0x0a" },
	{ 0x40, 1, BYTES("udp"), "type 0x40" },
	{ 0xff, 1, BYTES(""), "type 0xff" },
	{ FRAME_HELLO, 0, BYTES(""), "HELLO of 0 bytes" },
	{ FRAME_HELLO, 0, BYTES("123456789012345678901234567890123456789012345678"),
	  "second HELLO" },
	{ FRAME_WELCOME, 0, BYTES("1234567890"), "WELCOME from the guest" },
	{ FRAME_SHUTDOWN, 0, BYTES(""), "SHUTDOWN from the guest" },
	{ FRAME_RESOLVE, 9, BYTES("name"), "RESOLVE from the guest" },
	{ FRAME_OPEN, 9, BYTES("\0\0\120\1\4\1\2\3\4"), "OPEN from the guest" },
	{ FRAME_PING, 1, BYTES("12345678"), "PING of stream 1" },
	{ FRAME_PING, 0, BYTES("1234567"), "PING of 7 bytes" },
	{ FRAME_PONG, 0, BYTES("12345678"), "PONG without a PING" },
	{ FRAME_LOG, 0, BYTES("\4text"), "LOG of level 4" },
	{ FRAME_LOG, 0, BYTES("\1te\0xt"), "LOG: NUL" },
	{ FRAME_METRICS, 0, BYTES("123"), "METRICS of 3 bytes" },
	{ FRAME_NETWORK, 0, BYTES("\1\30\4\12\0\2\17\0\5"), "NETWORK: 5 name servers" },
	{ FRAME_NETWORK, 0, BYTES("\1\30\5\12\0\2\17\0\0"), "NETWORK: its fields" },
	{ FRAME_NETWORK, 0, BYTES("\1\0\0\0\0"), "NETWORK: up" },
	{ FRAME_NETWORK, 0, BYTES("\1\41\4\12\0\2\17\0\0"), "NETWORK: prefix of 33" },
	{ FRAME_GOODBYE, 0, BYTES("a\0b"), "GOODBYE: NUL" },
	{ FRAME_DATA, 0, BYTES("x"), "DATA of stream 0" },
	{ FRAME_DATA, 1, BYTES(""), "DATA of 0 bytes" },
	{ FRAME_DATA, 3, BYTES("x"), "DATA of stream 3, which there never was" },
	{ FRAME_DATA, 2, BYTES("x"), "DATA of stream 2, which is not open yet" },
	{ FRAME_WINDOW, 1, BYTES("\0\0\0\0"), "WINDOW of stream 1: 0" },
	{ FRAME_WINDOW, 1, BYTES("\100\0\0\0"), "WINDOW of stream 1" },
	{ FRAME_WINDOW, 2, BYTES("\0\0\0\1"), "WINDOW of stream 2, which is not open yet" },
	{ FRAME_EOF, 2, BYTES(""), "EOF of stream 2, which is not open yet" },
	{ FRAME_EOF, 7, BYTES(""), "EOF of stream 7, which there never was" },
	{ FRAME_STOP, 2, BYTES(""), "STOP of stream 2" },
	{ FRAME_RESET, 2, BYTES(""), "RESET of stream 2, which is not open yet" },
	{ FRAME_RESET, 4000000000u, BYTES(""), "RESET of stream 4000000000, which there never" },
	{ FRAME_RESET, 1, BYTES("why"), "RESET of 3 bytes" },
	{ FRAME_FAILED, 3, BYTES("\1"), "FAILED of stream 3, which was not asked" },
	{ FRAME_FAILED, 1, BYTES("\1"), "FAILED of stream 1, which was not asked" },
	{ FRAME_OPENED, 1, BYTES("\0\0\120\1\4\1\2\3\4"),
	  "OPENED of stream 1, which was not asked" },
	{ FRAME_ADDRESSES, 2, BYTES("\0\0\0\1\4\1\2\3\4"),
	  "ADDRESSES of stream 2, which was asked something else" },
	{ FRAME_OPENED, 2, BYTES("\0\0\0\1\4\1\2\3\4"), "OPENED of stream 2, which tells not" },
	{ FRAME_OPENED, 2, BYTES("\1\0\120\1\4\1\2\3\4"), "OPENED of stream 2, with flags" },
	{ FRAME_OPENED, 2, BYTES("\0\0\120\1\4\1\2\3\4\5"), "OPENED of stream 2: addresses" },
	{ FRAME_OPENED, 2, BYTES("\0\0\120\1\0\1\2\3\4"), "OPENED of stream 2: addresses" },
	{ FRAME_OPENED, 2, BYTES("\0\0\120\0\4\1\2\3\4"), "OPENED of stream 2: 0 addresses" },
};

static const struct wrong to_guest[] = {
	{ 0x40, 1, BYTES("udp"), "type 0x40" },
	{ FRAME_HELLO, 0, BYTES("123456789012345678901234567890123456789012345678"),
	  "HELLO from the host" },
	{ FRAME_WELCOME, 0, BYTES("\0\1\0\0\0\0\0\0\1\0"), "second WELCOME" },
	{ FRAME_NETWORK, 0, BYTES("\0\0\0\0\0"), "NETWORK from the host" },
	{ FRAME_LOG, 0, BYTES("\1x"), "LOG from the host" },
	{ FRAME_FAILED, 2, BYTES("\1"), "FAILED from the host" },
	{ FRAME_SHUTDOWN, 0, BYTES("now"), "SHUTDOWN of 3 bytes" },
	{ FRAME_RESOLVE, 2, BYTES("name"), "RESOLVE of stream 2, whose number is not new" },
	{ FRAME_RESOLVE, 1, BYTES("name"), "RESOLVE of stream 1, whose number is not new" },
	{ FRAME_RESOLVE, 0xffffffff, BYTES("name"), "whose number is not new" },
	{ FRAME_RESOLVE, 3, BYTES("na\0me"), "RESOLVE of stream 3: NUL" },
	{ FRAME_RESOLVE, 3, BYTES(""), "RESOLVE of 0 bytes" },
	{ FRAME_OPEN, 3, BYTES("\0\0\0\1\4\1\2\3\4"), "OPEN of stream 3, without a port" },
	{ FRAME_OPEN, 3, BYTES("\2\0\120\1\4\1\2\3\4"), "OPEN of stream 3: addresses: flags" },
	{ FRAME_OPEN, 3, BYTES("\0\0\120\21\4\1\2\3\4"), "OPEN of stream 3: 17 addresses" },
	{ FRAME_DATA, 2, BYTES("x"), "DATA of stream 2, which is not open yet" },
	{ FRAME_DATA, 3, BYTES("x"), "DATA of stream 3, which there never was" },
	{ FRAME_EOF, 2, BYTES(""), "EOF of stream 2, which is not open yet" },
	{ FRAME_RESET, 3, BYTES(""), "RESET of stream 3, which there never was" },
	{ FRAME_WINDOW, 1, BYTES("\100\0\0\0"), "WINDOW of stream 1" },
	{ FRAME_PONG, 0, BYTES("12345678"), "PONG without a PING" },
};

static void each_alone(struct side *victim, const struct wrong *w)
{
	struct user a, b;

	begin();
	rig_open(&host, &guest, &a, &b);
	rig_ask_open(&host); /* 2 */
	rig_pump(&host, &guest);
	stream_credit(a.s, 10);
	user_write(victim == &host ? &a : &b, 1000);
	assert_int_equal(rig_feed(victim, w->type, w->id, w->payload, w->n, &e), -1);
	assert_int_equal(e.code, ERR_PROTO);
	failed_with(victim, w->what);
	link_run(victim->l);
	assert_int_equal(a.closeds + b.closeds, 0); /* that is the owner's to say */
	end();
	assert_int_equal(a.closeds + b.closeds, 2);
}

static void names_what_was_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(to_host); i++)
		each_alone(&host, &to_host[i]);
	for (size_t i = 0; i < COUNT(to_guest); i++)
		each_alone(&guest, &to_guest[i]);
}

static void too_long(void **state)
{
	static const uint8_t zeroes[1 << 20];

	(void)state;
	begin();
	assert_int_equal(rig_feed(&host, FRAME_LOG, 0, zeroes, 1026, &e), -1);
	failed_with(&host, "LOG of 1026 bytes");
	assert_int_equal(rig_feed(&guest, FRAME_DATA, 1, zeroes, 1 << 20, &e), -1);
	failed_with(&guest, "DATA of 1048576 bytes");
	end();
}

static void more_than_the_window(void **state)
{
	static const uint8_t zeroes[FRAME_DATA_MAX];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct side *victim = i ? &host : &guest;
		struct user a, b, *u = i ? &a : &b;
		uint32_t window;

		begin();
		rig_open(&host, &guest, &a, &b);
		window = CONTAINER_OF(u->s, struct link_stream, stream)->may_recv;
		for (; window >= FRAME_DATA_MAX; window -= FRAME_DATA_MAX)
			assert_int_equal(
				rig_feed(victim, FRAME_DATA, 1, zeroes, FRAME_DATA_MAX, &e), 0);
		assert_int_equal(rig_feed(victim, FRAME_DATA, 1, zeroes, window + 1, &e), -1);
		failed_with(victim, "DATA of stream 1, more than its window");
		end();
	}
}

static void data_before_opened_left(void **state)
{
	uint32_t id;
	struct user b;

	(void)state;
	begin();
	id = rig_ask_open(&host);
	rig_pump(&host, &guest);
	memset(&b, 0, sizeof(b));
	user_attach(&b, link_opened(guest.l, id, &guest.open.list[0]));
	assert_int_equal(rig_feed(&guest, FRAME_DATA, id, "x", 1, &e), -1);
	failed_with(&guest, "not open yet");
	end();
}

static void answer_before_the_question_left(void **state)
{
	uint32_t id;

	(void)state;
	begin();
	id = rig_ask_open(&host);
	assert_int_equal(rig_feed(&host, FRAME_FAILED, id, "\1", 1, &e), -1);
	failed_with(&host, "FAILED of stream 1, which was not asked");
	end();
}

static void after_its_eof(void **state)
{
	static const uint8_t after[] = { FRAME_DATA, FRAME_EOF };

	(void)state;
	for (size_t i = 0; i < COUNT(after); i++) {
		struct user a, b;

		begin();
		rig_open(&host, &guest, &a, &b);
		assert_int_equal(rig_feed(&host, FRAME_EOF, 1, NULL, 0, &e), 0);
		assert_int_equal(rig_feed(&host, after[i], 1, "x", i == 0, &e), -1);
		failed_with(&host,
			    i ? "EOF of stream 1, again" : "DATA of stream 1, after its EOF");
		assert_int_equal(rig_feed(&guest, FRAME_STOP, 1, NULL, 0, &e), 0);
		assert_int_equal(rig_feed(&guest, FRAME_STOP, 1, NULL, 0, &e), -1);
		failed_with(&guest, "STOP of stream 1, again");
		end();
	}
}

static void too_many(void **state)
{
	(void)state;
	begin();
	for (uint32_t id = 1; id <= 4; id++)
		assert_int_equal(rig_feed(&guest, FRAME_RESOLVE, id, "x", 1, &e), 0);
	assert_int_equal(guest.asks, 4);
	assert_int_equal(rig_feed(&guest, FRAME_RESOLVE, 5, "x", 1, &e), -1);
	failed_with(&guest, "RESOLVE of stream 5, over the 4 that are allowed");
	end();
}

static void of_streams_that_are_gone(void **state)
{
	static const struct {
		uint8_t type, n;
	} late[] = { { FRAME_DATA, 3 },  { FRAME_WINDOW, 4 }, { FRAME_EOF, 0 },   { FRAME_STOP, 0 },
		     { FRAME_RESET, 0 }, { FRAME_FAILED, 2 }, { FRAME_OPENED, 9 } };
	struct user a, b;

	(void)state;
	begin();
	for (int i = 0; i < 2; i++) {
		rig_open(&host, &guest, &a, &b);
		stream_abort(a.s);
		for (size_t k = 0; i == 0 && k < 5; k++) { /* RESET has not left yet */
			if (late[k].type == FRAME_RESET)
				continue;
			assert_int_equal(rig_feed(&host, late[k].type, host.l->last_id, "\0\0\0\1",
						  late[k].n, &e),
					 0);
		}
		rig_pump(&host, &guest);
		for (size_t k = 0; k < COUNT(late); k++)
			assert_int_equal(rig_feed(&host, late[k].type, host.l->last_id,
						  "\0\0\120\1\4\1\2\3\4", late[k].n, &e),
					 0);
		for (size_t k = 0; k < 5; k++)
			assert_int_equal(rig_feed(&guest, late[k].type, host.l->last_id, "\0\0\0\1",
						  late[k].n, &e),
					 0);
	}
	assert_int_equal(host.answers, 2);
	assert_int_equal(link_held(host.l) + link_held(guest.l), 0);
	rig_pump(&host, &guest);
	rig_open(&host, &guest, &a, &b);
	end();
}

static void after_stop_all_is_ignored(void **state)
{
	static const uint8_t zeroes[FRAME_DATA_MAX];
	struct user a, b;

	(void)state;
	begin();
	rig_open(&host, &guest, &a, &b);
	user_write(&a, SIZE_MAX);
	stream_close(a.s); /* bytes wait still */
	for (int i = 0; i < 100; i++)
		assert_int_equal(rig_feed(&host, FRAME_DATA, 1, zeroes, sizeof(zeroes), &e), 0);
	link_run(host.l);
	assert_int_equal(a.n, 0);
	assert_int_equal(link_held(host.l), 0);
	assert_int_equal(rig_feed(&host, FRAME_EOF, 1, NULL, 0, &e), 0);
	rig_pump(&host, &guest);
	assert_int_equal(b.closeds, 0);
	stream_close(b.s);
	end();
}

/* A frame is half there when its stream goes: the rest of it is nobody's. */
static void stream_goes_within_a_frame(void **state)
{
	uint8_t p[FRAME_HEAD + 100] = { 0 }, out[8192];
	struct user a, b;

	(void)state;
	begin();
	rig_open(&host, &guest, &a, &b);
	stream_credit(a.s, 10);
	frame_head_write(p, FRAME_DATA, 100, 1);
	assert_int_equal(link_input(host.l, p, 50, &e), 0);
	assert_int_equal(link_held(host.l), 32);
	stream_abort(a.s);
	link_run(host.l);
	assert_int_equal(link_pull(host.l, out, sizeof(out)), FRAME_HEAD);
	assert_int_equal(link_streams(host.l) + link_held(host.l), 0);
	assert_int_equal(link_input(host.l, p + 50, sizeof(p) - 50, &e), 0);
	assert_int_equal(a.n, 10);
	rig_pump(&host, &guest);
	end();
}

static void hello_must_be_first(void **state)
{
	static const uint8_t types[] = { FRAME_LOG, FRAME_NETWORK, FRAME_DATA, FRAME_PING };
	static const uint8_t zeroes[8] = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(types); i++) {
		struct frame_hello h = { .agent = "x" };
		size_t n = types[i] == FRAME_NETWORK ? 5 : 8;
		uint32_t id = types[i] == FRAME_DATA;

		side_init(&host, LINK_HOST, NULL);
		side_init(&guest, LINK_GUEST, NULL);
		assert_int_equal(rig_feed(&host, types[i], id, zeroes, n, &e), -1);
		failed_with(&host, "before HELLO");
		assert_int_equal(host.logs + host.networks, 0);
		rig_free(&host, &guest);

		side_init(&host, LINK_HOST, NULL);
		side_init(&guest, LINK_GUEST, NULL);
		host.no_welcome = true;
		link_hello(guest.l, &h);
		rig_pump(&host, &guest);
		assert_int_equal(rig_feed(&host, types[i], id, zeroes, n, &e), -1);
		failed_with(&host, "before WELCOME");
		if (types[i] == FRAME_DATA || types[i] == FRAME_PING) {
			assert_int_equal(rig_feed(&guest, types[i], id, zeroes, n, &e), -1);
			failed_with(&guest, "before WELCOME");
		}
		rig_free(&host, &guest);
	}
}

static void welcome_that_does_not_fit(void **state)
{
	static const struct wrong w[] = {
		{ FRAME_WELCOME, 0, BYTES("\0\2\0\0\0\0\0\0\1\0"), "WELCOME to version 2" },
		{ FRAME_WELCOME, 0, BYTES("\0\1\0\0\0\2\0\0\1\0"), "not offered" },
		{ FRAME_WELCOME, 0, BYTES("\0\1\0\0\0\0\0\0\0\0"), "window 0" },
		{ FRAME_WELCOME, 0, BYTES("\0\1\0\0\0\0\100\0\0\1"), "window 1073741825" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(w); i++) {
		struct frame_hello h = { .caps = FRAME_CAP_IPV6 };
		uint8_t p[8192];

		side_init(&host, LINK_HOST, NULL);
		side_init(&guest, LINK_GUEST, NULL);
		link_hello(guest.l, &h);
		if (i == 0) { /* not before it was asked for */
			assert_int_equal(rig_feed(&guest, FRAME_WELCOME, 0, w[i].payload, 10, &e),
					 -1);
			failed_with(&guest, "WELCOME before HELLO");
		} else {
			assert_true(link_pull(guest.l, p, sizeof(p)) > 0);
			assert_int_equal(rig_feed(&guest, FRAME_WELCOME, 0, w[i].payload, 10, &e),
					 -1);
			failed_with(&guest, w[i].what);
		}
		rig_free(&host, &guest);
	}
}

static void no_version_in_common(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct frame_hello h = {
			.least = i ? 2 : 0, .most = i ? 3 : 0, .window = 1000, .streams_max = 1
		};
		uint8_t p[128];
		size_t n = frame_hello_write(p, &h);

		side_init(&host, LINK_HOST, NULL);
		side_init(&guest, LINK_GUEST, NULL);
		assert_int_equal(rig_feed(&host, FRAME_HELLO, 0, p, n, &e), -1);
		assert_int_equal(e.code, ERR_UNSUPPORTED);
		assert_int_equal(host.hellos, 0);
		failed_with(&host, i ? "speaks version 1 of the protocol, the guest 2 to 3"
				     : "speaks version 1 of the protocol, the guest 0 to 0");
		rig_free(&host, &guest);
	}
}

static void later_versions_are_welcome(void **state)
{
	struct frame_hello h = { .least = 1, .most = 9, .caps = 0xffffffff };

	(void)state;
	side_init(&host, LINK_HOST, NULL);
	side_init(&guest, LINK_GUEST, NULL);
	link_hello(guest.l, &h);
	rig_pump(&host, &guest);
	assert_int_equal(guest.welcomes, 1);
	assert_int_equal(guest.welcome.version, FRAME_VERSION);
	assert_int_equal(guest.welcome.caps, FRAME_CAP_IPV6);
	rig_free(&host, &guest);
}

/* Whatever is asked and never read: what waits is bounded by what may be asked at a time. */
static void questions_without_reading(void **state)
{
	static uint8_t p[1 << 20];
	uint32_t id = 0;
	size_t n;

	(void)state;
	begin();
	guest.fail_at_once = true;
	while (id <
	       10000) { /* each is answered at once, and taken back when three others have come */
		assert_int_equal(rig_feed(&guest, FRAME_RESOLVE, ++id, "x", 1, &e), 0);
		if (id > 3)
			assert_int_equal(rig_feed(&guest, FRAME_RESET, id - 3, NULL, 0, &e), 0);
		assert_true(link_streams(guest.l) <= 4);
	}
	assert_int_equal(guest.asks, 10000);
	n = link_pull(guest.l, p, sizeof(p));
	assert_true(n < 200);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_what_was_wrong),
		cmocka_unit_test(too_long),
		cmocka_unit_test(more_than_the_window),
		cmocka_unit_test(data_before_opened_left),
		cmocka_unit_test(answer_before_the_question_left),
		cmocka_unit_test(after_its_eof),
		cmocka_unit_test(too_many),
		cmocka_unit_test(of_streams_that_are_gone),
		cmocka_unit_test(after_stop_all_is_ignored),
		cmocka_unit_test(stream_goes_within_a_frame),
		cmocka_unit_test(hello_must_be_first),
		cmocka_unit_test(welcome_that_does_not_fit),
		cmocka_unit_test(no_version_in_common),
		cmocka_unit_test(later_versions_are_welcome),
		cmocka_unit_test(questions_without_reading),
	};

	return cmocka_run_group_tests_name("vm_link_hostile", tests, NULL, NULL);
}
