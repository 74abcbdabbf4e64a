/*
 * Laws: however the bytes are cut, the parser yields the same frames and the
 * same verdict; and a mux fed with anything holds no more than its ceiling
 * and ends with every owner told exactly once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/smux.h"
#include "backend/ssm/smux_frame.h"
#include "base/clock.h"
#include "stream/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct trace { /* frames in a form that does not depend on the cuts */
	uint64_t hash;
	int result;
	uint32_t psh_id;
	bool in_psh;
};

static void mix(struct trace *t, uint64_t v)
{
	t->hash = (t->hash ^ v) * 1099511628211u;
}

static void feed(struct trace *t, struct smux_parser *ps, const uint8_t *p, size_t n)
{
	struct smux_frame f;

	while (t->result >= 0 && (t->result = smux_parse(ps, &p, &n, &f, NULL)) == 1) {
		if (f.cmd != SMUX_PSH || !t->in_psh || t->psh_id != f.id) {
			mix(t, (uint64_t)f.cmd << 32 | f.id);
		}
		t->in_psh = f.cmd == SMUX_PSH && ps->left;
		t->psh_id = f.id;
		for (size_t i = 0; i < f.n; i++)
			mix(t, f.p[i]);
	}
}

static void cut_anywhere(const uint8_t *p, size_t n)
{
	struct trace whole = { 0 }, bytes = { 0 }, two = { 0 };
	struct smux_parser a = { 0 }, b = { 0 }, c = { 0 };
	size_t cut = n ? p[0] % n : 0;

	feed(&whole, &a, p, n);
	for (size_t i = 0; i < n; i++)
		feed(&bytes, &b, p + i, 1);
	feed(&two, &c, p, cut);
	feed(&two, &c, p + cut, n - cut);
	assert((whole.result < 0) == (bytes.result < 0) && whole.hash == bytes.hash);
	assert((whole.result < 0) == (two.result < 0) && whole.hash == two.hash);
}

struct owner {
	struct stream *s;
	int closeds;
};

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
	if (fate == SMUX_REFUSED)
		stream_close(s);
}
static void on_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void on_closed(void *arg, const struct err *why)
{
	struct owner *o = arg;

	(void)why;
	o->closeds++;
	o->s = NULL;
}
static const struct smux_handler handler = { ignore, on_hold, on_decided, ignore };
static const struct stream_handler user = { on_data, ignore, ignore, on_closed };

static void pull_all(struct smux *m)
{
	uint8_t out[256];

	while (smux_pull(m, out, sizeof(out), 0))
		;
}

static void whole_mux(const uint8_t *p, size_t n)
{
	struct smux_opts o = { .clock = &clock_system, .hold_max = 64, .send_max = 64 };
	struct smux *m = smux_new(&o, &handler, NULL, NULL);
	struct owner owner[4] = { 0 };
	struct err why;

	for (int i = 0; i < 4; i++) {
		owner[i].s = smux_open(m, NULL);
		stream_attach(owner[i].s, &user, &owner[i]);
		stream_credit(owner[i].s, (size_t)i * 100);
	}
	pull_all(m);
	if (n && p[0] & 1)
		smux_refused(m);
	if (n && p[0] & 2)
		stream_close(owner[1].s);
	(void)smux_input(m, p, n, NULL);
	smux_run(m);
	pull_all(m);
	(void)err_set(&why, ERR_CLOSED, "over");
	smux_break(m, &why);
	smux_run(m);
	for (int i = 0; i < 4; i++)
		if (owner[i].s) /* ended cleanly: its owner has to close it */
			stream_close(owner[i].s);
	smux_run(m);
	for (int i = 0; i < 4; i++)
		assert(owner[i].closeds == 1);
	assert(smux_streams(m) == 0);
	smux_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	cut_anywhere(p, n);
	whole_mux(p, n);
	return 0;
}
