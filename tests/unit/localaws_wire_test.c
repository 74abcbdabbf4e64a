/* The emulator's codecs: binary messages, websocket frames, smux frames. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/localaws/smux.h"
#include "cmd/localaws/wire.h"
#include "cmd/localaws/wsframe.h"

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = strlen(text) / 2;

	if (strcmp(text, "-") == 0)
		return 0;
	assert_true(str_unhex(text, out, n));
	return n;
}

static uint8_t *exactly(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees a read beyond */

	assert_non_null(copy);
	if (n)
		memcpy(copy, p, n);
	return copy;
}

/* --- messages --- */

struct golden {
	char name[40], result[16], type[33], id[37];
	unsigned payload_type;
	long long seq;
	unsigned long long flags, created;
	uint8_t payload[2048], frame[2300];
	size_t payload_len, frame_len;
};

static bool next(FILE *f, struct golden *g)
{
	static char line[9000], payload[4200], frame[4700];

	if (!fgets(line, sizeof(line), f))
		return false;
	assert_int_equal(sscanf(line, "%39s %15s %32s %u %lld %llu %llu %36s %4199s %4699s",
				g->name, g->result, g->type, &g->payload_type, &g->seq, &g->flags,
				&g->created, g->id, payload, frame),
			 10);
	g->payload_len = unhex(payload, g->payload);
	g->frame_len = unhex(frame, g->frame);
	return true;
}

static void check_golden(struct wire_hash *h, const struct golden *g)
{
	uint8_t *copy = exactly(g->frame, g->frame_len), out[2300];
	struct wire_msg m;
	char id[WIRE_UUID_TEXT];

	if (wire_decode(copy, g->frame_len, &m, NULL) != 0)
		fail_msg("%s is not decoded", g->name);
	assert_string_equal(m.type, g->type);
	assert_int_equal(m.seq, g->seq);
	assert_int_equal(m.flags, g->flags);
	assert_int_equal(m.created_ms, g->created);
	assert_int_equal(m.payload_type, g->payload_type);
	wire_uuid_text(m.id, id);
	assert_string_equal(id, g->id);
	assert_int_equal(m.payload_len, g->payload_len);
	assert_memory_equal(m.payload, g->payload, g->payload_len);
	if (strncmp(g->name, "encode:", 7) == 0) {
		assert_int_equal(wire_size(WIRE_SPACES, m.payload_len), g->frame_len);
		wire_encode(&m, WIRE_SPACES, h, out);
		assert_memory_equal(out, g->frame, g->frame_len);
	}
	if (strcmp(g->name, "closed-112-nul") == 0) {
		assert_int_equal(wire_size(WIRE_SHORT_NUL, m.payload_len), g->frame_len);
		wire_encode(&m, WIRE_SHORT_NUL, h, out);
		assert_memory_equal(out, g->frame, g->frame_len);
	}
	free(copy);
}

static void golden_frames(void **state)
{
	struct wire_hash *h = wire_hash_new(NULL);
	FILE *f = fopen("tests/golden/ssm/frames.txt", "r");
	struct golden g;
	int checked = 0;

	(void)state;
	assert_non_null(h);
	assert_non_null(f);
	while (next(f, &g))
		if (strcmp(g.result, "ok") == 0) {
			check_golden(h, &g);
			checked++;
		}
	assert_true(checked >= 10);
	fclose(f);
	wire_hash_free(h);
}

static void messages_cut_anywhere(void **state)
{
	struct wire_hash *h = wire_hash_new(NULL);
	struct wire_msg m = { .type = "input_stream_data", .schema = 1, .created_ms = 1, .seq = 7 };
	uint8_t out[WIRE_PAYLOAD_AT + 3];

	(void)state;
	m.payload = (const uint8_t *)"abc";
	m.payload_len = 3;
	wire_encode(&m, WIRE_SPACES, h, out);
	for (size_t n = 0; n <= sizeof(out); n++) {
		uint8_t *copy = exactly(out, n);
		struct wire_msg back;
		int r = wire_decode(copy, n, &back, NULL);

		assert_int_equal(r, n >= WIRE_PAYLOAD_AT ? 0 : -1);
		if (r == 0)
			assert_int_equal(back.payload_len, n - WIRE_PAYLOAD_AT);
		free(copy);
	}
	for (unsigned header = 0; header < 256; header++) { /* any HeaderLength */
		uint8_t *copy = exactly(out, sizeof(out));
		struct wire_msg back;

		copy[0] = header == 200 ? 0xff : 0;
		copy[3] = (uint8_t)header;
		assert_int_equal(wire_decode(copy, sizeof(out), &back, NULL),
				 header >= 112 && header <= sizeof(out) - 4 ? 0 : -1);
		free(copy);
	}
	wire_hash_free(h);
}

static void acknowledgements(void **state)
{
	struct wire_msg m = { .type = "input_stream_data", .seq = 1234567890123 };
	char text[WIRE_ACK_MAX];
	size_t n;
	int64_t seq = 0;
	static const char *const bad[] = { "",
					   "{}",
					   "[1]",
					   "{\"AcknowledgedMessageSequenceNumber\":\"1\"}",
					   "{\"AcknowledgedMessageSequenceNumber\":-1}",
					   "{\"AcknowledgedMessageSequenceNumber\":1e30}",
					   "{\"AcknowledgedMessageSequenceNumber\":" };

	(void)state;
	n = wire_ack_text(&m, text);
	assert_string_equal(text,
			    "{\"AcknowledgedMessageType\":\"input_stream_data\","
			    "\"AcknowledgedMessageId\":\"00000000-0000-0000-0000-000000000000\","
			    "\"AcknowledgedMessageSequenceNumber\":1234567890123,"
			    "\"IsSequentialMessage\":true}");
	assert_int_equal(wire_ack_seq((const uint8_t *)text, n, &seq, NULL), 0);
	assert_int_equal(seq, m.seq);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(wire_ack_seq((const uint8_t *)bad[i], strlen(bad[i]), &seq, NULL),
				 -1);
}

/* --- websocket --- */

static void websocket_frames(void **state)
{
	static const struct {
		const char *name, *hex;
		enum wsframe_step step;
		size_t len;
	} cases[] = {
		{ "RFC 6455 5.7: masked Hello", "818537fa213d7f9f4d5158", WSFRAME_DONE, 5 },
		{ "empty binary", "828000000000", WSFRAME_DONE, 0 },
		{ "ping", "898537fa213d7f9f4d5158", WSFRAME_DONE, 5 },
		{ "first fragment", "018237fa213d7f9f", WSFRAME_DONE, 2 },
		{ "126 bytes, announced", "82fe007e01020304", WSFRAME_MORE, 0 },
		{ "not masked", "810548656c6c6f", WSFRAME_BAD, 0 },
		{ "reserved bit", "c18000000000", WSFRAME_BAD, 0 },
		{ "opcode 3", "838000000000", WSFRAME_BAD, 0 },
		{ "opcode 11", "8b8000000000", WSFRAME_BAD, 0 },
		{ "ping in fragments", "098000000000", WSFRAME_BAD, 0 },
		{ "long ping", "89fe007e00000000", WSFRAME_BAD, 0 },
		{ "16 bits for 5", "82fe000500000000", WSFRAME_BAD, 0 },
		{ "64 bits for 5", "82ff000000000000000500000000", WSFRAME_BAD, 0 },
		{ "over the limit", "82ff000000000010000100000000", WSFRAME_BAD, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[64], *copy, plain[64];
		size_t n = unhex(cases[i].hex, raw);
		struct wsframe f;
		enum wsframe_step step;

		copy = exactly(raw, n);
		step = wsframe_decode(copy, n, 1 << 20, &f, NULL);
		if (step != cases[i].step)
			fail_msg("%s: %d", cases[i].name, (int)step);
		if (step == WSFRAME_DONE) {
			assert_int_equal(f.len, cases[i].len);
			assert_int_equal(f.used, n);
			wsframe_unmask(&f, plain);
			assert_memory_equal(plain, "Hello", f.len);
			for (size_t cut = 0; cut < n; cut++)
				assert_int_equal(wsframe_decode(copy, cut, 1 << 20, &f, NULL),
						 WSFRAME_MORE);
		}
		free(copy);
	}
}

static void websocket_heads(void **state)
{
	static const struct {
		size_t len;
		const char *hex;
	} cases[] = { { 0, "8200" },
		      { 125, "827d" },
		      { 126, "827e007e" },
		      { 65535, "827effff" },
		      { 65536, "827f0000000000010000" } };
	char accept[29];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t head[WSFRAME_HEAD_MAX];
		char hex[2 * WSFRAME_HEAD_MAX + 1];

		str_hex(head, wsframe_head(WSFRAME_BINARY, true, cases[i].len, head), hex);
		assert_string_equal(hex, cases[i].hex);
	}
	wsframe_accept("dGhlIHNhbXBsZSBub25jZQ==", 24, accept); /* RFC 6455, 1.3 */
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* --- smux --- */

static void smux_frames(void **state)
{
	static const struct {
		const char *name, *hex;
		enum smux_step step;
		enum smux_cmd cmd;
		size_t len, used;
	} cases[] = {
		{ "SYN 3", "0100000003000000", SMUX_DONE, SMUX_SYN, 0, 8 },
		{ "SYN with a length: not consumed", "0100020003000000", SMUX_DONE, SMUX_SYN, 0,
		  8 },
		{ "FIN", "0101000003000000", SMUX_DONE, SMUX_FIN, 0, 8 },
		{ "PSH", "01020300030000006162637a", SMUX_DONE, SMUX_PSH, 3, 11 },
		{ "PSH of nothing", "0102000003000000", SMUX_DONE, SMUX_PSH, 0, 8 },
		{ "half a PSH", "0102030003000000ffff", SMUX_MORE, SMUX_PSH, 0, 0 },
		{ "NOP", "0103000000000000", SMUX_DONE, SMUX_NOP, 0, 8 },
		{ "UPD", "01040800030000000000000000000000", SMUX_DONE, SMUX_UPD, 8, 16 },
		{ "half a head", "01000000", SMUX_MORE, SMUX_SYN, 0, 0 },
		{ "version 2", "0200000003000000", SMUX_BAD, SMUX_SYN, 0, 0 },
		{ "command 5", "0105000003000000", SMUX_BAD, SMUX_SYN, 0, 0 },
	};
	uint8_t head[SMUX_HEAD];
	struct smux_frame f;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[32], *copy;
		size_t n = unhex(cases[i].hex, raw);

		copy = exactly(raw, n);
		if (smux_decode(copy, n, &f) != cases[i].step)
			fail_msg("%s", cases[i].name);
		if (cases[i].step == SMUX_DONE) {
			assert_int_equal(f.cmd, cases[i].cmd);
			assert_int_equal(f.len, cases[i].len);
			assert_int_equal(f.used, cases[i].used);
		}
		free(copy);
	}
	smux_head(SMUX_PSH, 0x01020304, 0x8001, head);
	assert_memory_equal(head, "\1\2\1\x80\4\3\2\1", 8);
	memset(head + 4, 0xff, 4);
	assert_int_equal(smux_decode(head, 8, &f), SMUX_MORE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_frames),    cmocka_unit_test(messages_cut_anywhere),
		cmocka_unit_test(acknowledgements), cmocka_unit_test(websocket_frames),
		cmocka_unit_test(websocket_heads),  cmocka_unit_test(smux_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
