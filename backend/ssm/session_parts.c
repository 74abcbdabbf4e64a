/*
 * What a session is made of, a channel and the streams on it, and what they say
 * to each other and to it.
 */
#include "backend/ssm/session_impl.h"

#include <string.h>

#include "backend/ssm/channel.h"
#include "backend/ssm/message.h"
#include "base/log.h"
#include "base/str.h"
#include "net/ws.h"

enum { TURN_BYTES = 20 * 1024 }; /* sent at once: then other sessions have their turn */

static bool on_send(void *arg, const void *p, size_t n)
{
	struct session *s = arg;

	return s->link && s->link->open && ws_send(s->link->ws, false, p, n);
}

static bool on_send_soon(void *arg, const void *p, size_t n, unsigned within_ms)
{
	struct session *s = arg;

	return s->link && s->link->open && ws_send_soon(s->link->ws, p, n, within_ms);
}

static size_t on_pull(void *arg, uint8_t *to, size_t max, int64_t seq)
{
	return smux_pull(((struct session *)arg)->mux, to, max, seq);
}

static int on_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	return smux_input(((struct session *)arg)->mux, p, n, e);
}

static void on_flag(void *arg, unsigned flag)
{
	if (flag == FLAG_CONNECT_ERROR)
		smux_refused(((struct session *)arg)->mux);
}

static void on_complete(void *arg)
{
	struct session *s = arg;

	smux_nop(s->mux); /* the first message: docs/PROTOCOL.ssm, 5 */
	session_kick(s);
}

static void on_acked(void *arg)
{
	struct session *s = arg;

	s->handler->acked(s->arg);
}

static void on_channel_closed(void *arg, const char *output)
{
	struct session *s = arg;

	s->closed = true;
	str_fmt(s->output, sizeof(s->output), "%s", output);
	session_kick(s);
}

static const struct channel_handler channel_handler = {
	.send = on_send,
	.send_soon = on_send_soon,
	.pull = on_pull,
	.data = on_data,
	.flag = on_flag,
	.complete = on_complete,
	.acked = on_acked,
	.closed = on_channel_closed,
};

static void on_kick(void *arg)
{
	session_kick(arg);
}

static void on_hold(void *arg, bool on)
{
	struct session *s = arg;

	channel_hold(s->channel, on);
	session_mind_reading(s);
	log_debug("ssm", "%s: reading %s", s->label, on ? "pauses for a slow reader" : "goes on");
	session_kick(s);
}

static void on_decided(void *arg, struct stream *stream, enum smux_fate fate)
{
	struct session *s = arg;

	s->handler->decided(s->arg, stream, fate);
}

static const struct smux_handler mux_handler = {
	.kick = on_kick,
	.hold = on_hold,
	.decided = on_decided,
	.gone = on_kick,
};

int session_make_parts(struct session *s, struct err *e)
{
	static const enum handshake_use uses[] = { [API_REMOTE_HOST] = HANDSHAKE_REMOTE,
						   [API_PORT] = HANDSHAKE_MUX,
						   [API_SSH] = HANDSHAKE_RAW };
	struct channel_opts c = { .clock = loop_turn_clock(s->env->loop),
				  .name = s->label,
				  .use = uses[s->document],
				  .payload_size = s->env->payload_size,
				  .gap_limit_ms = s->env->gap_limit_ms,
				  .turn_max = TURN_BYTES };
	struct smux_opts m = { .clock = loop_turn_clock(s->env->loop),
			       .raw = s->document == API_SSH,
			       .idle_ms = s->env->stream_idle_ms };

	s->mux = smux_new(&m, &mux_handler, s, e);
	if (!s->mux)
		return -1;
	s->channel = channel_new(&c, &channel_handler, s, e);
	if (!s->channel || !m.raw)
		return s->channel ? 0 : -1;
	s->raw = smux_open(s->mux, e); /* sshd speaks first: it must be there */
	return s->raw ? 0 : -1;
}
