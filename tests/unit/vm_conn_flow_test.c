/*
 * Many streams over one link, at the host's end: whoever does not read makes nobody else wait, and
 * what is held for it has a ceiling. What is counted is bytes, never time.
 */
#include "tests/unit/vm_guest.h"

#include <stdio.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"
#include "tests/support/socks.h"
#include "tests/support/until.h"
#include "vm/conn.h"

enum { MUCH = 24 * 1024 * 1024, CHUNK = 64 * 1024, GRANT = 128 * 1024, STREAMS = 6 };

struct fix;
struct flow {
	struct fix *f;
	struct stream *s;
	uint64_t seed, sent, got, goal; /* goal: of each direction */
	bool stalled;                   /* reads nothing */
	bool wrong, ended;
	struct err why;
};
struct fix {
	struct loop *l;
	struct vm_conn *c;
	struct guest g;
	size_t fds;
	struct until clock;
	bool (*until)(struct fix *);
	bool lost;
	struct err why;
	struct flow flows[STREAMS];
	size_t count;
	uint64_t held_most;
};

/* ---- running ---- */

static uint64_t held(struct fix *f)
{
	struct cJSON *o = cJSON_CreateObject();
	uint64_t n;

	vm_conn_describe(f->c, o);
	n = (uint64_t)cJSON_GetObjectItem(o, "held_bytes")->valuedouble;
	cJSON_Delete(o);
	return n;
}

static bool is_so(void *arg)
{
	struct fix *f = arg;
	uint64_t n = f->lost ? 0 : held(f);

	f->held_most = n > f->held_most ? n : f->held_most;
	return f->until(f);
}

static void run_until(struct fix *f, bool (*until)(struct fix *))
{
	f->until = until;
	until_so(&f->clock, is_so);
}

static bool up(struct fix *f)
{
	return vm_conn_network(f->c) != NULL;
}

static bool all_open(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->flows[i].s)
			return false;
	return true;
}

static bool is_done(const struct flow *w)
{
	return w->stalled || (w->sent == w->goal && w->got == w->goal);
}

static bool others_done(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!is_done(&f->flows[i]))
			return false;
	return true;
}

/* ---- flows ---- */

static void pump(struct flow *w)
{
	uint8_t p[CHUNK];
	size_t n, taken;

	while (w->s && w->sent < w->goal) {
		n = w->goal - w->sent < CHUNK ? (size_t)(w->goal - w->sent) : CHUNK;
		pattern_fill(w->seed, w->sent, p, n);
		taken = stream_write(w->s, p, n);
		w->sent += taken;
		if (taken < n)
			return;
	}
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct flow *w = arg;

	if (!pattern_is(w->seed, w->got, p, n))
		w->wrong = true;
	w->got += n;
	if (!w->stalled)
		stream_credit(w->s, n);
}
static void on_writable(void *arg)
{
	pump(arg);
}
static void on_closed(void *arg, const struct err *why)
{
	struct flow *w = arg;

	w->s = NULL;
	w->ended = true;
	if (why)
		w->why = *why;
}
static const struct stream_handler flow_handler = { .data = on_data,
						    .writable = on_writable,
						    .closed = on_closed };

static void dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct flow *w = arg;

	assert_null(why);
	w->s = d->stream;
	stream_attach(w->s, &flow_handler, w);
	if (!w->stalled)
		stream_credit(w->s, GRANT);
}

static struct flow *flow_open(struct fix *f, bool stalled)
{
	const struct dest to = { .host = "192.0.2.7", .port = 7 };
	struct flow *w = &f->flows[f->count++];

	*w = (struct flow){ .f = f, .seed = f->count, .goal = MUCH, .stalled = stalled };
	assert_non_null(vm_conn_dial(f->c, VM_USER_CLIENT, &to, 20000, dialed, w, NULL));
	return w;
}

/* ---- the link ---- */

static void on_lost(void *arg, const struct err *why)
{
	struct fix *f = arg;

	f->lost = true;
	f->why = *why;
}
static const struct vm_conn_handler owner = { .lost = on_lost };

static int setup(void **state)
{
	static struct fix f;
	struct err e;

	f = (struct fix){ .fds = fds_open() };
	if (loop_new(&f.l, &e) != 0)
		return -1;
	until_begin(&f.clock, f.l, TEST_LIMIT_MS, &f);
	*state = &f;
	return 0;
}

static void begin(struct fix *f, unsigned silent_ms)
{
	const struct vm_conn_opts o = { .loop = f->l,
					.ping_ms = silent_ms / 4,
					.silent_ms = silent_ms };
	const struct frame_hello hello = { .least = 1, .most = 1, .agent = "test" };
	struct err e;
	int fd[2];

	unix_pair(fd);
	f->c = vm_conn_new(fd[0], &o, &owner, f, &e);
	assert_non_null(f->c);
	guest_start(&f->g, f->l, fd[1], &hello);
	guest_network(&f->g, true);
	run_until(f, up);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	vm_conn_free(f->c, NULL);
	for (size_t i = 0; i < f->count; i++)
		if (f->flows[i].s)
			stream_abort(f->flows[i].s);
	guest_end(&f->g);
	until_end(&f->clock);
	loop_free(f->l);
	return fds_open() == f->fds ? 0 : -1;
}

/* ---- tests ---- */

static void all_that_is_sent_comes_back(void **state)
{
	struct fix *f = *state;

	begin(f, 0);
	for (int i = 0; i < 4; i++)
		flow_open(f, false);
	run_until(f, all_open);
	for (size_t i = 0; i < f->count; i++)
		pump(&f->flows[i]);
	run_until(f, others_done);
	for (size_t i = 0; i < f->count; i++)
		assert_false(f->flows[i].wrong);
}

static bool has_stalled(struct fix *f)
{
	return held(f) > 0;
}

/* Its far side sends, and sends no more when what was granted is used up; it is not read, so the
 * echo behind it stands still too, and then its own bytes are not taken. */
static void who_does_not_read_stops_nobody(void **state)
{
	struct fix *f = *state;
	uint64_t stood;

	begin(f, 0);
	flow_open(f, true);
	flow_open(f, true);
	run_until(f, all_open);
	pump(&f->flows[0]);
	pump(&f->flows[1]);
	run_until(f, has_stalled);
	for (int i = 0; i < 3; i++)
		flow_open(f, false);
	run_until(f, all_open);
	for (size_t i = 2; i < f->count; i++)
		pump(&f->flows[i]);
	run_until(f, others_done); /* each of them all of its bytes, in both directions */
	for (size_t i = 2; i < f->count; i++)
		assert_false(f->flows[i].wrong);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(f->flows[i].got, 0);
		assert_true(f->flows[i].sent < MUCH / 4);
	}
	/* a window for each that stands, and what is on its way through */
	assert_true(f->held_most <= (uint64_t)(2 + 3) * 1024 * 1024);

	stood = f->flows[0].sent;
	f->flows[0].stalled = false; /* it reads again, and loses nothing */
	stream_credit(f->flows[0].s, GRANT);
	run_until(f, others_done);
	assert_true(f->flows[0].sent > stood);
	assert_false(f->flows[0].wrong);
}

static bool nothing_goes(struct fix *f)
{
	for (size_t i = 0; i < f->count; i++)
		pump(&f->flows[i]);
	return true;
}

static bool lost(struct fix *f)
{
	return f->lost;
}

/* The pipe is full, for the guest reads nothing any more: writers are told so after a bounded
 * number of bytes, a new dial has its limit, and the ping that is not answered ends it all. */
static void a_full_link(void **state)
{
	struct fix *f = *state;
	uint64_t sent = 0;

	begin(f, 2000);
	for (int i = 0; i < 4; i++)
		flow_open(f, false);
	run_until(f, all_open);
	f->g.hangs = true;
	guest_flush(&f->g);
	for (int i = 0; i < 50; i++)
		run_until(f, nothing_goes);
	for (size_t i = 0; i < f->count; i++)
		sent += f->flows[i].sent;
	assert_true(sent > 0);
	assert_true(sent <= 4 * (uint64_t)(256 + 128) * 1024);
	run_until(f, lost);
	assert_int_equal(f->why.code, ERR_TIMEOUT);
	for (size_t i = 0; i < f->count; i++) {
		assert_true(f->flows[i].ended);
		assert_int_equal(f->flows[i].why.code, ERR_TIMEOUT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(all_that_is_sent_comes_back),
		T(who_does_not_read_stops_nobody),
		T(a_full_link),
	};
	struct loop *first; /* the libraries' own descriptors stay */

	if (log_set_level("error", NULL) != 0 || loop_new(&first, NULL) != 0)
		return 1;
	loop_free(first);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
