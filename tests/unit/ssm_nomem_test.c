#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "backend/ssm/channel.h"
#include "backend/ssm/message.h"
#include "backend/ssm/smux.h"
#include "backend/ssm/smux_frame.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/stream.h"
#include "tests/support/mem_fail.h"

static void ignore(void *arg)
{
	(void)arg;
}
static void on_hold(void *arg, bool on)
{
	(void)arg;
	(void)on;
}
static void on_decided(void *arg, struct stream *s, enum smux_fate fate)
{
	(void)arg;
	(void)s;
	(void)fate;
}
static void on_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void on_closed(void *arg, const struct err *why)
{
	*(bool *)arg = true;
	if (why && why->code != ERR_CLOSED)
		assert_int_equal(why->code, ERR_NOMEM);
}
static const struct smux_handler mux_handler = { ignore, on_hold, on_decided, ignore };
static const struct stream_handler user = { on_data, ignore, ignore, on_closed };

static void use_stream(struct smux *m)
{
	uint8_t out[512], in[SMUX_HEADER + 100] = { 0 };
	bool closed = false;
	struct err e = { 0 };
	struct stream *s = smux_open(m, &e);

	if (!s) {
		assert_int_equal(e.code, ERR_NOMEM);
		return;
	}
	stream_attach(s, &user, &closed);
	assert_int_equal(stream_write(s, in, 100), 100);
	while (smux_pull(m, out, sizeof(out), 0))
		;
	smux_header(in, SMUX_PSH, 100, 3);
	assert_int_equal(smux_input(m, in, sizeof(in), NULL), 0); /* held: there is no credit */
	smux_run(m);
	if (!closed)
		stream_close(s);
	(void)err_set(&e, ERR_CLOSED, "over");
	smux_break(m, &e);
	smux_run(m);
	assert_true(closed);
}

static void mux(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct smux_opts o = { .clock = &clock_system };
		struct err e = { 0 };
		struct smux *m = smux_new(&o, &mux_handler, NULL, &e);

		if (m)
			use_stream(m);
		else
			assert_int_equal(e.code, ERR_NOMEM);
		smux_free(m);
		assert_int_equal(mem_held, 0);
	}
}

static bool on_send(void *arg, const void *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
	return true;
}
static size_t on_pull(void *arg, uint8_t *to, size_t max, int64_t seq)
{
	size_t *left = arg, n = *left < max ? *left : max;

	(void)seq;
	memset(to, 'x', n);
	*left -= n;
	return n;
}
static int on_bytes(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	on_data(arg, p, n);
	(void)e;
	return 0;
}
static void on_flag(void *arg, unsigned flag)
{
	(void)arg;
	(void)flag;
}
static void on_output(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}
static const struct channel_handler channel_handler = { on_send, on_pull, on_bytes,  on_flag,
							ignore,  ignore,  on_output, NULL };

/* -1 as the channel says it, out of memory being the only cause. */
static int agent_says(struct channel *c, struct message_codec *codec, int64_t seq, uint32_t type,
		      const char *text)
{
	uint8_t wire[MESSAGE_HEADER + 400];
	struct message m = { .type = MESSAGE_OUTPUT,
			     .seq = seq,
			     .payload_type = type,
			     .created_ms = 1,
			     .payload = (const uint8_t *)text,
			     .payload_len = strlen(text) };
	struct err e;

	assert_int_equal(message_encode(codec, &m, wire, NULL), 0);
	memcpy(wire + MESSAGE_HEADER, text, m.payload_len);
	if (channel_input(c, wire, MESSAGE_HEADER + m.payload_len, &e) == 0)
		return 0;
	assert_int_equal(e.code, ERR_NOMEM);
	return -1;
}

static void use_channel(struct channel *c, struct message_codec *codec)
{
	static const char request[] =
		"{\"AgentVersion\":\"3.3.1.0\",\"RequestedClientActions\":[{\"ActionType\":"
		"\"SessionType\",\"ActionParameters\":{\"SessionType\":\"Port\"}}]}";
	struct err e;

	if (agent_says(c, codec, 0, PAYLOAD_HANDSHAKE_REQUEST, request) != 0 ||
	    agent_says(c, codec, 2, PAYLOAD_OUTPUT, "early") != 0)
		return;
	if (agent_says(c, codec, 1, PAYLOAD_HANDSHAKE_COMPLETE, "{}") != 0)
		return;
	if (channel_flush(c, &e) != 0)
		assert_int_equal(e.code, ERR_NOMEM);
}

static void channel(void **state)
{
	struct message_codec *codec = message_codec_new(NULL);
	size_t before = mem_held;

	(void)state;
	while (mem_fail_next()) {
		size_t left = 8;
		struct channel_opts o = { .clock = &clock_system, .name = "test" };
		struct err e = { 0 };
		struct channel *c = channel_new(&o, &channel_handler, &left, &e);

		if (c)
			use_channel(c, codec);
		else
			assert_int_equal(e.code, ERR_NOMEM);
		channel_free(c);
		assert_int_equal(mem_held, before);
	}
	message_codec_free(codec);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(mux), cmocka_unit_test(channel) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
