/* Frames of a server read back, in any cut, and what a server must not send. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/ws_parse.h"
#include "tests/support/cmocka_all.h"

enum { LOG_MAX = 64 };

/* What was told: "t:text" "b:..." "i:ping" "o:pong" "c:close", long ones by length and edges. */
struct story {
	char text[4096];
	struct ws_parser ps;
	struct err e;
	int close_code;
	size_t most_left;
};

static void note(struct story *s, const struct ws_event *ev)
{
	static const char names[] = { [WS_TEXT] = 't',
				      [WS_BINARY] = 'b',
				      [WS_CLOSE] = 'c',
				      [WS_PING] = 'i',
				      [WS_PONG] = 'o' };
	size_t at = strlen(s->text);

	if (ev->n > 100)
		snprintf(s->text + at, sizeof(s->text) - at, "%c:%zu%c%c ", names[ev->op], ev->n,
			 ev->p[0], ev->p[ev->n - 1]);
	else
		snprintf(s->text + at, sizeof(s->text) - at, "%c:%.*s ", names[ev->op], (int)ev->n,
			 (const char *)ev->p);
}

/* Feeds n bytes, at most `step` new ones at a time, as net/ws.c does. false: BAD. */
static bool feed(struct story *s, const uint8_t *p, size_t n, size_t step)
{
	uint8_t *have = mem_alloc(n + 1);
	size_t len = 0, used;
	struct ws_event ev;
	enum ws_got got = WS_GOT_MORE;

	while (n && got != WS_GOT_BAD) {
		size_t part = n < step ? n : step, at = 0;

		memcpy(have + len, p, part);
		len += part;
		p += part;
		n -= part;
		while ((got = ws_parse(&s->ps, have + at, len - at, &used, &ev, &s->e)) > 0) {
			at += used;
			note(s, &ev);
		}
		at += used;
		len -= at;
		memmove(have, have + at, len);
		if (len > s->most_left)
			s->most_left = len;
	}
	s->close_code = s->ps.close_code;
	mem_free(have);
	return got != WS_GOT_BAD;
}

static void begin(struct story *s, size_t max)
{
	memset(s, 0, sizeof(*s));
	ws_parser_init(&s->ps, max);
}

static size_t frame(uint8_t *to, unsigned first, const char *p, size_t n)
{
	size_t at = 2;

	to[0] = (uint8_t)first;
	if (n < 126) {
		to[1] = (uint8_t)n;
	} else if (n < 65536) {
		to[1] = 126;
		to[at++] = (uint8_t)(n >> 8);
		to[at++] = (uint8_t)n;
	} else {
		to[1] = 127;
		for (int i = 7; i >= 0; i--)
			to[at++] = (uint8_t)((uint64_t)n >> (8 * i));
	}
	memcpy(to + at, p, n);
	return at + n;
}

static void any_cut_tells_the_same(void **state)
{
	static const size_t steps[] = { 1, 2, 3, 7, 125, 126, 1000, 16384, 40000, 1 << 20 };
	static const char want[] = "t:hello b:126xx i:ping t:in three pieces o: b:200000xx "
				   "b:32768xx b:32769xx t: b: c:\x03\xe8"
				   "Bye ";
	uint8_t *all = mem_alloc(1 << 20);
	char *big = mem_alloc(200000);
	size_t n = 0;

	(void)state;
	memset(big, 'x', 200000);
	n += frame(all + n, 0x81, "hello", 5);
	n += frame(all + n, 0x82, big, 126);
	n += frame(all + n, 0x01, "in ", 3);
	n += frame(all + n, 0x89, "ping", 4);
	n += frame(all + n, 0x00, "three", 5);
	n += frame(all + n, 0x00, "", 0);
	n += frame(all + n, 0x80, " pieces", 7);
	n += frame(all + n, 0x8a, "", 0);
	n += frame(all + n, 0x82, big, 200000);
	n += frame(all + n, 0x82, big, WS_IN_PLACE);
	n += frame(all + n, 0x82, big, WS_IN_PLACE + 1);
	n += frame(all + n, 0x81, "", 0);
	n += frame(all + n, 0x82, "", 0);
	n += frame(all + n, 0x88,
		   "\x03\xe8"
		   "Bye",
		   5);
	for (size_t i = 0; i < COUNT(steps); i++) {
		struct story s;

		begin(&s, 200000);
		assert_true(feed(&s, all, n, steps[i]));
		assert_string_equal(s.text, want);
		assert_true(s.most_left < WS_LEFT_MAX);
		ws_parser_free(&s.ps);
	}
	mem_free(big);
	mem_free(all);
}

/* A whole message is told where it stands, without a copy. */
static void in_place(void **state)
{
	uint8_t all[600];
	size_t first = frame(all, 0x82, "one", 3), n = first, used;
	struct ws_event ev;
	struct story s;

	(void)state;
	n += frame(all + n, 0x82, "two", 3);
	begin(&s, 1000);
	assert_int_equal(ws_parse(&s.ps, all, n, &used, &ev, &s.e), WS_GOT_MESSAGE);
	assert_ptr_equal(ev.p, all + 2);
	assert_int_equal(used, first);
	assert_int_equal(ws_parse(&s.ps, all + used, n - used, &used, &ev, &s.e), WS_GOT_MESSAGE);
	assert_ptr_equal(ev.p, all + first + 2);
	assert_null(s.ps.message.mem);
}

static void what_a_server_must_not_send(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int code;
		enum err_code want;
		const char *words;
	} cases[] = {
#define B(text) text, sizeof(text) - 1
		{ B("\xc1\x01x"), 1002, ERR_PROTO, "reserved bit" },
		{ B("\xa1\x01x"), 1002, ERR_PROTO, "reserved bit" },
		{ B("\x91\x01x"), 1002, ERR_PROTO, "reserved bit" },
		{ B("\x83\x01x"), 1002, ERR_PROTO, "unknown opcode" },
		{ B("\x8b\x01x"), 1002, ERR_PROTO, "unknown opcode" },
		{ B("\x81\x81\0\0\0\0x"), 1002, ERR_PROTO, "masked" },
		{ B("\x80\x01x"), 1002, ERR_PROTO, "continuation of nothing" },
		{ B("\x01\x01x\x81\x01y"), 1002, ERR_PROTO, "inside of another" },
		{ B("\x01\x01x\x82\x01y"), 1002, ERR_PROTO, "inside of another" },
		{ B("\x09\x01x"), 1002, ERR_PROTO, "in fragments" },
		{ B("\x89\x7e\0\x7e"), 1002, ERR_PROTO, "more than 125" },
		{ B("\x81\x7e\0\x7d"), 1002, ERR_PROTO, "shortest" },
		{ B("\x81\x7f\0\0\0\0\0\0\xff\xff"), 1002, ERR_PROTO, "shortest" },
		{ B("\x82\x7f\x80\0\0\0\0\0\0\0"), 1002, ERR_PROTO, "63 bits" },
		{ B("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), 1009, ERR_LIMIT, "1000 bytes" },
		{ B("\x82\x7e\x03\xe9"), 1009, ERR_LIMIT, "1000 bytes" },
		{ B("\x02\x03xyz\x80\x7e\x03\xe6"), 1009, ERR_LIMIT, "1000 bytes" },
		{ B("\x88\x01x"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x02\x03\xe7"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x02\x03\xed"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x02\x03\xee"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x02\x07\xd0"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x02\x13\x88"), 1002, ERR_PROTO, "close code" },
		{ B("\x88\x03\x03\xe8\xff"), 1002, ERR_PROTO, "reason" },
		{ B("\x81\x02\xc3("), 1007, ERR_PROTO, "not UTF-8" },
		{ B("\x01\x01\xc3\x80\x01("), 1007, ERR_PROTO, "not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (size_t step = 1; step <= 64; step += 63) {
			struct story s;

			begin(&s, 1000);
			assert_false(feed(&s, (const uint8_t *)cases[i].bytes, cases[i].n, step));
			if (!strstr(s.e.msg, cases[i].words))
				print_error("%zu: %s\n", i, s.e.msg);
			assert_int_equal(s.e.code, cases[i].want);
			assert_non_null(strstr(s.e.msg, cases[i].words));
			assert_int_equal(s.close_code, cases[i].code);
			ws_parser_free(&s.ps);
		}
}

/* Text may be cut inside of a character; close codes and reasons that are allowed. */
static void what_it_may_send(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *want;
	} cases[] = {
		{ B("\x01\x01\xc3\x80\x01\xa9"), "t:\xc3\xa9 " },
		{ B("\x88\x00"), "c: " },
		{ B("\x88\x02\x0b\xb8"), "c:\x0b\xb8 " },
		{ B("\x88\x02\x13\x87"), "c:\x13\x87 " },
		{ B("\x88\x02\x03\xf6"), "c:\x03\xf6 " },
		{ B("\x82\x01\xff"), "b:\xff " },
#undef B
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct story s;

		begin(&s, 1000);
		assert_true(feed(&s, (const uint8_t *)cases[i].bytes, cases[i].n, 1));
		assert_string_equal(s.text, cases[i].want);
		ws_parser_free(&s.ps);
	}
}

static void utf8(void **state)
{
	static const char *const good[] = { "",
					    "a",
					    "\x7f",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xef\xbf\xbf",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x80",
					   "\xbf",
					   "\xc0\x80",
					   "\xc1\xbf",
					   "\xc2",
					   "\xc2\x41",
					   "\xe0\x9f\xbf",
					   "\xe1\x80",
					   "\xed\xa0\x80",
					   "\xed\xbf\xbf",
					   "\xf0\x8f\xbf\xbf",
					   "\xf1\x80\x80",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "\xff" };

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(ws_utf8_valid((const uint8_t *)good[i], strlen(good[i])));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(ws_utf8_valid((const uint8_t *)bad[i], strlen(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_cut_tells_the_same),
		cmocka_unit_test(in_place),
		cmocka_unit_test(what_a_server_must_not_send),
		cmocka_unit_test(what_it_may_send),
		cmocka_unit_test(utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
