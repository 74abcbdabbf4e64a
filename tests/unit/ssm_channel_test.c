#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/channel.h"
#include "backend/ssm/message.h"
#include "backend/ssm/window.h"
#include "base/buf.h"
#include "base/clock.h"

/*
 * A simulated world: our channel, an agent that does as the real one (process
 * then acknowledge, buffer what is early, repeat only its oldest message every
 * 100 ms), a network with delay, loss, repetition and reordering between them,
 * and a clock that jumps from event to event.
 */
enum { FLIGHT_MAX = 20000, AGENT_RING = 32768 };

struct sum { /* of a byte stream; depends on every byte's place */
	uint64_t hash, n;
};

static void sum_add(struct sum *s, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++, s->n++)
		s->hash = (s->hash ^ ((const uint8_t *)p)[i]) * 1099511628211u + s->n;
}

struct packet {
	uint64_t at;
	bool to_agent;
	size_t n;
	uint8_t *p;
};

struct early {
	size_t n;
	uint8_t *p;
};

struct world {
	struct clock clock;
	uint64_t now;
	uint32_t seed;
	struct channel *ch;
	struct message_codec *codec;
	struct packet *flight; /* FLIGHT_MAX */
	size_t flying;
	/* the network, in percent and ms */
	unsigned loss, twice, late, delay;
	size_t room; /* messages our send() takes before it says no; SIZE_MAX: all */
	/* agent */
	const char *version;
	int64_t expected, out_next;
	struct early early[AGENT_RING];
	struct early unacked[AGENT_RING];
	uint64_t sent_ms[AGENT_RING];
	int64_t out_oldest;
	bool silent; /* acknowledges nothing and processes nothing */
	bool complete, terminated;
	char response[1024];
	int responses;
	int64_t first_data_seq;
	uint64_t complete_ms, first_data_ms;
	struct sum agent_got;
	size_t agent_bytes;
	/* our side */
	size_t to_pull, pulled, got_bytes;
	struct sum pulled_sum, got_sum;
	bool nop_pulled;
	int completes, flags, acked;
	unsigned last_flag;
	char output[600];
	int closeds;
	unsigned order; /* data and flags as they came, base 4 */
	unsigned soons; /* messages that may wait for others */
	unsigned longest_soon;
};

static uint64_t w_mono(const struct clock *c)
{
	return ((const struct world *)(const void *)c)->now;
}
static int64_t w_wall(const struct clock *c)
{
	return (int64_t)w_mono(c) + 1700000000000;
}
static unsigned dice(struct world *w, unsigned n)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 8) % n;
}

static void fly_once(struct world *w, bool to_agent, const void *p, size_t n, uint64_t extra)
{
	struct packet *k = &w->flight[w->flying++];

	assert_true(w->flying < FLIGHT_MAX);
	*k = (struct packet){ w->now + w->delay + extra, to_agent, n, malloc(n) };
	memcpy(k->p, p, n);
}

static void fly(struct world *w, bool to_agent, const void *p, size_t n)
{
	uint64_t extra = dice(w, 100) < w->late ? 1 + dice(w, 30) : 0;

	if (dice(w, 100) < w->loss)
		return;
	fly_once(w, to_agent, p, n, extra);
	if (dice(w, 100) < w->twice)
		fly_once(w, to_agent, p, n, extra + dice(w, 10));
}

/* --- our side's handlers --- */

static bool on_send(void *arg, const void *p, size_t n)
{
	struct world *w = arg;

	if (w->room == 0)
		return false;
	if (w->room != SIZE_MAX)
		w->room--;
	fly(w, true, p, n);
	return true;
}
static bool on_send_soon(void *arg, const void *p, size_t n, unsigned within_ms)
{
	struct world *w = arg;

	w->soons++;
	if (within_ms > w->longest_soon)
		w->longest_soon = within_ms;
	return on_send(arg, p, n);
}
static size_t on_pull(void *arg, uint8_t *to, size_t max, int64_t seq)
{
	struct world *w = arg;
	size_t n = w->to_pull < max ? w->to_pull : max;

	(void)seq;
	if (!w->nop_pulled) {
		w->nop_pulled = true;
		assert_int_equal(max, 8);
		memcpy(to, "NOPNOPNO", 8);
		return 8;
	}
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)((w->pulled + i) * 7 + ((w->pulled + i) >> 8));
	sum_add(&w->pulled_sum, to, n);
	w->to_pull -= n;
	w->pulled += n;
	return n;
}
static int on_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct world *w = arg;

	(void)e;
	sum_add(&w->got_sum, p, n);
	w->got_bytes += n;
	w->order = w->order * 4 + 1;
	return 0;
}
static void on_flag(void *arg, unsigned flag)
{
	struct world *w = arg;

	w->flags++;
	w->last_flag = flag;
	w->order = w->order * 4 + 2;
}
static void on_complete(void *arg)
{
	((struct world *)arg)->completes++;
}
static void on_acked(void *arg)
{
	((struct world *)arg)->acked++;
}
static void on_closed(void *arg, const char *output)
{
	struct world *w = arg;

	w->closeds++;
	snprintf(w->output, sizeof(w->output), "%s", output);
}
static const struct channel_handler handler = { on_send,     on_pull,  on_data,   on_flag,
						on_complete, on_acked, on_closed, on_send_soon };

/* --- the agent --- */

static void agent_message(struct world *w, enum message_type type, int64_t seq, uint32_t ptype,
			  const void *p, size_t n)
{
	uint8_t *wire = malloc(MESSAGE_HEADER + n);
	struct message m = { .type = type,
			     .seq = seq,
			     .payload_type = ptype,
			     .payload = p,
			     .payload_len = n,
			     .created_ms = (uint64_t)w_wall(&w->clock) };

	message_random_id(w->codec, m.id);
	assert_int_equal(message_encode(w->codec, &m, wire, NULL), 0);
	memcpy(wire + MESSAGE_HEADER, p, n);
	if (type == MESSAGE_OUTPUT) {
		w->unacked[seq % AGENT_RING] = (struct early){ MESSAGE_HEADER + n, wire };
		w->sent_ms[seq % AGENT_RING] = w->now;
		fly(w, false, wire, MESSAGE_HEADER + n);
		return;
	}
	fly(w, false, wire, MESSAGE_HEADER + n);
	free(wire);
}

static void agent_out(struct world *w, uint32_t ptype, const void *p, size_t n)
{
	agent_message(w, MESSAGE_OUTPUT, w->out_next++, ptype, p, n);
}

static void agent_ack(struct world *w, const struct message *m)
{
	char json[MESSAGE_ACK_MAX];
	size_t n = message_ack_json(m, json);

	agent_message(w, MESSAGE_ACK, 0, 0, json, n);
}

static void agent_process(struct world *w, uint32_t ptype, const uint8_t *p, size_t n)
{
	static const char complete[] = "{\"HandshakeTimeToComplete\":1,\"CustomerMessage\":\"hi\"}";

	if (ptype == PAYLOAD_HANDSHAKE_RESPONSE) {
		snprintf(w->response, sizeof(w->response), "%.*s", (int)n, (const char *)p);
		w->responses++;
		w->complete = true;
		w->complete_ms = w->now;
		agent_out(w, PAYLOAD_HANDSHAKE_COMPLETE, complete, sizeof(complete) - 1);
	} else if (ptype == PAYLOAD_FLAG) {
		assert_int_equal(n, 4);
		w->terminated = p[3] == FLAG_TERMINATE;
	} else {
		assert_true(w->complete);
		assert_int_equal(ptype, PAYLOAD_OUTPUT);
		if (n == 8 && memcmp(p, "NOPNOPNO", 8) == 0)
			return;
		if (!w->agent_bytes)
			w->first_data_ms = w->now;
		sum_add(&w->agent_got, p, n);
		w->agent_bytes += n;
	}
}

static void agent_input(struct world *w, const struct message *m)
{
	struct early *at = &w->early[m->seq % AGENT_RING];

	assert_true(m->seq < w->expected + UNACKED_MAX); /* the window is kept to */
	agent_ack(w, m);
	if (m->seq < w->expected || at->p)
		return;
	*at = (struct early){ m->payload_len + 4, malloc(m->payload_len + 4) };
	memcpy(at->p, &m->payload_type, 4);
	memcpy(at->p + 4, m->payload, m->payload_len);
	while ((at = &w->early[w->expected % AGENT_RING])->p) {
		uint32_t ptype;

		memcpy(&ptype, at->p, 4);
		agent_process(w, ptype, at->p + 4, at->n - 4);
		free(at->p);
		*at = (struct early){ 0 };
		w->expected++;
	}
}

static void agent_receives(struct world *w, const uint8_t *p, size_t n)
{
	struct message m;
	struct err e;
	int64_t seq;

	if (message_decode(w->codec, p, n, &m, &e) != 0)
		fail_msg("the agent cannot read us: %s", e.msg);
	if (w->silent)
		return;
	if (m.type == MESSAGE_INPUT) {
		agent_input(w, &m);
		return;
	}
	assert_int_equal(m.type, MESSAGE_ACK);
	assert_int_equal(m.flags, 3);
	assert_int_equal(message_ack_parse(m.payload, m.payload_len, &seq, NULL), 0);
	free(w->unacked[seq % AGENT_RING].p);
	w->unacked[seq % AGENT_RING] = (struct early){ 0 };
	while (w->out_oldest < w->out_next && !w->unacked[w->out_oldest % AGENT_RING].p)
		w->out_oldest++;
}

static void agent_resends_its_oldest(struct world *w)
{
	struct early *at = &w->unacked[w->out_oldest % AGENT_RING];

	if (w->out_oldest == w->out_next || w->silent ||
	    w->now < w->sent_ms[w->out_oldest % AGENT_RING] + 200)
		return;
	w->sent_ms[w->out_oldest % AGENT_RING] = w->now;
	fly(w, false, at->p, at->n);
}

/* --- time --- */

static void flush(struct world *w)
{
	struct err e;

	if (channel_flush(w->ch, &e) != 0)
		fail_msg("flush: %s", e.msg);
}

/* One ms: what arrives now, then both timers. */
static void step(struct world *w)
{
	size_t arrived = w->flying, kept = 0;
	struct err e;

	w->now++;
	for (size_t i = 0; i < arrived; i++) {
		struct packet *k = &w->flight[i];

		if (k->at > w->now)
			continue;
		if (k->to_agent)
			agent_receives(w, k->p, k->n);
		else if (channel_input(w->ch, k->p, k->n, &e) != 0)
			fail_msg("input: %s", e.msg);
		free(k->p);
		k->p = NULL;
	}
	for (size_t i = 0; i < w->flying; i++)
		if (w->flight[i].p)
			w->flight[kept++] = w->flight[i];
	w->flying = kept;
	if (w->now % 100 == 0)
		agent_resends_its_oldest(w);
	flush(w);
}

static void steps(struct world *w, unsigned ms)
{
	while (ms--)
		step(w);
}

static struct world *begin_with(const char *request, const struct channel_opts *opts)
{
	struct world *w = calloc(1, sizeof(*w));
	struct channel_opts o = *opts;

	w->flight = calloc(FLIGHT_MAX, sizeof(*w->flight));
	w->clock = (struct clock){ w_mono, w_wall };
	w->now = 1000;
	w->delay = 2;
	w->seed = 4711;
	w->room = SIZE_MAX;
	w->codec = message_codec_new(NULL);
	o.clock = &w->clock;
	o.name = "test";
	w->ch = channel_new(&o, &handler, w, NULL);
	assert_non_null(w->ch);
	if (request)
		agent_out(w, PAYLOAD_HANDSHAKE_REQUEST, request, strlen(request));
	return w;
}

#define REQUEST(version)                                                                 \
	"{\"AgentVersion\":\"" version "\",\"RequestedClientActions\":[{\"ActionType\":" \
	"\"SessionType\",\"ActionParameters\":{\"SessionType\":\"Port\",\"Properties\":" \
	"{\"portNumber\":\"9001\",\"n\":7,\"type\":\"LocalPortForwarding\"}}}]}"

static struct world *begin(void)
{
	return begin_with(REQUEST("3.3.1142.0"), &(struct channel_opts){ 0 });
}

static void finish(struct world *w)
{
	for (size_t i = 0; i < w->flying; i++)
		free(w->flight[i].p);
	for (size_t i = 0; i < AGENT_RING; i++) {
		free(w->early[i].p);
		free(w->unacked[i].p);
	}
	channel_free(w->ch);
	message_codec_free(w->codec);
	free(w->flight);
	free(w);
}

static void same_digest(const struct sum *a, const struct sum *b)
{
	assert_int_equal(a->n, b->n);
	assert_true(a->hash == b->hash);
}

/* --- tests --- */

static void handshake_once(void **state)
{
	struct world *w = begin();

	(void)state;
	w->twice = 100; /* every message comes twice */
	agent_out(w, PAYLOAD_HANDSHAKE_REQUEST, REQUEST("3.3.1142.0"),
		  strlen(REQUEST("3.3.1142.0")));
	steps(w, 300);
	assert_int_equal(w->responses, 1);
	assert_string_equal(
		w->response,
		"{\"ClientVersion\":\"1.2.764.0\",\"ProcessedClientActions\":[{"
		"\"ActionType\":\"SessionType\",\"ActionStatus\":1,\"ActionResult\":null,"
		"\"Error\":\"\"}],\"Errors\":null}");
	assert_int_equal(w->completes, 1);
	assert_string_equal(channel_agent_version(w->ch), "3.3.1142.0");
	assert_false(channel_wants_nop(w->ch));
	assert_null(channel_refused(w->ch));
	finish(w);
}

/* Data waits for the NOP's round trip, or 100 ms where that is short. */
static void data_settles_first(void **state)
{
	static const struct {
		unsigned delay, least, most;
	} cases[] = { { 1, 90, 110 }, { 15, 40, 70 }, { 200, 300, 510 } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct world *w = begin();

		w->delay = cases[i].delay;
		w->to_pull = 100;
		steps(w, 2000);
		assert_true(w->nop_pulled);
		assert_int_equal(w->agent_bytes, 100);
		assert_in_range(w->first_data_ms - w->complete_ms, cases[i].least, cases[i].most);
		finish(w);
	}
}

static void actions_we_cannot_serve(void **state)
{
	static const struct {
		const char *action, *answer, *reason;
	} cases[] = {
		{ "{\"ActionType\":\"KMSEncryption\",\"ActionParameters\":{\"KMSKeyId\":\"x\"}}",
		  "\"KMSEncryption\",\"ActionStatus\":3,\"ActionResult\":null", "KMS" },
		{ "{\"ActionType\":\"Dance\"}", "\"Dance\",\"ActionStatus\":3", "Dance" },
		{ "{\"ActionType\":\"SessionType\",\"ActionParameters\":{\"SessionType\":"
		  "\"Standard_Stream\"}}",
		  "\"SessionType\",\"ActionStatus\":2", "Standard_Stream" },
		{ "{}", "\"\",\"ActionStatus\":3", "unknown" },
	};
	char request[400];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w;

		snprintf(request, sizeof(request),
			 "{\"AgentVersion\":\"3.3.1.0\",\"RequestedClientActions\":[%s]}",
			 cases[i].action);
		w = begin_with(request, &(struct channel_opts){ 0 });
		steps(w, 100);
		assert_non_null(strstr(w->response, cases[i].answer));
		assert_non_null(channel_refused(w->ch));
		assert_int_equal(channel_refused(w->ch)->code, ERR_UNSUPPORTED);
		assert_non_null(strstr(channel_refused(w->ch)->msg, cases[i].reason));
		finish(w);
	}
}

static void version_gates(void **state)
{
	static const struct {
		const char *request;
		bool good, nop;
		const char *text;
	} cases[] = {
		{ REQUEST("2.3.722.0"), false, false, "too old" },
		{ REQUEST("3.0.196.0"), false, false, "cannot multiplex" },
		{ REQUEST("3.0.222.0"), false, false, "other hosts" },
		{ REQUEST("3.1.1188.0"), false, false, "other hosts" },
		{ REQUEST("3.1.1374.0"), true, true, "" },
		{ REQUEST("3.1.1511.0"), true, true, "" },
		{ REQUEST("3.1.1575.0"), true, false, "" },
		{ REQUEST("4"), true, false, "" },
		{ REQUEST(""), true, false, "" },
		{ "[]", false, false, "HandshakeRequest" },
		{ "nonsense", false, false, "HandshakeRequest" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = begin_with(cases[i].request, &(struct channel_opts){ 0 });
		struct packet *k = &w->flight[0];
		struct err e = { 0 };
		int r = channel_input(w->ch, k->p, k->n, &e);

		assert_int_equal(r, cases[i].good ? 0 : -1);
		if (r != 0)
			assert_non_null(strstr(e.msg, cases[i].text));
		assert_int_equal(channel_wants_nop(w->ch), cases[i].nop || (i < 4));
		finish(w);
	}
}

static void out_of_order_and_duplicates(void **state)
{
	struct world *w = begin();
	int64_t a, b, c;

	(void)state;
	steps(w, 300);
	w->loss = 100; /* by hand: nothing flies by itself */
	a = w->out_next;
	agent_out(w, PAYLOAD_OUTPUT, "A", 1);
	b = w->out_next;
	agent_out(w, PAYLOAD_FLAG, "\0\0\0\3", 4);
	c = w->out_next;
	agent_out(w, PAYLOAD_OUTPUT, "CC", 2);
	w->loss = 0;
	w->order = 0;
	for (int i = 0; i < 2; i++) { /* C, B, A, and all again */
		assert_int_equal(channel_input(w->ch, w->unacked[c % AGENT_RING].p,
					       MESSAGE_HEADER + 2, NULL),
				 0);
		assert_int_equal(channel_input(w->ch, w->unacked[b % AGENT_RING].p,
					       MESSAGE_HEADER + 4, NULL),
				 0);
		assert_int_equal(channel_input(w->ch, w->unacked[a % AGENT_RING].p,
					       MESSAGE_HEADER + 1, NULL),
				 0);
		assert_int_equal(w->flying, 3 * (i + 1)); /* each acknowledged each time */
	}
	assert_int_equal(w->order, (1 * 4 + 2) * 4 + 1);
	assert_int_equal(w->got_bytes, 3);
	assert_int_equal(w->last_flag, FLAG_CONNECT_ERROR);
	finish(w);
}

static void unknown_payloads_are_counted(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	agent_out(w, 11, "stderr", 6);
	agent_out(w, 8, "{}", 2);
	agent_out(w, PAYLOAD_OUTPUT, "", 0);
	agent_out(w, PAYLOAD_OUTPUT, "x", 1);
	steps(w, 20);
	assert_int_equal(w->got_bytes, 1);
	assert_int_equal(w->out_oldest, w->out_next);
	finish(w);
}

static void transfer(unsigned loss, unsigned twice, unsigned late, size_t up, size_t down_messages,
		     size_t payload)
{
	struct world *w = begin_with(REQUEST("3.3.1142.0"),
				     &(struct channel_opts){ .payload_size = payload });
	struct sum sent = { 0 };
	uint8_t block[1024];

	w->loss = loss;
	w->twice = twice;
	w->late = late;
	w->to_pull = up;
	while (!channel_is_complete(w->ch))
		step(w);
	for (size_t i = 0; i < down_messages; i++) {
		memset(block, (int)i, sizeof(block));
		sum_add(&sent, block, sizeof(block));
		agent_out(w, PAYLOAD_OUTPUT, block, sizeof(block));
		step(w);
	}
	for (unsigned ms = 0; ms < 400000; ms++) {
		step(w);
		if (w->agent_bytes == up && w->got_bytes == down_messages * sizeof(block) &&
		    channel_is_drained(w->ch))
			break;
	}
	assert_int_equal(w->agent_bytes, up);
	assert_int_equal(w->got_bytes, down_messages * sizeof(block));
	same_digest(&w->agent_got, &w->pulled_sum);
	same_digest(&w->got_sum, &sent);
	assert_true(channel_is_drained(w->ch));
	if (loss == 0 && late == 0)
		assert_int_equal(channel_resent(w->ch), 0);
	finish(w);
}

static void transfers(void **state)
{
	(void)state;
	transfer(0, 0, 0, 3 << 20, 500, 1024);
	transfer(5, 0, 0, 1 << 20, 300, 1024);
	transfer(0, 10, 10, 1 << 20, 300, 1024);
	transfer(5, 5, 20, 1 << 20, 300, 1024);
	transfer(30, 5, 20, 100000, 100, 1024);
	transfer(2, 2, 5, 8 << 20, 100, 16384);
}

/* The window is a bound; not one byte is taken beyond it. */
static void silence_is_back_pressure(void **state)
{
	struct world *w = begin_with(REQUEST("3.3.1142.0"),
				     &(struct channel_opts){ .window_max = 100000 });

	(void)state;
	steps(w, 300);
	w->silent = true;
	w->to_pull = 10 << 20;
	steps(w, 60000); /* never given up, and repeated ever more slowly */
	assert_in_range(w->pulled, 1024, 101024);
	assert_in_range(channel_resent(w->ch), 100, 3000);
	w->silent = false;
	steps(w, 20000);
	assert_int_equal(w->agent_bytes, 10 << 20);
	same_digest(&w->agent_got, &w->pulled_sum);
	finish(w);
}

/* Nobody else waits for long while there is much to send. */
static void a_turn_has_its_limit(void **state)
{
	struct world *w = begin_with(REQUEST("3.3.1142.0"),
				     &(struct channel_opts){ .turn_max = 16 << 10 });
	struct err e;
	size_t before;

	(void)state;
	steps(w, 300);
	assert_false(channel_has_more(w->ch));
	w->to_pull = 40 << 10;
	for (int i = 0; i < 2; i++) {
		before = w->pulled;
		assert_int_equal(channel_flush(w->ch, &e), 0);
		assert_int_equal(w->pulled - before, 16 << 10);
		assert_true(channel_has_more(w->ch));
	}
	assert_int_equal(channel_flush(w->ch, &e), 0);
	assert_int_equal(w->to_pull, 0);
	assert_false(channel_has_more(w->ch));
	finish(w);
}

/* Whoever asks again and again while there is more must not do so without a websocket. */
static void there_is_no_more_without_a_websocket(void **state)
{
	struct world *w = begin_with(REQUEST("3.3.1142.0"),
				     &(struct channel_opts){ .turn_max = 16 << 10 });
	struct err e;

	(void)state;
	steps(w, 300);
	w->to_pull = 40 << 10;
	assert_int_equal(channel_flush(w->ch, &e), 0);
	assert_true(channel_has_more(w->ch));
	channel_down(w->ch);
	assert_int_equal(channel_flush(w->ch, &e), 0);
	assert_false(channel_has_more(w->ch));
	channel_up(w->ch);
	steps(w, 300);
	assert_int_equal(w->to_pull, 0);
	finish(w);
}

/* It grows while round trips stay the same, and isolated losses do not make it smaller ... */
static void window_grows(void **state)
{
	struct world *w = begin();
	size_t last;

	(void)state;
	w->delay = 50;
	steps(w, 600);
	last = channel_window(w->ch);
	assert_in_range(last, 64 << 10, 128 << 10);
	w->to_pull = 100 << 20;
	steps(w, 5000);
	assert_int_equal(channel_window(w->ch), 2 << 20);
	w->loss = 2;
	for (int i = 0; i < 5000; i++) {
		step(w);
		assert_int_equal(channel_window(w->ch), 2 << 20);
	}
	assert_true(channel_resent(w->ch) > 50);
	finish(w);
}

/* ... it is halved when they grow, when nothing is acknowledged for a timeout, and on pause; never
 * below 1 KiB for a ms of the round trip. */
static void window_halves(void **state)
{
	struct world *w = begin();
	size_t before;

	(void)state;
	w->delay = 50;
	steps(w, 600);
	w->to_pull = 100 << 20;
	steps(w, 5000);
	assert_int_equal(channel_window(w->ch), 2 << 20);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	w->silent = true;
	steps(w, 60);
	assert_int_equal(channel_window(w->ch), 1 << 20);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2); /* the same pause */
	agent_message(w, MESSAGE_START, 0, 0, "{}", 2);
	before = channel_window(w->ch);
	steps(w, 1000);
	assert_in_range(channel_window(w->ch), 64 << 10, before / 2);
	steps(w, 20000);
	before = channel_window(w->ch);
	assert_in_range(before, channel_srtt_ms(w->ch) * 1024, (channel_srtt_ms(w->ch) + 1) * 1024);
	assert_true(before >= 64 << 10);
	w->silent = false;
	steps(w, 5000);
	assert_int_equal(channel_window(w->ch), 2 << 20);
	w->delay = 300;
	w->to_pull = 100 << 20;
	steps(w, 50);
	w->delay = 300;
	steps(w, 3000);
	assert_true(channel_window(w->ch) <= 1 << 20);
	assert_in_range(channel_srtt_ms(w->ch), 550,
			1000); /* though it is longer than five timeouts */
	w->to_pull = 0;
	steps(w, 5000);
	before = channel_resent(w->ch);
	w->to_pull = 3 << 20;
	steps(w, 5000);
	assert_int_equal(w->to_pull, 0);
	assert_int_equal(channel_resent(w->ch), before);
	assert_true(channel_window(w->ch) >= channel_srtt_ms(w->ch) * 1024);
	finish(w);
}

static void no_room_to_send(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	w->to_pull = 200000;
	for (int i = 0; i < 600; i++) {
		w->room = dice(w, 4);
		agent_out(w, PAYLOAD_OUTPUT, "0123456789", 10);
		step(w);
	}
	w->room = SIZE_MAX;
	steps(w, 500);
	assert_int_equal(w->agent_bytes, 200000);
	same_digest(&w->agent_got, &w->pulled_sum);
	assert_int_equal(w->got_bytes, 6000);
	assert_int_equal(w->out_oldest, w->out_next);
	finish(w);
}

static void down_and_up(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	w->to_pull = 2 << 20;
	for (int i = 0; i < 8; i++) {
		steps(w, 20);
		channel_down(w->ch);
		while (w->flying) /* all under way is lost */
			free(w->flight[--w->flying].p);
		agent_out(w, PAYLOAD_OUTPUT, "lost", 4);
		steps(w, 50);
		assert_int_equal(channel_next(w->ch), UINT64_MAX);
		channel_up(w->ch);
	}
	steps(w, 5000);
	assert_int_equal(w->agent_bytes, 2 << 20);
	same_digest(&w->agent_got, &w->pulled_sum);
	assert_int_equal(w->got_bytes, 32);
	assert_int_equal(w->responses, 1);
	finish(w);
}

static void pause_publication(void **state)
{
	struct world *w = begin();
	size_t before;

	(void)state;
	steps(w, 300);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	steps(w, 5);
	w->to_pull = 1000;
	steps(w, 1000);
	assert_int_equal(w->pulled, 0);
	agent_out(w, PAYLOAD_OUTPUT, "x", 1); /* acknowledged all the same, and lifts the pause */
	steps(w, 10);
	assert_int_equal(w->out_oldest, w->out_next);
	assert_int_equal(w->pulled, 1000);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	steps(w, 5);
	before = w->pulled;
	w->to_pull = 1000;
	agent_message(w, MESSAGE_START, 0, 0, "{}", 2);
	steps(w, 10);
	assert_int_equal(w->pulled, before + 1000);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	steps(w, 5);
	w->to_pull = 1000;
	steps(w, 6000); /* no word from anyone: tried again by itself */
	assert_int_equal(w->pulled, before + 2000);
	finish(w);
}

static void held_back(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	channel_hold(w->ch, true);
	for (int i = 0; i < 500; i++)
		agent_out(w, PAYLOAD_OUTPUT, "0123456789", 10);
	steps(w, 20);
	assert_int_equal(w->got_bytes, 0);
	assert_int_equal(w->out_oldest, w->out_next); /* kept and acknowledged */
	channel_hold(w->ch, false);
	assert_int_equal(w->got_bytes, 0);
	agent_out(w, PAYLOAD_OUTPUT, "x", 1);
	steps(w, 10);
	assert_int_equal(w->got_bytes, 5001);
	finish(w);
}

/* The end overtakes what was held back, which comes first all the same. */
static void held_back_until_the_end(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	channel_hold(w->ch, true);
	agent_out(w, PAYLOAD_OUTPUT, "0123456789", 10);
	steps(w, 20);
	agent_message(w, MESSAGE_CLOSED, 0, 0, "{\"Output\":\"\"}", 13);
	steps(w, 20);
	assert_int_equal(w->closeds, 1);
	assert_int_equal(w->got_bytes, 10);
	finish(w);
}

/* Messages come faster than acknowledgements leave: none is lost, the owner is asked to stop. */
static void acknowledgements_wait(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	w->room = 0;
	for (int i = 0; i < 20000; i++) {
		agent_out(w, PAYLOAD_OUTPUT, "x", 1);
		if (i % 100 == 0)
			step(w);
		if (i == 10000)
			assert_false(channel_is_flooded(w->ch));
	}
	steps(w, 10);
	assert_true(channel_is_flooded(w->ch));
	assert_int_equal(channel_next(w->ch), UINT64_MAX); /* for room, not for time */
	w->room = 15000;
	flush(w);
	assert_true(channel_is_flooded(w->ch));
	steps(w, 10);
	w->room = SIZE_MAX;
	steps(w, 10);
	assert_false(channel_is_flooded(w->ch));
	assert_int_equal(w->got_bytes, 20000);
	assert_int_equal(w->out_oldest, w->out_next); /* every one has arrived */
	finish(w);
}

/* The first acknowledgement after a pause goes at once, those close behind it may wait, none of
 * them for 50 ms, and data never does. */
static void acknowledgements_gather(void **state)
{
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	for (unsigned turn = 0; turn < 3; turn++) {
		w->soons = 0;
		for (int i = 0; i < 5; i++)
			agent_out(w, PAYLOAD_OUTPUT, "x", 1);
		steps(w, 3);
		assert_int_equal(w->soons, 4);
		steps(w, 50);
		assert_int_equal(w->soons, 4);
	}
	assert_in_range(w->longest_soon, 1, 50);
	w->to_pull = 20000;
	flush(w);
	steps(w, 50);
	assert_int_equal(w->soons, 4);
	assert_int_equal(w->agent_bytes, 20000);
	finish(w);
}

static void ahead_is_bounded(void **state)
{
	struct world *w = begin_with(REQUEST("3.3.1142.0"),
				     &(struct channel_opts){ .ahead_max = 1000 });
	uint8_t block[400] = { 0 };

	(void)state;
	steps(w, 300);
	channel_hold(w->ch, true);
	for (int i = 0; i < 5; i++)
		agent_out(w, PAYLOAD_OUTPUT, block, sizeof(block));
	steps(w, 50);
	assert_int_equal(w->out_next - w->out_oldest, 3); /* not kept, so not acknowledged */
	channel_hold(w->ch, false);
	steps(w, 3000);
	assert_int_equal(w->got_bytes, 2000);
	finish(w);
}

static void closed_and_terminate(void **state)
{
	static const char closed[] = "{\"Output\":\"lookup db on 10.0.0.2:53: no such host\"}";
	struct world *w = begin();

	(void)state;
	steps(w, 300);
	channel_terminate(w->ch);
	assert_false(channel_is_drained(w->ch));
	steps(w, 20);
	assert_true(w->terminated);
	assert_true(channel_is_drained(w->ch));
	agent_message(w, MESSAGE_CLOSED, 0, 0, closed, sizeof(closed) - 1);
	steps(w, 10);
	assert_int_equal(w->closeds, 1);
	assert_string_equal(w->output, "lookup db on 10.0.0.2:53: no such host");
	agent_message(w, MESSAGE_CLOSED, 0, 0, closed, sizeof(closed) - 1);
	steps(w, 10);
	assert_int_equal(w->closeds, 1);
	finish(w);
}

static void damaged_messages(void **state)
{
	struct world *w = begin();
	uint8_t junk[200] = { 0 };
	struct err e;

	(void)state;
	steps(w, 300);
	for (int i = 0; i < 99; i++)
		assert_int_equal(channel_input(w->ch, junk, sizeof(junk), &e), 0);
	assert_int_equal(channel_input(w->ch, junk, sizeof(junk), &e), -1);
	assert_int_equal(e.code, ERR_PROTO);
	finish(w);
}

static void no_handshake(void **state)
{
	struct world *w = begin_with(NULL, &(struct channel_opts){ 0 });
	struct packet *k = &w->flight[0];
	struct err e;

	(void)state;
	agent_out(w, PAYLOAD_OUTPUT, "$ ", 2);
	assert_int_equal(channel_input(w->ch, k->p, k->n, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	finish(w);
}

/* Until it is not well, at most that long; what comes each 100 ms keeps the agent heard. */
static enum channel_health look(struct world *w, unsigned ms, bool chatter, struct err *e)
{
	enum channel_health h = CHANNEL_WELL;

	for (unsigned i = 0; i < ms && h == CHANNEL_WELL; i++) {
		if (chatter && i % 100 == 0)
			agent_out(w, PAYLOAD_OUTPUT, "x", 1);
		step(w);
		h = channel_health(w->ch, e);
	}
	return h;
}

/* A message that the agent has not kept never comes, and that is known long before a minute. */
static void gap_that_stays(void **state)
{
	struct world *w = begin();
	struct err e;
	uint64_t since;

	(void)state;
	steps(w, 300);
	assert_int_equal(look(w, 20000, true, &e), CHANNEL_WELL);
	w->out_next++;
	since = w->now;
	assert_int_equal(look(w, 20000, true, &e), CHANNEL_LOST);
	assert_in_range(w->now - since, 14000, 17000);
	assert_int_equal(e.code, ERR_CLOSED);
	assert_non_null(strstr(e.msg, "not repeated"));
	finish(w);
}

static void lose_messages(struct world *w, int n)
{
	w->loss = 100;
	for (int i = 0; i < n; i++)
		agent_out(w, PAYLOAD_OUTPUT, "lost", 4);
	w->loss = 0;
	agent_out(w, PAYLOAD_OUTPUT, "x", 1);
}

/* Ten a second: what takes less than the limit is waited for, what takes more is not. */
static void gap_that_takes_time(void **state)
{
	struct world *w = begin();
	struct err e;
	uint64_t since;

	(void)state;
	steps(w, 300);
	lose_messages(w, 400);
	assert_int_equal(look(w, 45000, false, &e), CHANNEL_WELL);
	assert_int_equal(w->got_bytes, 1601);
	lose_messages(w, 1000);
	since = w->now;
	assert_int_equal(look(w, 45000, false, &e), CHANNEL_LOST);
	assert_in_range(w->now - since, 2900, 5000);
	assert_non_null(strstr(e.msg, "gap-limit"));
	finish(w);
	w = begin_with(REQUEST("3.3.1142.0"), &(struct channel_opts){ .gap_limit_ms = 120000 });
	steps(w, 300);
	lose_messages(w, 1000);
	assert_int_equal(look(w, 110000, false, &e), CHANNEL_WELL);
	assert_int_equal(w->got_bytes, 4001);
	finish(w);
}

/* What is held back for a slow reader is no gap, nor is the time while the websocket is away or
 * the agent is. */
static void no_gap_at_all(void **state)
{
	struct world *w = begin();
	struct err e;

	(void)state;
	steps(w, 300);
	channel_hold(w->ch, true);
	assert_int_equal(look(w, 40000, true, &e), CHANNEL_WELL);
	channel_hold(w->ch, false);
	assert_int_equal(look(w, 1000, true, &e), CHANNEL_WELL);
	w->out_next++;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(look(w, 10000, true, &e), CHANNEL_WELL);
		channel_down(w->ch);
		assert_int_equal(look(w, 40000, false, &e), CHANNEL_WELL);
		channel_up(w->ch);
		assert_int_equal(look(w, 10000, true, &e), CHANNEL_WELL);
		agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
		steps(w, 5);
	}
	finish(w);
}

/* Nothing comes though an answer is due: another websocket, ever more rarely, and never the end. */
static void silence(void **state)
{
	struct world *w = begin();
	struct err e;

	(void)state;
	steps(w, 300);
	assert_int_equal(look(w, 100000, false, &e), CHANNEL_WELL); /* nothing is due */
	w->silent = true;
	w->to_pull = 1000;
	for (unsigned limit = 20000; limit < 400000; limit *= 2) {
		unsigned at_most = limit < 300000 ? limit : 300000;

		assert_int_equal(look(w, at_most - 1000, false, &e), CHANNEL_WELL);
		assert_int_equal(look(w, 3000, false, &e), CHANNEL_SILENT);
		assert_int_equal(e.code, ERR_TIMEOUT);
		channel_down(w->ch);
		channel_up(w->ch);
	}
	w->silent = false;
	assert_int_equal(look(w, 30000, false, &e), CHANNEL_WELL);
	assert_int_equal(w->agent_bytes, 1000);
	finish(w);
}

/* What is sent is answered by pauses, and by nothing else: its agent will not come back. One that
 * was away for a while, or now and then, is waited for. */
static void agent_is_away(void **state)
{
	struct world *w = begin();
	struct err e;

	(void)state;
	steps(w, 300);
	w->silent = true;
	w->to_pull = 1000;
	for (unsigned i = 0; i < 55; i++) {
		agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
		assert_int_equal(look(w, 1000, false, &e), CHANNEL_WELL);
	}
	agent_message(w, MESSAGE_START, 0, 0, "{}", 2);
	for (unsigned i = 0; i < 5; i++) {
		agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
		assert_int_equal(look(w, 17000, false, &e), CHANNEL_WELL);
	}
	for (unsigned i = 0; i < 58; i++) {
		agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
		assert_int_equal(look(w, 1000, false, &e), CHANNEL_WELL);
	}
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	step(w);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	assert_int_equal(look(w, 2500, false, &e), CHANNEL_WELL);
	agent_message(w, MESSAGE_PAUSE, 0, 0, "{}", 2);
	assert_int_equal(look(w, 1000, false, &e), CHANNEL_LOST);
	assert_non_null(strstr(e.msg, "away"));
	finish(w);
}

/* A gap with silence behind it: another websocket first; when it makes no difference, the end. */
static void silent_gap(void **state)
{
	struct world *w = begin();
	struct err e;

	(void)state;
	steps(w, 300);
	w->out_next++;
	agent_out(w, PAYLOAD_OUTPUT, "x", 1);
	assert_int_equal(look(w, 25000, false, &e), CHANNEL_SILENT);
	channel_down(w->ch);
	channel_up(w->ch);
	assert_int_equal(look(w, 20000, false, &e), CHANNEL_LOST);
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_once),
		cmocka_unit_test(data_settles_first),
		cmocka_unit_test(actions_we_cannot_serve),
		cmocka_unit_test(version_gates),
		cmocka_unit_test(out_of_order_and_duplicates),
		cmocka_unit_test(unknown_payloads_are_counted),
		cmocka_unit_test(transfers),
		cmocka_unit_test(silence_is_back_pressure),
		cmocka_unit_test(a_turn_has_its_limit),
		cmocka_unit_test(there_is_no_more_without_a_websocket),
		cmocka_unit_test(window_grows),
		cmocka_unit_test(window_halves),
		cmocka_unit_test(no_room_to_send),
		cmocka_unit_test(down_and_up),
		cmocka_unit_test(pause_publication),
		cmocka_unit_test(agent_is_away),
		cmocka_unit_test(held_back),
		cmocka_unit_test(held_back_until_the_end),
		cmocka_unit_test(acknowledgements_wait),
		cmocka_unit_test(acknowledgements_gather),
		cmocka_unit_test(ahead_is_bounded),
		cmocka_unit_test(closed_and_terminate),
		cmocka_unit_test(damaged_messages),
		cmocka_unit_test(no_handshake),
		cmocka_unit_test(gap_that_stays),
		cmocka_unit_test(gap_that_takes_time),
		cmocka_unit_test(no_gap_at_all),
		cmocka_unit_test(silence),
		cmocka_unit_test(silent_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
