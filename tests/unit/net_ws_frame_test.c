/* Masked frames and the queue of them, read back by a decoder of the test's own. */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/random.h"
#include "net/ws_frame.h"
#include "tests/support/cmocka_all.h"

static void heads(void **state)
{
	static const uint8_t key[4] = { 1, 2, 3, 4 };
	static const struct {
		enum ws_opcode op;
		size_t n, len;
		uint8_t want[WS_HEAD_MAX];
	} cases[] = {
		{ WS_TEXT, 0, 6, { 0x81, 0x80, 1, 2, 3, 4 } },
		{ WS_BINARY, 125, 6, { 0x82, 0xfd, 1, 2, 3, 4 } },
		{ WS_BINARY, 126, 8, { 0x82, 0xfe, 0, 126, 1, 2, 3, 4 } },
		{ WS_BINARY, 65535, 8, { 0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4 } },
		{ WS_BINARY, 65536, 14, { 0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4 } },
		{ WS_CLOSE, 2, 6, { 0x88, 0x82, 1, 2, 3, 4 } },
		{ WS_PING, 9, 6, { 0x89, 0x89, 1, 2, 3, 4 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t out[WS_HEAD_MAX];

		assert_int_equal(ws_frame_head(out, cases[i].op, key, cases[i].n), cases[i].len);
		assert_memory_equal(out, cases[i].want, cases[i].len);
	}
}

static void masking_equals_the_rfc(void **state)
{
	uint8_t from[70], to[70], key[4];

	(void)state;
	random_bytes(from, sizeof(from));
	random_bytes(key, sizeof(key));
	for (size_t n = 0; n <= 64; n++)
		for (size_t at = 0; at < 6; at++) {
			memset(to, 0xee, sizeof(to));
			ws_mask(to + 1, from + at, n, key, at);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(to[1 + i], from[at + i] ^ key[(at + i) % 4]);
			assert_int_equal(to[0], 0xee);
			assert_int_equal(to[1 + n], 0xee);
		}
}

static void masking_in_place(void **state)
{
	static const uint8_t key[4] = { 9, 8, 7, 6 };
	uint8_t text[] = "twice is the same again";

	(void)state;
	ws_mask(text, text, sizeof(text), key, 3);
	assert_int_not_equal(text[0], 't');
	ws_mask(text, text, sizeof(text), key, 3);
	assert_string_equal((char *)text, "twice is the same again");
}

static void keys_differ(void **state)
{
	struct ws_keys keys = { 0 };
	uint8_t key[4], before[4] = { 0 };
	unsigned same = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		ws_key(&keys, key);
		same += memcmp(key, before, 4) == 0;
		memcpy(before, key, 4);
	}
	assert_true(same < 3);
}

/* All that is queued, as it leaves: `step` bytes at a time. */
static uint8_t *drain(struct ws_out *o, size_t step, size_t *len)
{
	size_t at = 0;
	uint8_t *all = mem_alloc(o->len + 1);

	*len = o->len;
	while (o->len) {
		struct iovec v[3];
		size_t count = ws_out_pieces(o, v, COUNT(v)), have = 0, n;

		assert_true(count > 0);
		for (size_t i = 0; i < count; i++) {
			assert_true(v[i].iov_len > 0 && v[i].iov_len <= WS_BLOCK);
			memcpy(all + at + have, v[i].iov_base, v[i].iov_len);
			have += v[i].iov_len;
		}
		n = have < step ? have : step;
		at += n;
		ws_out_sent(o, n);
	}
	assert_int_equal(at, *len);
	return all;
}

/* One frame at p: its payload unmasked in place; returns what follows. */
static uint8_t *unframe(uint8_t *p, unsigned *op, uint8_t **data, size_t *n)
{
	size_t bytes, len = p[1] & 127;

	assert_true(p[0] & 0x80);
	assert_true(p[1] & 0x80);
	*op = p[0] & 15;
	bytes = len == 126 ? 2 : len == 127 ? 8 : 0;
	p += 2;
	if (bytes)
		len = 0;
	while (bytes--)
		len = len << 8 | *p++;
	for (size_t i = 0; i < len; i++)
		p[4 + i] ^= p[i % 4];
	*data = p + 4;
	*n = len;
	return p + 4 + len;
}

static void queue_gives_back_what_it_took(void **state)
{
	static const size_t sizes[] = {
		0,     1,     125,    126, 127, 1144, WS_BLOCK - 8, WS_BLOCK, WS_BLOCK + 1,
		65535, 65536, 200000, 3,   0
	};
	static const size_t steps[] = { 999, WS_BLOCK, SIZE_MAX };
	struct ws_keys keys = { 0 };
	struct ws_blocks blocks;
	struct ws_out o;
	uint8_t *src = mem_alloc(200016), *all, *at, *data;
	size_t total, n;
	unsigned op;

	(void)state;
	random_bytes(src, 200000);
	ws_blocks_init(&blocks);
	ws_out_init(&o, &blocks);
	for (size_t round = 0; round < COUNT(steps); round++) {
		for (size_t i = 0; i < COUNT(sizes); i++)
			assert_int_equal(ws_out_add(&o, &keys, i % 2 ? WS_TEXT : WS_BINARY, src + i,
						    sizes[i] ? sizes[i] - 1 : 0, NULL),
					 0);
		all = at = drain(&o, steps[round], &total);
		for (size_t i = 0; i < COUNT(sizes); i++) {
			at = unframe(at, &op, &data, &n);
			assert_int_equal(op, i % 2 ? WS_TEXT : WS_BINARY);
			assert_int_equal(n, sizes[i] ? sizes[i] - 1 : 0);
			assert_memory_equal(data, src + i, n);
		}
		assert_ptr_equal(at, all + total);
		mem_free(all);
	}
	assert_true(blocks.count > 0 && blocks.count <= WS_SPARE_MAX);
	ws_out_free(&o);
	ws_blocks_free(&blocks);
	mem_free(src);
}

static void raw_bytes_stay_as_they_are(void **state)
{
	struct ws_keys keys = { 0 };
	struct ws_blocks blocks;
	struct ws_out o;
	uint8_t *all;
	size_t n;

	(void)state;
	ws_blocks_init(&blocks);
	ws_out_init(&o, &blocks);
	assert_int_equal(ws_out_add_raw(&o, "GET /", 5, NULL), 0);
	assert_int_equal(ws_out_add(&o, &keys, WS_PING, NULL, 0, NULL), 0);
	all = drain(&o, SIZE_MAX, &n);
	assert_int_equal(n, 11);
	assert_memory_equal(all, "GET /\x89\x80", 7);
	mem_free(all);
	ws_blocks_free(&blocks);
}

static void bytes_leave_while_others_come(void **state)
{
	struct ws_keys keys = { 0 };
	struct ws_blocks blocks;
	struct ws_out o;
	uint8_t msg[1144] = { 0 };
	size_t left = 0;

	(void)state;
	ws_blocks_init(&blocks);
	ws_out_init(&o, &blocks);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ws_out_add(&o, &keys, WS_BINARY, msg, sizeof(msg), NULL), 0);
		if (i % 10 == 9) {
			ws_out_sent(&o, 10000);
			left += 10000;
		}
		assert_int_equal(o.total, left + o.len);
	}
	ws_out_free(&o);
	assert_int_equal(o.len, 0);
	ws_blocks_free(&blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads),
		cmocka_unit_test(masking_equals_the_rfc),
		cmocka_unit_test(masking_in_place),
		cmocka_unit_test(keys_differ),
		cmocka_unit_test(queue_gives_back_what_it_took),
		cmocka_unit_test(raw_bytes_stay_as_they_are),
		cmocka_unit_test(bytes_leave_while_others_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
