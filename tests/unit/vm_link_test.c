/* vm/link.h between a host and a guest that mean well. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/vm_link_rig.h"
#include "vm/link_impl.h"

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

static void split_anywhere(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 70; cut++) {
		struct user a, b;

		begin(NULL);
		rig_open(&host, &guest, &a, &b);
		stream_credit(a.s, 1000);
		user_write(&a, 300);
		user_write(&b, 200);
		stream_shutdown(b.s);
		rig_ask_name(&host, "name.example");
		link_log(guest.l, 1, "cut me");
		link_ping(guest.l, 9);
		rig_move(&host, &guest, cut, SIZE_MAX);
		stream_credit(b.s, 150);
		rig_move(&guest, &host, cut, SIZE_MAX);
		link_run(host.l);
		link_run(guest.l);
		assert_int_equal(b.n, 150);
		stream_credit(b.s, 150);
		rig_pump(&host, &guest);
		assert_int_equal(a.n, 200);
		assert_int_equal(b.n, 300);
		assert_int_equal(a.eofs, 1);
		assert_int_equal(a.bad + b.bad, 0);
		assert_string_equal(guest.name, "name.example");
		assert_string_equal(host.log[0], "cut me");
		assert_int_equal(guest.pongs, 1);
		stream_close(a.s);
		stream_close(b.s);
		end();
	}
}

/* --- questions --- */

static void answers(void **state)
{
	struct frame_addresses a = { .count = 0 };
	struct frame_failed f = { .cause = FRAME_CAUSE_NO_NAME, .text = "no such name" };
	uint32_t one, two;

	(void)state;
	begin(NULL);
	one = rig_ask_name(&host, "one.example");
	two = rig_ask_name(&host, "two.example");
	assert_true(two > one);
	rig_pump(&host, &guest);
	assert_int_equal(guest.asks, 2);
	rig_address(&a, "192.0.2.1", 443); /* ADDRESSES have no port */
	rig_address(&a, "2001:db8::1", 443);
	a.flags = FRAME_OPEN_SIBLINGS;
	link_failed(guest.l, two, &f);
	link_addresses(guest.l, one, &a);
	link_addresses(guest.l, one, &a); /* once is enough */
	link_failed(guest.l, one, &f);
	link_failed(guest.l, 999, &f);
	rig_pump(&host, &guest);
	assert_int_equal(host.answers, 2);
	assert_int_equal(host.answer[0].id, two);
	assert_int_equal(host.answer[0].cause, FRAME_CAUSE_NO_NAME);
	assert_string_equal(host.answer[0].text, "no such name");
	assert_int_equal(host.answer[1].id, one);
	assert_int_equal(host.answer[1].addresses, 2);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
	end();
}

static void opens_with_all_that_was_asked(void **state)
{
	struct frame_addresses a = { .flags = FRAME_OPEN_SIBLINGS };
	struct user x = { 0 }, y = { 0 };
	uint32_t id;
	char text[ADDR_TEXT];

	(void)state;
	begin(NULL);
	for (int i = 0; i < FRAME_ADDRESSES_MAX; i++)
		rig_address(&a, i % 2 ? "2001:db8::5" : "192.0.2.1", 443);
	assert_int_equal(link_open(host.l, &a, &id, NULL), 0);
	rig_pump(&host, &guest);
	assert_int_equal(guest.open.count, FRAME_ADDRESSES_MAX);
	assert_int_equal(guest.open.flags, FRAME_OPEN_SIBLINGS);
	assert_null(link_opened(guest.l, id + 1, &a.list[0]));
	user_attach(&y, link_opened(guest.l, id, &guest.open.list[1]));
	assert_null(link_opened(guest.l, id, &a.list[0]));
	user_write(&y, 5); /* stands behind OPENED */
	rig_pump(&host, &guest);
	addr_format(&host.answer[0].to, text);
	assert_string_equal(text, "[2001:db8::5]:443");
	user_attach(&x, host.answer[0].stream);
	stream_credit(x.s, 10);
	rig_pump(&host, &guest);
	assert_int_equal(x.n, 5);
	end();
	assert_int_equal(x.closeds + y.closeds, 2);
}

static void wrong_questions_are_not_asked(void **state)
{
	struct frame_addresses a = { .count = 0 };
	char name[300];
	uint32_t id;
	struct err e;

	(void)state;
	begin(NULL);
	assert_int_equal(link_open(host.l, &a, &id, &e), -1);
	rig_address(&a, "192.0.2.1", 0);
	assert_int_equal(link_open(host.l, &a, &id, &e), -1);
	assert_int_equal(link_resolve(host.l, "", &id, &e), -1);
	memset(name, 'a', sizeof(name));
	name[256] = '\0';
	assert_int_equal(link_resolve(host.l, name, &id, &e), -1);
	name[255] = '\0';
	assert_int_equal(link_resolve(host.l, name, &id, &e), 0);
	rig_pump(&host, &guest);
	assert_int_equal(strlen(guest.name), 255);
	end();
}

static void taken_back_before_it_leaves(void **state)
{
	uint32_t id;

	(void)state;
	begin(NULL);
	id = rig_ask_open(&host);
	link_take_back(host.l, id);
	assert_int_equal(link_streams(host.l), 0);
	assert_false(link_pending(host.l));
	rig_pump(&host, &guest);
	assert_int_equal(guest.asks, 0);
	link_take_back(host.l, id);
	link_take_back(host.l, 77);
	end();
}

static void taken_back_on_its_way(void **state)
{
	struct frame_addresses a = { .count = 0 };
	uint32_t id;

	(void)state;
	begin(NULL);
	id = rig_ask_open(&host);
	rig_pump(&host, &guest);
	link_take_back(host.l, id);
	rig_pump(&host, &guest);
	assert_int_equal(guest.taken_backs, 1);
	assert_int_equal(guest.taken_back[0], id);
	rig_address(&a, "192.0.2.1", 80);
	assert_null(link_opened(guest.l, id, &a.list[0])); /* too late */
	rig_pump(&host, &guest);
	assert_int_equal(host.answers, 0);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
	end();
}

/* The answer is under way when it is taken back: all kinds, and at each moment. */
static void taken_back_meets_its_answer(void **state)
{
	(void)state;
	for (int i = 0; i < 12; i++) {
		struct frame_failed f = { .cause = FRAME_CAUSE_TIMEOUT };
		struct frame_addresses a = { .count = 0 };
		struct user b = { 0 };
		uint32_t id;

		begin(NULL);
		rig_address(&a, "192.0.2.1", 80);
		id = i % 3 == 0 ? rig_ask_name(&host, "x.example") : rig_ask_open(&host);
		rig_pump(&host, &guest);
		if (i % 3 == 0)
			link_addresses(guest.l, id, &a);
		else if (i % 3 == 1)
			link_failed(guest.l, id, &f);
		else
			user_attach(&b, link_opened(guest.l, id, &a.list[0]));
		if (b.s)
			user_write(&b, 1000);
		if (i < 6) { /* the answer has left; RESET has, or has not */
			link_take_back(host.l, id);
			if (i < 3)
				rig_move(&guest, &host, 0, SIZE_MAX);
		} else { /* RESET comes when the answer has not left yet */
			link_take_back(host.l, id);
			rig_move(&host, &guest, 0, SIZE_MAX);
		}
		rig_pump(&host, &guest);
		assert_int_equal(host.answers, 0);
		assert_int_equal(guest.taken_backs, 0); /* it had been answered */
		assert_int_equal(b.closeds, i % 3 == 2);
		if (b.closeds)
			assert_int_equal(b.why, ERR_RESET);
		assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
		end();
	}
}

static void not_more_than_both_allow(void **state)
{
	struct link_opts many = { .streams_max = 100 }, few = { .streams_max = 3 };
	struct frame_addresses a = { .count = 0 };
	struct frame_failed f = { .cause = FRAME_CAUSE_TIMEOUT };
	uint32_t id[4];
	struct err e;

	(void)state;
	for (int i = 0; i < 2; i++) {
		side_init(&host, LINK_HOST, i ? &many : &few);
		side_init(&guest, LINK_GUEST, i ? &few : &many);
		rig_greet(&host, &guest);
		a.count = 0;
		rig_address(&a, "192.0.2.1", 80);
		for (int k = 0; k < 3; k++)
			id[k] = rig_ask_open(&host);
		assert_int_equal(link_open(host.l, &a, &id[3], &e), -1);
		assert_int_equal(e.code, ERR_LIMIT);
		rig_pump(&host, &guest);
		link_failed(guest.l, id[1], &f);
		assert_int_equal(link_open(host.l, &a, &id[3], &e), -1);
		rig_pump(&host, &guest);
		assert_int_equal(link_open(host.l, &a, &id[3], &e), 0);
		rig_pump(&host, &guest);
		assert_int_equal(guest.asks, 4);
		end();
	}
}

/* The host is done with a stream, the guest's destination has not taken all of it yet. */
static void guest_refuses_what_it_has_no_room_for(void **state)
{
	struct link_opts o = { .streams_max = 2 };
	struct user a[3], b[3];

	(void)state;
	begin(&o);
	for (int i = 0; i < 2; i++) {
		rig_open(&host, &guest, &a[i], &b[i]);
		user_write(&a[i], 100);
		stream_shutdown(b[i].s);
		stream_close(a[i].s);
		rig_pump(&host, &guest);
	}
	assert_int_equal(link_streams(host.l), 0);
	assert_int_equal(link_streams(guest.l), 2);
	rig_ask_open(&host);
	rig_pump(&host, &guest);
	assert_int_equal(host.answers, 3);
	assert_int_equal(host.answer[2].cause, FRAME_CAUSE_LIMIT);
	assert_int_equal(guest.asks, 2);
	stream_credit(b[0].s, 100);
	rig_pump(&host, &guest);
	assert_int_equal(b[0].n, 100);
	assert_int_equal(b[0].eofs, 1);
	assert_int_equal(b[0].closeds, 1); /* STOP or EOF both ways: nothing more can come */
	rig_open(&host, &guest, &a[2], &b[2]);
	stream_close(b[1].s); /* the link's end is none for it: it has all */
	end();
	assert_int_equal(b[1].closeds + a[2].closeds + b[2].closeds, 3);
}

static void numbers_begin_anew(void **state)
{
	struct user a, b, x, y;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b); /* 1, and it stays */
	host.l->last_id = guest.l->last_id = 0x70000000;
	rig_pump(&host, &guest);
	for (int i = 0; i < 2; i++) {
		host.l->last_id = guest.l->last_id = i ? 0xfffffffd : 0xe0000000;
		rig_open(&host, &guest, &x, &y);
		stream_abort(x.s);
		rig_pump(&host, &guest);
	}
	rig_open(&host, &guest, &x, &y); /* 0xffffffff */
	assert_true(host.l->last_id == 0xffffffff);
	rig_open(&host, &guest, &x, &y);
	assert_int_equal(host.l->last_id, 2); /* not 0, not 1 */
	stream_credit(y.s, 10);
	stream_credit(b.s, 10);
	user_write(&x, 3);
	user_write(&a, 4);
	rig_pump(&host, &guest);
	assert_int_equal(y.n, 3);
	assert_int_equal(b.n, 4);
	end();
}

/* --- windows --- */

static void one_stalled_others_not(void **state)
{
	struct user slow_a, slow_b, a, b;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &slow_a, &slow_b);
	rig_open(&host, &guest, &a, &b);
	slow_a.write_on_writable = a.write_on_writable = true;
	b.credit_back = true;
	stream_credit(b.s, 1000000);
	stream_credit(slow_b.s, 100000); /* it reads so much, then no more */
	slow_b.credit_back = false;
	user_write(&slow_a, SIZE_MAX);
	user_write(&a, SIZE_MAX);
	for (int i = 0; i < 500; i++) {
		rig_move(&host, &guest, 0, 64 << 10);
		link_run(guest.l);
		rig_move(&guest, &host, 0, SIZE_MAX);
		link_run(host.l);
		assert_true(link_held(guest.l) <= 256 << 10);
	}
	assert_int_equal(slow_b.n, 100000);
	assert_true(b.n > 450 * (64 << 10)); /* all but the slow one's share of the beginning */
	assert_true(slow_a.wrote <= 100000 + (256 << 10) + (128 << 10));
	stream_credit(slow_b.s, SIZE_MAX);
	slow_a.write_on_writable = a.write_on_writable = false;
	rig_pump(&host, &guest);
	assert_int_equal(slow_b.n, slow_a.wrote);
	assert_int_equal(b.n, a.wrote);
	assert_int_equal(b.bad + slow_b.bad, 0);
	assert_int_equal(link_held(guest.l), 0);
	end();
}

static uint32_t window_of(struct user *writer)
{
	return CONTAINER_OF(writer->s, struct link_stream, stream)->may_send;
}

static void quick_readers_windows_grow(void **state)
{
	struct user a, b;
	uint32_t first;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	first = window_of(&a);
	assert_int_equal(first, 16 << 10);
	b.credit_back = true;
	stream_credit(b.s, 1000000);
	for (int i = 0; i < 20; i++) {
		user_write(&a, SIZE_MAX);
		rig_pump(&host, &guest);
	}
	assert_true(window_of(&a) > 128 << 10);
	assert_true(window_of(&a) <= 256 << 10);
	assert_int_equal(guest.l->extra, (256 << 10) - first);
	stream_shutdown(a.s);
	rig_pump(&host, &guest);
	assert_int_equal(guest.l->extra, 0); /* nothing more will come */
	stream_close(a.s);
	stream_close(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(guest.l->extra + host.l->extra, 0);
	end();
}

static void budget_for_all_slow_readers(void **state)
{
	enum { N = 64, BUDGET = 1 << 20 };
	struct link_opts o = { .streams_max = N, .budget = BUDGET };
	static struct user a[N], b[N];
	uint64_t n = 0;

	(void)state;
	begin(&o);
	for (int i = 0; i < N; i++) {
		rig_open(&host, &guest, &a[i], &b[i]);
		a[i].write_on_writable = true;
		stream_credit(b[i].s, 200000); /* all grow as far as they can */
		user_write(&a[i], SIZE_MAX);
	}
	rig_pump(&host, &guest);
	assert_true(link_held(guest.l) > BUDGET / 2);
	assert_true(link_held(guest.l) <= BUDGET);
	assert_true(host.l->out_extra <= BUDGET / 2);
	for (int i = 0; i < N; i++)
		n += buf_len(&CONTAINER_OF(a[i].s, struct link_stream, stream)->out);
	assert_true(n > BUDGET / 2 && n <= BUDGET);
	for (int i = 0; i < N; i++) {
		assert_true(b[i].n > 0);
		a[i].write_on_writable = false;
		stream_credit(b[i].s, SIZE_MAX);
	}
	rig_pump(&host, &guest);
	for (int i = 0; i < N; i++)
		assert_int_equal(b[i].n, a[i].wrote);
	assert_int_equal(link_held(guest.l), 0);
	assert_int_equal(host.l->out_extra, 0);
	end();
}

static void slow_readers_give_back(void **state)
{
	enum { N = 8, BUDGET = 512 << 10 };
	struct link_opts o = { .streams_max = N, .budget = BUDGET };
	static struct user a[N], b[N];

	(void)state;
	begin(&o);
	for (int i = 0; i < N; i++) {
		rig_open(&host, &guest, &a[i], &b[i]);
		b[i].credit_back = true;
		stream_credit(b[i].s, 1000000);
		for (int k = 0; k < 10; k++) {
			user_write(&a[i], 100000);
			rig_pump(&host, &guest);
		}
	}
	assert_int_equal(guest.l->extra, BUDGET / 2); /* the first have it all */
	b[0].credit_back = b[1].credit_back = false;
	for (int i = 0; i < 40; i++) {
		user_write(&a[0], SIZE_MAX);
		user_write(&a[1], SIZE_MAX);
		rig_pump(&host, &guest);
		stream_credit(b[0].s, 30000);
		stream_credit(b[1].s, 30000);
	}
	assert_true(guest.l->extra < BUDGET / 2);
	end();
}

static void writers_wait_for_room(void **state)
{
	struct user a, b;
	size_t n;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	n = user_write(&a, 1000000);
	assert_int_equal(n, 128 << 10);
	assert_int_equal(user_write(&a, 1), 0);
	link_run(host.l);
	assert_int_equal(a.writables, 0);
	rig_pump(&host, &guest); /* a window is gone, half of all is not */
	assert_int_equal(a.writables, 0);
	stream_credit(b.s, 120 << 10);
	rig_pump(&host, &guest);
	assert_int_equal(a.writables, 1);
	assert_true(user_write(&a, 1000000) >= 64 << 10);
	stream_shutdown(a.s);
	assert_int_equal(user_write(&a, 1), 0);
	end();
}

/* --- whose turn --- */

static size_t frames_in(const uint8_t *p, size_t n, uint8_t *types, uint32_t *ids, size_t most)
{
	size_t count = 0;

	for (size_t at = 0; at < n; at += FRAME_HEAD + (frame_u32(p + at) & 0xffffff)) {
		assert_true(count < most);
		types[count] = p[at];
		ids[count++] = frame_u32(p + at + 4);
	}
	return count;
}

static void small_is_not_behind_bulk(void **state)
{
	enum { BULK = 5 };
	static uint8_t p[1 << 20];
	struct user a[BULK], b[BULK], x, y;
	uint8_t types[64];
	uint32_t ids[64], small;
	size_t n;

	(void)state;
	begin(NULL);
	for (int i = 0; i < BULK; i++) {
		rig_open(&host, &guest, &a[i], &b[i]);
		b[i].credit_back = true;
		stream_credit(b[i].s, 1000000);
		for (int k = 0; k < 10; k++) {
			user_write(&a[i], SIZE_MAX);
			rig_pump(&host, &guest);
		}
	}
	rig_open(&host, &guest, &x, &y);
	small = host.l->last_id;
	for (int i = 0; i < BULK; i++)
		user_write(&a[i], SIZE_MAX);
	n = link_pull(host.l, p, 200000); /* they are at it */
	assert_true(n > 190000);
	assert_int_equal(link_input(guest.l, p, n, NULL), 0);
	user_write(&x, 100);
	link_ping(host.l, 5);
	n = frames_in(p, link_pull(host.l, p, sizeof(p)), types, ids, 64);
	assert_true(n > 10);
	assert_int_equal(types[0], FRAME_PING);
	assert_int_equal(types[1], FRAME_DATA);
	assert_int_equal(ids[1], small);
	for (size_t i = 2; i < 2 + 2 * BULK - 1; i++) /* then each in turn */
		for (size_t k = i + 1; k < i + BULK && k < 2 + 2 * BULK - 1; k++)
			assert_true(ids[i] != ids[k]);
	user_write(&x, 100); /* those had their turns meanwhile: it is before them again */
	assert_true(link_pending(host.l));
	end();
}

static void always_new_does_not_starve(void **state)
{
	static uint8_t p[1 << 20];
	struct user a, b, x, y;
	uint64_t bulk = 0;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	rig_open(&host, &guest, &x, &y);
	b.credit_back = y.credit_back = true;
	stream_credit(b.s, SIZE_MAX / 2);
	stream_credit(y.s, SIZE_MAX / 2);
	for (int i = 0; i < 200; i++) { /* x has always a frame, and never more */
		size_t n;

		user_write(&a, SIZE_MAX);
		if (buf_len(&CONTAINER_OF(x.s, struct link_stream, stream)->out) == 0)
			user_write(&x, 8000);
		n = link_pull(host.l, p, 8200);
		assert_int_equal(link_input(guest.l, p, n, NULL), 0);
		rig_move(&guest, &host, 0, SIZE_MAX);
		link_run(host.l);
		link_run(guest.l);
		bulk = b.n;
	}
	assert_true(bulk > 500000);
	assert_true(y.n > 500000);
	end();
}

static void what_waits_stays_small(void **state)
{
	static uint8_t p[1 << 20];
	uint8_t token[8] = { 0 };
	struct err e;
	size_t n;
	char line[FRAME_TEXT_MAX + 1];

	(void)state;
	begin(NULL);
	for (int i = 0; i < 100000; i++) {
		frame_put_u64(token, (uint64_t)i);
		assert_int_equal(rig_feed(&guest, FRAME_PING, 0, token, 8, &e), 0);
	}
	memset(line, 'x', FRAME_TEXT_MAX);
	line[FRAME_TEXT_MAX] = '\0';
	for (int i = 0; i < 1000; i++) {
		link_log(guest.l, 2, line);
		link_metrics(guest.l, &(struct frame_metrics){ .streams = (uint32_t)i });
		link_network(guest.l, &(struct frame_network){ .prefix = 24, .why = "dhcp" });
	}
	n = link_pull(guest.l, p, sizeof(p));
	assert_true(n < 20000);
	assert_false(link_pending(guest.l));
	assert_int_equal(p[0], FRAME_PONG);
	assert_int_equal(frame_u64(p + FRAME_HEAD), 99999);
	host.l->pinged = true;
	assert_int_equal(link_input(host.l, p, n, &e), 0);
	assert_int_equal(host.metrics + host.networks, 2);
	assert_int_equal(host.last_metrics.streams, 999);
	assert_int_equal(host.logs, 15);
	link_log(guest.l, 2, "and on");
	rig_pump(&host, &guest);
	assert_int_equal(host.logs, 17);
	assert_string_equal(host.log[15], "985 lines were dropped");
	assert_string_equal(host.log[16], "and on");
	end();
}

/* --- ends --- */

static void resets_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct user a, b, *first = i % 2 ? &a : &b, *other = i % 2 ? &b : &a;

		begin(NULL);
		rig_open(&host, &guest, &a, &b);
		user_write(&a, 200000);
		user_write(&b, 200000);
		if (i >= 2) /* both at once */
			stream_abort(other->s);
		stream_abort(first->s);
		rig_pump(&host, &guest);
		assert_int_equal(first->closeds, 1);
		assert_true(first->clean);
		assert_int_equal(other->closeds, 1);
		assert_int_equal(other->why, i < 2 ? ERR_RESET : ERR_NONE);
		assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
		assert_int_equal(link_held(host.l) + link_held(guest.l), 0);
		assert_int_equal(host.l->out_extra + guest.l->out_extra, 0);
		end();
	}
}

static void number_goes_with_both_ends(void **state)
{
	struct user a, b;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	user_write(&a, 1000);
	stream_shutdown(a.s);
	stream_shutdown(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(host.l->ids + guest.l->ids, 0);
	assert_int_equal(a.eofs, 1);
	assert_int_equal(b.eofs, 0); /* the rest first */
	stream_credit(b.s, 1000);
	rig_pump(&host, &guest);
	assert_int_equal(b.n, 1000);
	assert_int_equal(b.eofs, 1);
	assert_int_equal(a.closeds + b.closeds, 0);
	stream_close(a.s);
	stream_abort(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(a.closeds + b.closeds, 2);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
	end();
}

static void closed_delivers_what_it_took(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct user a, b, *from = i ? &a : &b, *to = i ? &b : &a;
		size_t n;

		begin(NULL);
		rig_open(&host, &guest, &a, &b);
		n = user_write(from, 100000);
		user_write(to, 50000); /* nobody will read it */
		stream_close(from->s);
		rig_pump(&host, &guest);
		assert_int_equal(from->closeds, 1);
		assert_true(from->clean);
		assert_int_equal(to->closeds, 0);
		assert_int_equal(user_write(to, 500000),
				 500000); /* goes nowhere, waits for nothing */
		stream_credit(to->s, 1000);
		to->credit_back = true;
		rig_pump(&host, &guest);
		assert_int_equal(to->n, n);
		assert_int_equal(to->bad, 0);
		assert_int_equal(to->eofs, 1);
		assert_int_equal(to->closeds, 1);
		assert_true(to->clean);
		assert_int_equal(from->n, 0);
		assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
		end();
	}
}

/* Both write until nothing goes any more, and neither reads before it has written all. */
static void close_does_not_wait_for_the_other_to_write(void **state)
{
	struct user a, b;
	size_t n;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	a.write_on_writable = b.write_on_writable = false;
	n = user_write(&a, 1000000);
	rig_pump(&host, &guest);
	n += user_write(&a, 1000000);
	user_write(&b, 1000000);
	rig_pump(&host, &guest);
	user_write(&b, 1000000);
	rig_pump(&host, &guest);
	assert_int_equal(user_write(&b, 10), 0);
	stream_close(a.s);
	rig_pump(&host, &guest);
	assert_int_equal(b.writables, 1);
	b.credit_back = true;
	stream_credit(b.s, 10000);
	rig_pump(&host, &guest);
	assert_int_equal(b.n, n);
	assert_int_equal(b.closeds, 1);
	end();
}

static void not_too_many_linger(void **state)
{
	struct link_opts o = { .streams_max = 8, .window = 16 << 10 };
	struct user a[4], b[4];

	(void)state;
	begin(&o);
	for (int i = 0; i < 4; i++) {
		rig_open(&host, &guest, &a[i], &b[i]);
		user_write(&a[i], SIZE_MAX); /* more than the window */
		stream_close(a[i].s);
		rig_pump(&host, &guest);
		assert_int_equal(a[i].closeds, 1);
	}
	assert_int_equal(link_streams(host.l), 2);
	assert_int_equal(b[0].closeds + b[1].closeds, 2);
	assert_int_equal(b[0].why, ERR_RESET);
	assert_int_equal(b[2].closeds + b[3].closeds, 0);
	stream_credit(b[2].s, SIZE_MAX);
	rig_pump(&host, &guest);
	assert_int_equal(b[2].n, a[2].wrote);
	assert_int_equal(link_streams(host.l), 1);
	end();
	assert_int_equal(b[3].closeds, 1);
}

static void those_that_wait_for_the_pipe_are_not_reset(void **state)
{
	struct link_opts o = { .streams_max = 8 };
	struct user a[6], b[6];

	(void)state;
	begin(&o);
	for (int i = 0; i < 6; i++)
		rig_open(&host, &guest, &a[i], &b[i]);
	for (int i = 0; i < 6; i++) {
		user_write(&a[i], 100);
		stream_close(a[i].s);
		stream_credit(b[i].s, 100);
	}
	link_run(host.l); /* and nothing could be pulled meanwhile */
	rig_pump(&host, &guest);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(b[i].n, 100);
		assert_int_equal(b[i].eofs, 1);
		assert_true(b[i].clean);
	}
	end();
}

static void ends_from_within_handlers(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		struct user a, b;

		begin(NULL);
		rig_open(&host, &guest, &a, &b);
		if (i % 2)
			stream_credit(b.s, 100000);
		b.close_on_data = i / 2 == 0;
		b.abort_on_data = i / 2 == 1;
		b.close_on_eof = i / 2 == 2;
		user_write(&a, 5000);
		stream_shutdown(a.s);
		rig_pump(&host, &guest);
		if (b.s)
			stream_credit(b.s, 100000);
		rig_pump(&host, &guest);
		assert_int_equal(b.calls, 1);
		assert_int_equal(b.n, 5000);
		assert_int_equal(b.closeds, 1);
		assert_int_equal(b.eofs, i / 2 == 2);
		assert_int_equal(a.closeds, i / 2 == 1);
		if (a.s)
			stream_close(a.s);
		rig_pump(&host, &guest);
		assert_int_equal(a.closeds, 1);
		assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
		end();
	}
}

static void told_when_its_handler_comes(void **state)
{
	struct user b = { 0 }, a = { 0 };
	uint32_t id;

	(void)state;
	begin(NULL);
	id = rig_ask_open(&host);
	rig_pump(&host, &guest);
	user_attach(&b, link_opened(guest.l, id, &guest.open.list[0]));
	user_write(&b, 10);
	rig_move(&guest, &host, 0, SIZE_MAX);
	stream_abort(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(link_streams(host.l), 1);
	user_attach(&a, host.answer[0].stream);
	link_run(host.l);
	assert_int_equal(a.closeds, 1);
	assert_int_equal(a.why, ERR_RESET);
	id = rig_ask_open(&host);
	rig_pump(&host, &guest);
	user_attach(&b, link_opened(guest.l, id, &guest.open.list[0]));
	rig_pump(&host, &guest);
	stream_close(host.answer[1].stream); /* nobody wants it */
	stream_close(b.s);
	rig_pump(&host, &guest);
	assert_int_equal(link_streams(host.l) + link_streams(guest.l), 0);
	end();
}

static void breaks(void **state)
{
	struct user a[4], b[4];
	struct err why;
	uint32_t id;

	(void)state;
	begin(NULL);
	for (int i = 0; i < 4; i++)
		rig_open(&host, &guest, &a[i], &b[i]);
	rig_ask_open(&host);
	user_write(&b[1], 3000); /* whole */
	stream_shutdown(b[1].s);
	user_write(&b[2], 3000); /* not known to be */
	stream_shutdown(b[3].s); /* over, and told */
	stream_shutdown(a[3].s);
	rig_pump(&host, &guest);
	rig_ask_open(&host);
	link_ping(host.l, 4);
	(void)err_set(&why, ERR_CLOSED, "the VM has gone");
	link_goodbye(host.l, "bye");
	link_break(host.l, &why);
	link_break(host.l, NULL);
	assert_int_equal(a[0].closeds, 0); /* from link_run() only */
	assert_int_equal(link_open(host.l, &guest.open, &id, &why), -1);
	assert_int_equal(why.code, ERR_CLOSED);
	rig_move(&host, &guest, 0, SIZE_MAX);
	assert_string_equal(guest.goodbye, "bye");
	link_run(host.l);
	assert_int_equal(a[0].closeds, 1);
	assert_string_equal(a[0].msg, "the VM has gone");
	assert_int_equal(a[2].closeds, 1);
	assert_int_equal(a[1].closeds + a[3].closeds, 0);
	stream_credit(a[1].s, 5000);
	link_run(host.l);
	assert_int_equal(a[1].n, 3000);
	assert_int_equal(a[1].eofs, 1);
	assert_int_equal(a[1].closeds, 1);
	assert_int_equal(a[1].why, ERR_CLOSED);
	stream_close(a[3].s);
	link_run(host.l);
	assert_true(a[3].clean);
	assert_int_equal(link_streams(host.l), 0);
	assert_int_equal(host.answers, 4);
	assert_int_equal(guest.asks, 5);
	assert_false(link_pending(host.l));
	stream_close(b[3].s);
	end();
}

static void says_goodbye_and_no_more(void **state)
{
	struct user a, b;
	uint8_t p[8192];
	size_t n;

	(void)state;
	begin(NULL);
	rig_open(&host, &guest, &a, &b);
	user_write(&b, 100);
	link_log(guest.l, 1, "x");
	link_goodbye(guest.l, "no more");
	link_goodbye(guest.l, "twice");
	n = link_pull(guest.l, p, sizeof(p));
	assert_int_equal(n, FRAME_HEAD + 7);
	assert_false(link_pending(guest.l));
	assert_int_equal(link_pull(guest.l, p + n, sizeof(p) - n), 0);
	memset(p + n, 0xff, 100); /* what comes behind it is not looked at */
	assert_int_equal(link_input(host.l, p, n + 100, NULL), 0);
	assert_int_equal(link_input(host.l, p, n, NULL), 0);
	assert_int_equal(host.goodbyes, 1);
	assert_string_equal(host.goodbye, "no more");
	user_write(&a, 100);
	assert_false(link_pending(host.l)); /* nobody listens */
	assert_int_equal(link_pull(host.l, p, sizeof(p)), 0);
	end();
}

static void passes_the_rest(void **state)
{
	struct frame_network net = { .up = true, .prefix = 24, .dns_count = 1 };

	(void)state;
	begin(NULL);
	assert_true(addr_from_literal("10.0.2.15", 0, &net.address));
	assert_true(addr_from_literal("10.0.2.2", 0, &net.gateway));
	assert_true(addr_from_literal("10.0.2.3", 0, &net.dns[0]));
	link_network(guest.l, &net);
	link_ping(host.l, 0x0102030405060708u);
	link_shutdown(host.l);
	rig_pump(&host, &guest);
	assert_true(host.network.up);
	assert_true(addr_same_host(&host.network.gateway, &net.gateway));
	assert_true(addr_same_host(&host.network.dns[0], &net.dns[0]));
	assert_int_equal(host.pongs, 1);
	assert_true(host.token == 0x0102030405060708u);
	assert_int_equal(guest.shutdowns, 1);
	end();
}

static void budgets_that_are_none(void **state)
{
	struct link_opts o = { .streams_max = 1 << 20, .budget = 1 << 20 };
	struct err e;

	(void)state;
	side_init(&host, LINK_HOST, NULL);
	assert_null(link_new(&o, &(struct link_handler){ 0 }, NULL, &e));
	assert_int_equal(e.code, ERR_USAGE);
	o = (struct link_opts){ .window = 100 };
	assert_null(link_new(&o, &(struct link_handler){ 0 }, NULL, &e));
	link_free(host.l);
	link_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greets),
		cmocka_unit_test(nothing_before_the_welcome),
		cmocka_unit_test(carries_both_ways),
		cmocka_unit_test(split_anywhere),
		cmocka_unit_test(answers),
		cmocka_unit_test(opens_with_all_that_was_asked),
		cmocka_unit_test(wrong_questions_are_not_asked),
		cmocka_unit_test(taken_back_before_it_leaves),
		cmocka_unit_test(taken_back_on_its_way),
		cmocka_unit_test(taken_back_meets_its_answer),
		cmocka_unit_test(not_more_than_both_allow),
		cmocka_unit_test(guest_refuses_what_it_has_no_room_for),
		cmocka_unit_test(numbers_begin_anew),
		cmocka_unit_test(one_stalled_others_not),
		cmocka_unit_test(quick_readers_windows_grow),
		cmocka_unit_test(budget_for_all_slow_readers),
		cmocka_unit_test(slow_readers_give_back),
		cmocka_unit_test(writers_wait_for_room),
		cmocka_unit_test(small_is_not_behind_bulk),
		cmocka_unit_test(always_new_does_not_starve),
		cmocka_unit_test(what_waits_stays_small),
		cmocka_unit_test(resets_both_ways),
		cmocka_unit_test(number_goes_with_both_ends),
		cmocka_unit_test(closed_delivers_what_it_took),
		cmocka_unit_test(close_does_not_wait_for_the_other_to_write),
		cmocka_unit_test(not_too_many_linger),
		cmocka_unit_test(those_that_wait_for_the_pipe_are_not_reset),
		cmocka_unit_test(ends_from_within_handlers),
		cmocka_unit_test(told_when_its_handler_comes),
		cmocka_unit_test(breaks),
		cmocka_unit_test(says_goodbye_and_no_more),
		cmocka_unit_test(passes_the_rest),
		cmocka_unit_test(budgets_that_are_none),
	};

	return cmocka_run_group_tests_name("vm_link", tests, NULL, NULL);
}
