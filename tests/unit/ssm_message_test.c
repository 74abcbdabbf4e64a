#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/message.h"
#include "base/str.h"

/* One line of tests/golden/ssm/frames.txt, which make-frames.py wrote. */
struct golden {
	char name[40], result[16], type[33], id[37];
	unsigned payload_type;
	long long seq;
	unsigned long long flags, created;
	uint8_t payload[2048], frame[2300];
	size_t payload_len, frame_len;
};

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = strlen(text) / 2;

	if (strcmp(text, "-") == 0)
		return 0;
	assert_true(str_unhex(text, out, n));
	return n;
}

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

static enum message_type type_named(const char *name)
{
	static const struct {
		const char *name;
		enum message_type type;
	} types[] = {
		{ "input_stream_data", MESSAGE_INPUT },   { "output_stream_data", MESSAGE_OUTPUT },
		{ "acknowledge", MESSAGE_ACK },           { "channel_closed", MESSAGE_CLOSED },
		{ "pause_publication", MESSAGE_PAUSE },   { "start_publication", MESSAGE_START },
		{ "interactive_shell", MESSAGE_UNKNOWN },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].type;
	fail_msg("unknown type %s", name);
	return MESSAGE_UNKNOWN;
}

static void check_encode(struct message_codec *c, const struct golden *g, const struct message *m)
{
	uint8_t head[MESSAGE_HEADER];
	struct err e;

	assert_int_equal(message_encode(c, m, head, &e), 0);
	assert_int_equal(g->frame_len, MESSAGE_HEADER + m->payload_len);
	assert_memory_equal(head, g->frame, MESSAGE_HEADER);
}

static void check_case(struct message_codec *c, const struct golden *g)
{
	struct message m;
	struct err e = { 0 };
	char id[37];
	/* of exactly that size, so that a sanitizer sees a read beyond */
	uint8_t *copy = malloc(g->frame_len ? g->frame_len : 1);
	int r;

	memcpy(copy, g->frame, g->frame_len);
	r = message_decode(c, copy, g->frame_len, &m, &e);
	if (strcmp(g->result, "ok") != 0) {
		assert_int_equal(r, -1);
		assert_int_equal(e.code, ERR_PROTO);
		if (!strstr(e.msg, g->result))
			fail_msg("%s: '%s' does not name '%s'", g->name, e.msg, g->result);
		free(copy);
		return;
	}
	if (r != 0)
		fail_msg("%s: %s", g->name, e.msg);
	assert_int_equal(m.type, type_named(g->type));
	assert_int_equal(m.payload_type, g->payload_type);
	assert_int_equal(m.seq, g->seq);
	assert_int_equal(m.flags, g->flags);
	assert_int_equal(m.created_ms, g->created);
	message_id_text(m.id, id);
	assert_string_equal(id, g->id);
	assert_int_equal(m.payload_len, g->payload_len);
	assert_memory_equal(m.payload, g->payload, g->payload_len);
	if (strncmp(g->name, "encode:", 7) == 0)
		check_encode(c, g, &m);
	free(copy);
}

static void golden_frames(void **state)
{
	struct message_codec *c = message_codec_new(NULL);
	FILE *f = fopen("tests/golden/ssm/frames.txt", "r");
	struct golden g;
	int n = 0;

	(void)state;
	assert_non_null(c);
	assert_non_null(f);
	for (; next(f, &g); n++)
		check_case(c, &g);
	assert_true(n >= 25);
	fclose(f);
	message_codec_free(c);
}

static void ack_round_trip(void **state)
{
	struct message m = { .seq = 4711,
			     .id = { 0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };
	char json[MESSAGE_ACK_MAX];
	int64_t seq = -1;
	size_t n = message_ack_json(&m, json);

	(void)state;
	assert_int_equal(n, strlen(json));
	assert_string_equal(json,
			    "{\"AcknowledgedMessageType\":\"output_stream_data\","
			    "\"AcknowledgedMessageId\":\"ab010203-0405-0607-0809-0a0b0c0d0e0f\","
			    "\"AcknowledgedMessageSequenceNumber\":4711,"
			    "\"IsSequentialMessage\":true}");
	assert_int_equal(message_ack_parse((uint8_t *)json, n, &seq, NULL), 0);
	assert_int_equal(seq, 4711);
}

/* The usual text is read without the JSON parser, all others by it: the same numbers. */
static void ack_in_any_form(void **state)
{
#define HEAD "{\"AcknowledgedMessageType\":\"input_stream_data\",\"AcknowledgedMessageId\":\""
#define ID   "ab010203-0405-0607-0809-0a0b0c0d0e0f"
#define SEQ  "\",\"AcknowledgedMessageSequenceNumber\":"
#define LAST ",\"IsSequentialMessage\":true}"
	static const struct {
		const char *text;
		int64_t seq; /* -1: refused */
	} cases[] = {
		{ HEAD ID SEQ "0" LAST, 0 },
		{ HEAD ID SEQ "4711" LAST, 4711 },
		{ HEAD ID SEQ "999999999999999" LAST, 999999999999999 },
		{ HEAD ID SEQ "9007199254740991" LAST, 9007199254740991 },
		{ HEAD ID SEQ "9007199254740992" LAST, -1 },
		{ HEAD ID SEQ "7,\"IsSequentialMessage\":false}", 7 },
		{ HEAD ID SEQ " 7 " LAST, 7 },
		{ HEAD ID SEQ "7e1" LAST, 70 },
		{ HEAD "\\\"0203-0405-0607-0809-0a0b0c0d0e0f-1234" SEQ "7" LAST, 7 },
		{ HEAD "" SEQ "7" LAST, 7 },
		{ HEAD ID SEQ "-7" LAST, -1 },
		{ HEAD ID SEQ LAST, -1 },
		{ "{\"AcknowledgedMessageSequenceNumber\":12}", 12 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t seq = -1;
		int r = message_ack_parse((const uint8_t *)cases[i].text, strlen(cases[i].text),
					  &seq, NULL);

		assert_int_equal(r, cases[i].seq < 0 ? -1 : 0);
		if (r == 0)
			assert_int_equal(seq, cases[i].seq);
		/* Cut anywhere it is no acknowledgement. */
		for (size_t n = 0; r == 0 && n < strlen(cases[i].text); n++)
			assert_int_equal(
				message_ack_parse((const uint8_t *)cases[i].text, n, &seq, NULL),
				-1);
	}
}

static void ack_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"7",
		"{}",
		"{\"AcknowledgedMessageSequenceNumber\":\"7\"}",
		"{\"AcknowledgedMessageSequenceNumber\":-1}",
		"{\"AcknowledgedMessageSequenceNumber\":1e300}",
		"{\"AcknowledgedMessageSequenceNumber\":null}",
	};
	int64_t seq;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			message_ack_parse((const uint8_t *)bad[i], strlen(bad[i]), &seq, &e), -1);
		assert_int_equal(e.code, ERR_PROTO);
	}
}

static void closed_output(void **state)
{
	static const struct {
		const char *json;
		int result;
		const char *output;
	} cases[] = {
		{ "{\"Output\":\"lookup x: no such host\"}", 0, "lookup x: no such host" },
		{ "{\"Output\":\"\"}", 0, "" },
		{ "{\"Output\":null}", 0, "" },
		{ "{\"SessionId\":\"s\"}", 0, "" },
		{ "{\"Output\":\"0123456789012345678901234567890123456789\"}", 0,
		  "0123456789012345678901234567890" },
		{ "nonsense", -1, "" },
		{ "", -1, "" },
		{ "[]", -1, "" },
	};
	char out[32];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = message_closed_parse((const uint8_t *)cases[i].json, strlen(cases[i].json),
					     out, sizeof(out), &e);

		assert_int_equal(r, cases[i].result);
		assert_string_equal(out, cases[i].output);
	}
}

static void random_ids_differ(void **state)
{
	struct message_codec *c = message_codec_new(NULL);
	uint8_t id[200][MESSAGE_ID];
	char text[37];

	(void)state;
	for (int i = 0; i < 200; i++) {
		message_random_id(c, id[i]);
		message_id_text(id[i], text);
		assert_int_equal(text[14], '4');
		assert_non_null(strchr("89ab", text[19]));
		for (int k = 0; k < i; k++)
			assert_memory_not_equal(id[i], id[k], MESSAGE_ID);
	}
	message_codec_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_frames),   cmocka_unit_test(ack_round_trip),
		cmocka_unit_test(ack_in_any_form), cmocka_unit_test(ack_refused),
		cmocka_unit_test(closed_output),   cmocka_unit_test(random_ids_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
