#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "backend/ssm/smux.h"
#include "backend/ssm/smux_frame.h"
#include "base/clock.h"
#include "base/mem.h"
#include "stream/stream.h"

/* One mux, its owner, and a clock that the test turns. */
struct rig {
	struct clock clock;
	uint64_t now;
	struct smux *mux;
	int kicks, gone;
	bool held;
	struct stream *decided[16];
	enum smux_fate fate[16];
	int decisions;
};

/* The owner of one stream. */
struct user {
	struct stream *s;
	uint8_t got[8192];
	size_t n, max_piece;
	int eofs, closeds, writables;
	enum err_code why;
	char msg[320];
	bool close_on_data;
};

static uint64_t rig_mono(const struct clock *c)
{
	return ((const struct rig *)(const void *)c)->now;
}
static int64_t rig_wall(const struct clock *c)
{
	(void)c;
	return 1;
}
static void on_kick(void *arg)
{
	((struct rig *)arg)->kicks++;
}
static void on_hold(void *arg, bool on)
{
	((struct rig *)arg)->held = on;
}
static void on_decided(void *arg, struct stream *s, enum smux_fate fate)
{
	struct rig *r = arg;

	r->decided[r->decisions] = s;
	r->fate[r->decisions++] = fate;
}
static void on_gone(void *arg)
{
	((struct rig *)arg)->gone++;
}
static const struct smux_handler handler = { on_kick, on_hold, on_decided, on_gone };

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct user *u = arg;

	if (u->n + n <= sizeof(u->got))
		memcpy(u->got + u->n, p, n);
	u->n += n;
	if (n > u->max_piece)
		u->max_piece = n;
	if (u->close_on_data)
		stream_close(u->s);
}
static void u_eof(void *arg)
{
	((struct user *)arg)->eofs++;
}
static void u_writable(void *arg)
{
	((struct user *)arg)->writables++;
}
static void u_closed(void *arg, const struct err *why)
{
	struct user *u = arg;

	u->closeds++;
	u->why = why ? why->code : ERR_NONE;
	if (why)
		memcpy(u->msg, why->msg, sizeof(u->msg));
	u->s = NULL;
}
static const struct stream_handler user_handler = { u_data, u_eof, u_writable, u_closed };

static void rig_init(struct rig *r, size_t hold_max)
{
	struct smux_opts o = {
		.hold_max = hold_max, .send_max = 4096, .stall_ms = 10000, .idle_ms = 300000
	};

	*r = (struct rig){ .clock = { rig_mono, rig_wall }, .now = 1000 };
	o.clock = &r->clock;
	r->mux = smux_new(&o, &handler, r, NULL);
	assert_non_null(r->mux);
}

static void open_user(struct rig *r, struct user *u)
{
	*u = (struct user){ 0 };
	u->s = smux_open(r->mux, NULL);
	assert_non_null(u->s);
	stream_attach(u->s, &user_handler, u);
}

/* Everything the mux wants to send, as text: "SYN3 PSH3:hello FIN3". */
static const char *sent(struct rig *r, size_t max)
{
	static char text[65536];
	static uint8_t wire[65536];
	struct smux_parser ps = { 0 };
	struct smux_frame f;
	size_t total = 0, n;
	const uint8_t *p = wire;
	char *to = text;

	while ((n = smux_pull(r->mux, wire + total, max, 7)) > 0)
		total += n;
	*to = '\0';
	while (smux_parse(&ps, &p, &total, &f, NULL) == 1) {
		static const char *const names[] = { "SYN", "FIN", "PSH", "NOP" };

		to += snprintf(to, 64, "%s%s%u", to == text ? "" : " ", names[f.cmd], f.id);
		if (f.cmd == SMUX_PSH && f.n < 32)
			to += snprintf(to, 64, ":%.*s", (int)f.n, (const char *)f.p);
		else if (f.cmd == SMUX_PSH)
			to += snprintf(to, 64, "#%zu", f.n);
	}
	return text;
}

static void far(struct rig *r, enum smux_cmd cmd, uint32_t id, const char *data)
{
	uint8_t wire[4096];
	size_t n = data ? strlen(data) : 0;

	smux_header(wire, cmd, (uint16_t)n, id);
	if (n)
		memcpy(wire + SMUX_HEADER, data, n);
	assert_int_equal(smux_input(r->mux, wire, SMUX_HEADER + n, NULL), 0);
}

static void far_block(struct rig *r, uint32_t id, size_t n)
{
	static uint8_t wire[SMUX_HEADER + 65535];

	smux_header(wire, SMUX_PSH, (uint16_t)n, id);
	assert_int_equal(smux_input(r->mux, wire, SMUX_HEADER + n, NULL), 0);
}

static void end(struct rig *r)
{
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "test is over");
	smux_break(r->mux, &why);
	smux_run(r->mux);
	assert_int_equal(smux_streams(r->mux), 0);
	smux_free(r->mux);
}

static void frames_in_order(void **state)
{
	struct rig r;
	struct user a, b;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	open_user(&r, &b);
	assert_int_equal(smux_syn_seq(a.s), -1);
	smux_nop(r.mux);
	assert_int_equal(stream_write(a.s, (const uint8_t *)"one", 3), 3);
	stream_close(a.s);
	assert_string_equal(sent(&r, 1024), "NOP0 SYN3 SYN5 PSH3:one FIN3");
	assert_int_equal(smux_syn_seq(b.s), 7);
	assert_int_equal(a.closeds, 0); /* never from inside a call */
	smux_run(r.mux);
	assert_int_equal(a.closeds, 1);
	assert_int_equal(smux_streams(r.mux), 2); /* a may still be refused */
	far(&r, SMUX_FIN, 3, NULL);
	assert_int_equal(smux_streams(r.mux), 1);
	end(&r);
	assert_int_equal(b.why, ERR_CLOSED);
}

static void never_opened_never_sent(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	stream_close(a.s);
	smux_run(r.mux);
	assert_string_equal(sent(&r, 1024), "");
	assert_int_equal(a.closeds, 1);
	end(&r);
}

static void writers_share(void **state)
{
	static const uint8_t big[65536];
	struct rig r;
	struct user a, b;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	open_user(&r, &b);
	(void)sent(&r, 1024);
	assert_int_equal(stream_write(a.s, big, sizeof(big)), 4096);
	assert_int_equal(stream_write(b.s, big, 2000), 2000);
	assert_string_equal(sent(&r, 1024), "PSH3#1016 PSH5#1016 PSH3#1016 PSH5#984 PSH3#1016 "
					    "PSH3#1016 PSH3#32");
	smux_run(r.mux);
	assert_int_equal(a.writables, 1);
	assert_int_equal(b.writables, 0);
	end(&r);
}

static void credit_rules(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	(void)sent(&r, 1024);
	far(&r, SMUX_PSH, 3, "hello world");
	far(&r, SMUX_FIN, 3, NULL);
	smux_run(r.mux);
	assert_int_equal(a.n, 0);
	assert_int_equal(a.eofs, 0);
	stream_credit(a.s, 5);
	assert_int_equal(a.n, 0); /* never from inside a call */
	smux_run(r.mux);
	assert_int_equal(a.n, 5);
	assert_int_equal(a.eofs, 0);
	stream_credit(a.s, 100);
	smux_run(r.mux);
	assert_int_equal(a.n, 11);
	assert_memory_equal(a.got, "hello world", 11);
	assert_int_equal(a.eofs, 1);
	smux_run(r.mux);
	assert_int_equal(a.eofs, 1);
	stream_close(a.s);
	smux_run(r.mux);
	assert_int_equal(a.closeds, 1);
	assert_int_equal(a.why, ERR_NONE);
	assert_string_equal(sent(&r, 1024), "FIN3");
	assert_int_equal(smux_streams(r.mux), 0);
	end(&r);
}

static void close_inside_data(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	(void)sent(&r, 1024);
	a.close_on_data = true;
	stream_credit(a.s, 3);
	far(&r, SMUX_PSH, 3, "abcdef");
	far(&r, SMUX_PSH, 3, "ghi");
	smux_run(r.mux);
	assert_int_equal(a.n, 3);
	assert_int_equal(a.closeds, 1);
	end(&r);
}

static void shutdown_sends_no_fin(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	stream_credit(a.s, 100);
	(void)sent(&r, 1024);
	stream_shutdown(a.s);
	assert_string_equal(sent(&r, 1024), "");
	far(&r, SMUX_PSH, 3, "answer");
	smux_run(r.mux);
	assert_int_equal(a.n, 6);
	assert_int_equal(smux_next(r.mux), r.now + 300000);
	r.now += 299999;
	smux_tick(r.mux);
	smux_run(r.mux);
	assert_int_equal(a.eofs, 0);
	r.now += 1;
	smux_tick(r.mux);
	smux_run(r.mux);
	assert_int_equal(a.eofs, 1); /* idle: treated as ended */
	r.now += 300000;
	smux_tick(r.mux);
	smux_run(r.mux);
	assert_int_equal(a.closeds, 1);
	assert_int_equal(a.why, ERR_NONE);
	assert_string_equal(sent(&r, 1024), "FIN3");
	end(&r);
}

/* smux_next() may be too early, never too late. */
static void what_moves_is_not_idle(void **state)
{
	struct rig r;
	struct user a;
	uint64_t begun;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	stream_credit(a.s, 100);
	(void)sent(&r, 1024);
	assert_int_equal(smux_next(r.mux), UINT64_MAX);
	stream_shutdown(a.s);
	begun = r.now;
	r.now += 1000;
	far(&r, SMUX_PSH, 3, "still here");
	smux_run(r.mux);
	assert_in_range(smux_next(r.mux), begun, begun + 301000);
	r.now = begun + 300000;
	smux_tick(r.mux);
	smux_run(r.mux);
	assert_int_equal(a.eofs, 0);
	assert_int_equal(smux_next(r.mux), begun + 301000);
	r.now += 1000;
	smux_tick(r.mux);
	smux_run(r.mux);
	assert_int_equal(a.eofs, 1);
	assert_int_equal(smux_next(r.mux), r.now + 300000);
	stream_abort(a.s);
	smux_run(r.mux);
	end(&r);
}

static void stalled_reader(void **state)
{
	struct rig r;
	struct user slow, other;

	(void)state;
	rig_init(&r, 1 << 20);
	open_user(&r, &slow);
	open_user(&r, &other);
	(void)sent(&r, 1024);
	for (int i = 0; i < 15; i++)
		far_block(&r, 3, 65535);
	assert_false(r.held);
	far_block(&r, 3, 65535);
	far_block(&r, 3, 65535);
	assert_true(r.held);
	assert_true(smux_holding(r.mux));
	/* the reader moves: reading goes on */
	stream_credit(slow.s, 400 << 10);
	smux_run(r.mux);
	assert_false(r.held);
	for (int i = 0; i < 6; i++)
		far_block(&r, 3, 65535);
	assert_true(r.held);
	r.now += 9999;
	smux_tick(r.mux);
	assert_true(r.held);
	assert_int_equal(smux_next(r.mux), r.now + 1);
	r.now += 1;
	smux_tick(r.mux);
	assert_false(r.held);
	smux_run(r.mux);
	assert_int_equal(slow.closeds, 1);
	assert_int_equal(slow.why, ERR_LIMIT);
	assert_non_null(strstr(slow.msg, "stalled for 10 s"));
	assert_string_equal(sent(&r, 1024), "FIN3");
	stream_credit(other.s, 10);
	far(&r, SMUX_PSH, 3, "late");
	far(&r, SMUX_PSH, 5, "fine");
	smux_run(r.mux);
	assert_int_equal(other.n, 4);
	end(&r);
}

static void hard_ceiling(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 1 << 20);
	open_user(&r, &a);
	(void)sent(&r, 1024);
	for (int i = 0; i < 40; i++) /* the pause is not obeyed */
		far_block(&r, 3, 65535);
	smux_run(r.mux);
	assert_int_equal(a.closeds, 1);
	assert_int_equal(a.why, ERR_LIMIT);
	assert_false(r.held);
	end(&r);
}

static void who_was_refused(void **state)
{
	struct rig r;
	struct user u[4];

	(void)state;
	rig_init(&r, 0);
	for (int i = 0; i < 4; i++) /* 3 5 7 9 */
		open_user(&r, &u[i]);
	(void)sent(&r, 1024);
	/* 3 connected and silent, 5 refused, 7 carries data, 9 refused */
	smux_refused(r.mux);
	assert_int_equal(r.decisions, 0);
	far(&r, SMUX_FIN, 5, NULL);
	assert_int_equal(r.decisions, 2);
	assert_ptr_equal(r.decided[0], u[0].s);
	assert_int_equal(r.fate[0], SMUX_CARRIES);
	assert_ptr_equal(r.decided[1], u[1].s);
	assert_int_equal(r.fate[1], SMUX_REFUSED);
	far(&r, SMUX_PSH, 7, "x");
	assert_int_equal(r.fate[2], SMUX_CARRIES);
	smux_refused(r.mux); /* only 9 is left: no need to wait for its FIN */
	assert_int_equal(r.decisions, 4);
	assert_ptr_equal(r.decided[3], u[3].s);
	assert_int_equal(r.fate[3], SMUX_REFUSED);
	smux_refused(r.mux); /* a flag for nobody */
	smux_run(r.mux);
	assert_int_equal(u[1].why, ERR_DIAL);
	assert_int_equal(u[3].why, ERR_DIAL);
	assert_int_equal(u[0].closeds, 0);
	end(&r);
}

/* A question whether the far end lives is a stream of nobody's: any answer will do, and its refusal
 * is not another stream's. */
static void probe(void **state)
{
	struct rig r;
	struct user a;

	(void)state;
	rig_init(&r, 0);
	assert_int_equal(smux_asked_ms(r.mux), 0);
	open_user(&r, &a);
	assert_int_equal(smux_asked_ms(r.mux), 0); /* not sent yet */
	(void)sent(&r, 1024);
	assert_int_not_equal(smux_asked_ms(r.mux), 0);
	assert_int_equal(smux_probe(r.mux, NULL), 0);
	assert_int_equal(smux_probe_seq(r.mux), -1);
	assert_string_equal(sent(&r, 1024), "SYN5 FIN5");
	assert_true(smux_probe_seq(r.mux) >= 0);
	smux_refused(r.mux);
	far(&r, SMUX_FIN, 5, NULL);
	assert_int_equal(smux_asked_ms(r.mux), 0);
	smux_run(r.mux);
	assert_int_equal(a.closeds, 0);
	assert_int_equal(r.decisions, 1);
	assert_int_equal(r.fate[0], SMUX_CARRIES);
	assert_int_equal(smux_streams(r.mux), 1);
	assert_int_equal(smux_probe(r.mux, NULL), 0);
	stream_close(a.s);
	smux_run(r.mux);
	smux_break(r.mux, NULL); /* one that was never sent goes too */
	end(&r);
}

static void refused_after_close(void **state)
{
	struct rig r;
	struct user a, b;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	open_user(&r, &b);
	(void)sent(&r, 1024);
	stream_close(a.s);
	smux_run(r.mux);
	assert_string_equal(sent(&r, 1024), "FIN3");
	assert_int_equal(smux_streams(r.mux), 2); /* remembered: its flag may come */
	smux_refused(r.mux);
	far(&r, SMUX_FIN, 3, NULL);
	assert_int_equal(smux_streams(r.mux), 1);
	far(&r, SMUX_FIN, 5, NULL); /* b: accepted and closed by the server, not refused */
	assert_int_equal(r.decisions, 1);
	assert_int_equal(r.fate[0], SMUX_ENDED);
	stream_close(b.s);
	end(&r);
}

/* The far end greets a stream whose owner has closed it meanwhile. */
static void greeted_after_close(void **state)
{
	struct rig r;
	struct user a, b;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	open_user(&r, &b);
	(void)sent(&r, 1024);
	stream_close(a.s);
	smux_run(r.mux);
	assert_string_equal(sent(&r, 1024), "FIN3");
	assert_int_equal(a.closeds, 1);
	assert_int_equal(smux_streams(r.mux), 2); /* not decided yet */
	far(&r, SMUX_PSH, 3, "220 hello");
	assert_int_equal(a.n, 0);
	assert_int_equal(smux_streams(r.mux), 1);
	far(&r, SMUX_PSH, 3, "more");
	far(&r, SMUX_FIN, 3, NULL);
	end(&r);
}

/* What closed streams have to say does not wait for ever for a far end that takes nothing. */
static void closed_and_never_taken(void **state)
{
	struct rig r;
	struct user a, b;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	(void)sent(&r, 1024);
	open_user(&r, &b);
	assert_int_equal(stream_write(a.s, (const uint8_t *)"abc", 3), 3);
	assert_int_equal(stream_write(b.s, (const uint8_t *)"abc", 3), 3);
	stream_close(a.s);
	stream_close(b.s);
	smux_run(r.mux);
	assert_int_equal(smux_next(r.mux), r.now + 300000);
	r.now += 300000;
	smux_tick(r.mux);
	assert_int_equal(smux_next(r.mux), UINT64_MAX);
	assert_int_equal(smux_streams(r.mux), 1); /* b was never known there */
	assert_string_equal(sent(&r, 1024), "FIN3");
	end(&r);
}

static void unknown_and_broken(void **state)
{
	static const struct {
		const char *name;
		uint8_t wire[9];
		size_t n;
	} bad[] = {
		{ "version 2", { 2, 2, 0, 0, 3, 0, 0, 0 }, 8 },
		{ "version 0", { 0 }, 8 },
		{ "command UPD", { 1, 4, 8, 0, 3, 0, 0, 0 }, 8 },
		{ "SYN with payload", { 1, 0, 1, 0, 3, 0, 0, 0 }, 8 },
		{ "FIN with payload", { 1, 1, 1, 0, 3, 0, 0, 0 }, 8 },
	};
	struct rig r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_init(&r, 0);
		assert_int_equal(smux_input(r.mux, bad[i].wire, bad[i].n, &e), -1);
		assert_int_equal(e.code, ERR_PROTO);
		end(&r);
	}
	rig_init(&r, 0);
	far(&r, SMUX_PSH, 99, "ignored");
	far(&r, SMUX_FIN, 99, NULL);
	far(&r, SMUX_NOP, 0, NULL);
	far(&r, SMUX_SYN, 4, NULL);
	far(&r, SMUX_PSH, 99, "");
	end(&r);
}

static void broken_session(void **state)
{
	struct rig r;
	struct user a, b, c;
	struct err why;

	(void)state;
	rig_init(&r, 0);
	open_user(&r, &a);
	open_user(&r, &b);
	open_user(&r, &c);
	(void)sent(&r, 1024);
	far(&r, SMUX_PSH, 3, "last");
	far(&r, SMUX_FIN, 3, NULL); /* a has ended cleanly, unread */
	far(&r, SMUX_PSH, 5, "held");
	stream_close(c.s);
	(void)err_set(&why, ERR_CLOSED, "gone");
	smux_break(r.mux, &why);
	assert_int_equal(b.closeds, 0);
	assert_null(smux_open(r.mux, NULL));
	stream_credit(b.s, 10);
	smux_run(r.mux);
	assert_int_equal(b.n, 4);
	assert_int_equal(b.why, ERR_CLOSED);
	assert_int_equal(c.closeds, 1);
	assert_int_equal(a.closeds, 0);
	stream_credit(a.s, 10);
	smux_run(r.mux);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.eofs, 1);
	stream_close(a.s);
	smux_run(r.mux);
	assert_int_equal(a.why, ERR_NONE);
	assert_int_equal(smux_streams(r.mux), 0);
	smux_free(r.mux);
}

/* Received before anyone attached: told after smux_wake(). */
static void late_attach(void **state)
{
	struct rig r;
	struct user a = { 0 };

	(void)state;
	rig_init(&r, 0);
	a.s = smux_open(r.mux, NULL);
	(void)sent(&r, 1024);
	far(&r, SMUX_PSH, 3, "early");
	far(&r, SMUX_FIN, 3, NULL);
	smux_run(r.mux);
	stream_attach(a.s, &user_handler, &a);
	stream_credit(a.s, 10);
	smux_wake(a.s);
	smux_run(r.mux);
	assert_int_equal(a.n, 5);
	assert_int_equal(a.eofs, 1);
	stream_close(a.s);
	end(&r);
	assert_int_equal(a.closeds, 1);
}

static void raw_rig(struct rig *r)
{
	struct smux_opts o = { .raw = true, .send_max = 4096, .hold_max = 1000 };

	*r = (struct rig){ .clock = { rig_mono, rig_wall }, .now = 1000 };
	o.clock = &r->clock;
	r->mux = smux_new(&o, &handler, r, NULL);
	assert_non_null(r->mux);
}

static void feed_raw(struct rig *r, const char *text)
{
	assert_int_equal(smux_input(r->mux, (const uint8_t *)text, strlen(text), NULL), 0);
	smux_run(r->mux);
}

/* One stream, no frames, and what came before its owner waits. */
static void a_raw_one(void **state)
{
	struct rig r;
	struct user u = { 0 };
	uint8_t out[64];
	struct err e;

	(void)state;
	raw_rig(&r);
	u.s = smux_open(r.mux, NULL);
	assert_non_null(u.s);
	assert_null(smux_open(r.mux, &e));
	assert_int_equal(e.code, ERR_CLOSED);
	smux_nop(r.mux);
	assert_int_equal(smux_pull(r.mux, out, sizeof(out), 0), 0);
	feed_raw(&r, "SSH-2.0-x\r\n");
	stream_attach(u.s, &user_handler, &u);
	stream_credit(u.s, 100);
	smux_wake(u.s);
	smux_run(r.mux);
	assert_int_equal(u.n, 11);
	assert_memory_equal(u.got, "SSH-2.0-x\r\n", 11);
	assert_int_equal(stream_write(u.s, (const uint8_t *)"\n", 1), 1); /* a lone LF stays one */
	assert_int_equal(smux_pull(r.mux, out, sizeof(out), 1), 1);
	assert_int_equal(out[0], '\n');
	assert_int_equal(stream_write(u.s, (const uint8_t *)"0123456789", 10), 10);
	assert_int_equal(smux_pull(r.mux, out, 9, 2), 9);
	assert_int_equal(smux_pull(r.mux, out, 9, 3), 1);
	feed_raw(&r, "bye");
	smux_raw_end(r.mux);
	(void)err_set(&e, ERR_CLOSED, "over");
	smux_break(r.mux, &e);
	smux_run(r.mux);
	assert_int_equal(u.n, 14);
	assert_int_equal(u.eofs, 1);
	assert_int_equal(u.closeds, 0);
	stream_close(u.s);
	smux_run(r.mux);
	assert_int_equal(u.closeds, 1);
	assert_int_equal(u.why, ERR_NONE);
	assert_int_equal(smux_streams(r.mux), 0);
	smux_free(r.mux);
}

static void a_raw_one_breaks(void **state)
{
	struct rig r;
	struct user u = { 0 };
	struct err e;

	(void)state;
	raw_rig(&r);
	open_user(&r, &u);
	stream_close(u.s); /* nothing has to be told to the far end */
	smux_run(r.mux);
	feed_raw(&r, "late");
	assert_int_equal(u.closeds, 1);
	(void)err_set(&e, ERR_CLOSED, "over");
	smux_break(r.mux, &e);
	smux_run(r.mux);
	assert_int_equal(smux_streams(r.mux), 0);
	smux_free(r.mux);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_in_order),
		cmocka_unit_test(never_opened_never_sent),
		cmocka_unit_test(writers_share),
		cmocka_unit_test(credit_rules),
		cmocka_unit_test(close_inside_data),
		cmocka_unit_test(shutdown_sends_no_fin),
		cmocka_unit_test(what_moves_is_not_idle),
		cmocka_unit_test(stalled_reader),
		cmocka_unit_test(hard_ceiling),
		cmocka_unit_test(who_was_refused),
		cmocka_unit_test(probe),
		cmocka_unit_test(refused_after_close),
		cmocka_unit_test(unknown_and_broken),
		cmocka_unit_test(broken_session),
		cmocka_unit_test(late_attach),
		cmocka_unit_test(greeted_after_close),
		cmocka_unit_test(closed_and_never_taken),
		cmocka_unit_test(a_raw_one),
		cmocka_unit_test(a_raw_one_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
