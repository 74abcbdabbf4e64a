/*
 * One link, as host or as guest, against a peer that says anything: the input is a list of acts, of
 * the peer (raw bytes; frames with right heads and any payload) and of our owners (who write,
 * grant, close, ask, answer, break). Laws:
 *
 *   - what is held stays within the budget, streams within their number, output within bounds
 *   - whatever we send are frames that we may send, however little is pulled at a time
 *   - each owner is told closed() once, nothing after it, and no more bytes than it granted
 *   - however the peer's bytes are cut, the same is told and the verdict is the same
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "stream/stream.h"
#include "vm/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { USERS = 64, STREAMS = 8, BUDGET = 32 << 10, WINDOW = 16 << 10, SEND = 4096 };

struct user {
	struct stream *s;
	struct world *w;
	size_t credit;
	int eofs, closeds;
};

struct world {
	struct link *l;
	enum link_role role;
	struct user user[USERS];
	unsigned users;
	uint32_t asked[16]; /* of the host: ours; of the guest: the peer's */
	unsigned asks;
	uint64_t told; /* hash of all that was told, in order */
	bool failed, goodbye;
	uint8_t mood; /* what handlers do by themselves */
	bool calm;    /* but nothing that depends on how many bytes come at once */
};

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t next(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

static void tell(struct world *w, uint64_t v)
{
	w->told = (w->told ^ v) * 1099511628211u;
}

/* --- owners of streams --- */

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct user *u = arg;

	assert(!u->closeds && !u->eofs && n > 0 && n <= u->credit);
	u->credit -= n;
	for (size_t i = 0; i < n; i++)
		tell(u->w, p[i]);
	if (u->w->mood & 1)
		stream_close(u->s);
	if (u->w->mood & 2) {
		u->credit += n;
		stream_credit(u->s, n);
	}
	if (u->w->mood & 4)
		stream_write(u->s, p, n);
}
static void u_eof(void *arg)
{
	struct user *u = arg;

	assert(!u->closeds && !u->eofs);
	u->eofs++;
	if (u->w->mood & 8)
		stream_close(u->s);
}
static void u_writable(void *arg)
{
	struct user *u = arg;

	assert(!u->closeds);
	if (u->w->mood & 16)
		stream_shutdown(u->s);
}
static void u_closed(void *arg, const struct err *why)
{
	struct user *u = arg;

	(void)why;
	assert(!u->closeds);
	u->closeds++;
	u->s = NULL;
}
static const struct stream_handler user_handler = { u_data, u_eof, u_writable, u_closed };

static void attach(struct world *w, struct stream *s)
{
	struct user *u = &w->user[w->users % USERS];

	if (!s)
		return;
	if (w->users == USERS) { /* too many for one run: nobody wants it */
		stream_abort(s);
		return;
	}
	w->users++;
	u->s = s;
	u->w = w;
	stream_attach(s, &user_handler, u);
	u->credit = 300;
	stream_credit(s, 300);
}

/* --- owner of the link --- */

static void on_kick(void *arg)
{
	(void)arg;
}
static void on_hello(void *arg, const struct frame_hello *h)
{
	struct world *w = arg;
	struct frame_welcome welcome = { .caps = FRAME_CAP_IPV6 };

	tell(w, h->window);
	assert(link_welcome(w->l, &welcome, NULL) == 0);
}
static void on_network(void *arg, const struct frame_network *n)
{
	tell(arg, n->prefix);
}
static void on_metrics(void *arg, const struct frame_metrics *m)
{
	tell(arg, m->uptime_ms);
}
static void on_log(void *arg, unsigned level, const char *text)
{
	assert(level <= FRAME_LOG_LEVEL_MAX);
	tell(arg, strlen(text));
}
static void on_answered(void *arg, uint32_t id, const struct link_answer *a)
{
	struct world *w = arg;

	assert(w->role == LINK_HOST);
	assert(!!a->stream + !!a->addresses + !!a->failed == 1);
	assert(!a->addresses || a->addresses->count > 0);
	tell(w, id);
	attach(w, a->stream);
}
static void on_welcome(void *arg, const struct frame_welcome *m)
{
	tell(arg, m->window);
}
static void asked(struct world *w, uint32_t id)
{
	struct frame_failed f = { .cause = FRAME_CAUSE_TIMEOUT, .text = "late" };

	tell(w, id);
	w->asked[w->asks++ % 16] = id;
	if (w->mood & 32)
		link_failed(w->l, id, &f);
}
static void on_resolve(void *arg, uint32_t id, const char *name)
{
	assert(strlen(name) >= 1);
	asked(arg, id);
}
static void on_open(void *arg, uint32_t id, const struct frame_addresses *a)
{
	struct world *w = arg;

	assert(a->count && addr_port(&a->list[0]));
	asked(w, id);
	if (w->mood & 64)
		attach(w, link_opened(w->l, id, &a->list[0]));
}
static void on_taken_back(void *arg, uint32_t id)
{
	tell(arg, id);
}
static void on_shutdown(void *arg)
{
	tell(arg, 1);
}
static void on_pong(void *arg, uint64_t token)
{
	tell(arg, token);
}
static void on_goodbye(void *arg, const char *text)
{
	tell(arg, strlen(text));
}
static const struct link_handler handler = {
	.kick = on_kick,
	.hello = on_hello,
	.network = on_network,
	.metrics = on_metrics,
	.log = on_log,
	.answered = on_answered,
	.welcome = on_welcome,
	.resolve = on_resolve,
	.open = on_open,
	.taken_back = on_taken_back,
	.shutdown = on_shutdown,
	.pong = on_pong,
	.goodbye = on_goodbye,
};

/* --- acts of the peer --- */

static void feed(struct world *w, const uint8_t *p, size_t n, size_t cut)
{
	struct err e = { 0 };

	for (size_t at = 0; at < n && !w->failed; at += cut) {
		size_t part = n - at < cut ? n - at : cut;

		if (link_input(w->l, p + at, part, &e) == 0)
			continue;
		assert(e.code == ERR_PROTO || e.code == ERR_UNSUPPORTED);
		assert(e.msg[0]);
		w->failed = true;
	}
	assert(link_held(w->l) <= BUDGET);
	assert(link_streams(w->l) <= 2 * STREAMS + USERS);
}

static void feed_frame(struct world *w, struct input *in, size_t cut)
{
	static const uint8_t types[] = { FRAME_NETWORK,   FRAME_PING,    FRAME_PONG,   FRAME_LOG,
					 FRAME_METRICS,   FRAME_RESOLVE, FRAME_OPEN,   FRAME_OPENED,
					 FRAME_ADDRESSES, FRAME_FAILED,  FRAME_DATA,   FRAME_WINDOW,
					 FRAME_EOF,       FRAME_RESET,   FRAME_STOP,   FRAME_DATA,
					 FRAME_OPEN,      FRAME_OPENED,  FRAME_GOODBYE };
	uint8_t frame[FRAME_HEAD + 2048], type = types[next(in) % sizeof(types)];
	uint32_t id = next(in) % 24;
	size_t n = next(in);

	if (type == FRAME_DATA)
		n = n * 8 + 1;
	if (n > in->n && type != FRAME_DATA)
		n = in->n;
	memset(frame, 'd', sizeof(frame));
	frame_head_write(frame, (enum frame_type)type, (uint32_t)n, type < 0x20 ? 0 : id);
	for (size_t i = 0; i < n && in->n && i < 300; i++)
		frame[FRAME_HEAD + i] = next(in);
	feed(w, frame, FRAME_HEAD + n, cut);
}

static void greet(struct world *w)
{
	uint8_t p[FRAME_HEAD + FRAME_CONTROL_MAX];
	struct frame_hello h = { .least = 1, .most = 1, .window = 1500, .streams_max = STREAMS };
	struct frame_welcome m = { 1, 0, 1500 };
	size_t n;

	if (w->role == LINK_HOST) {
		n = frame_hello_write(p + FRAME_HEAD, &h);
		frame_head_write(p, FRAME_HELLO, (uint32_t)n, 0);
	} else {
		link_hello(w->l, &h);
		assert(link_pull(w->l, p, sizeof(p)) > 0);
		n = frame_welcome_write(p + FRAME_HEAD, &m);
		frame_head_write(p, FRAME_WELCOME, (uint32_t)n, 0);
	}
	feed(w, p, FRAME_HEAD + n, SIZE_MAX / 2);
	assert(!w->failed);
}

/* --- what we send --- */

static bool may_say(enum link_role role, uint8_t type)
{
	switch (type) {
	case FRAME_HELLO:
	case FRAME_NETWORK:
	case FRAME_LOG:
	case FRAME_METRICS:
	case FRAME_ADDRESSES:
	case FRAME_OPENED:
	case FRAME_FAILED: return role == LINK_GUEST;
	case FRAME_WELCOME:
	case FRAME_SHUTDOWN:
	case FRAME_RESOLVE:
	case FRAME_OPEN: return role == LINK_HOST;
	default: return true;
	}
}

static void pull(struct world *w, size_t max)
{
	uint8_t p[64 * 1024];
	struct frame_head h;
	size_t n;

	max = FRAME_HEAD + FRAME_CONTROL_MAX + max * 64;
	n = link_pull(w->l, p, max);
	assert(n <= max);
	for (size_t at = 0; at < n; at += FRAME_HEAD + h.length) {
		assert(n - at >= FRAME_HEAD);
		assert(frame_head_read(&h, p + at, NULL) == 0);
		assert(n - at >= FRAME_HEAD + h.length);
		assert(may_say(w->role, h.type) && !w->goodbye); /* it is the last */
		w->goodbye = h.type == FRAME_GOODBYE;
	}
}

static void pull_all(struct world *w)
{
	for (int i = 0; i < 1000 && link_pending(w->l); i++)
		pull(w, 900);
	assert(!link_pending(w->l)); /* it was bounded */
}

/* --- acts of owners --- */

static void own_stream(struct world *w, struct input *in)
{
	static const uint8_t bytes[4096] = { 0 };
	struct user *u = &w->user[next(in) % (w->users ? w->users : 1)];
	uint8_t act = next(in), n = next(in);

	if (!u->s)
		return;
	if (act % 6 == 0) {
		u->credit += n * 16u;
		stream_credit(u->s, n * 16u);
	} else if (act % 6 == 1) {
		assert(stream_write(u->s, bytes, n * 16u) <= n * 16u);
	} else if (act % 6 == 2) {
		stream_shutdown(u->s);
	} else if (act % 6 == 3) {
		stream_close(u->s);
	} else if (act % 6 == 4) {
		stream_abort(u->s);
	} else {
		stream_attach(u->s, &user_handler, u);
	}
}

static void own_host(struct world *w, struct input *in)
{
	struct frame_addresses a = { .count = 1 };
	uint8_t act = next(in);
	uint32_t id;

	assert(addr_from_literal("192.0.2.1", 80, &a.list[0]));
	if (act % 4 == 0 && link_open(w->l, &a, &id, NULL) == 0)
		w->asked[w->asks++ % 16] = id;
	else if (act % 4 == 1 && link_resolve(w->l, "name", &id, NULL) == 0)
		w->asked[w->asks++ % 16] = id;
	else if (act % 4 == 2)
		link_take_back(w->l, w->asked[next(in) % 16]);
	else if (act % 4 == 3)
		link_shutdown(w->l);
}

static void own_guest(struct world *w, struct input *in)
{
	struct frame_addresses a = { .count = 1 };
	struct frame_failed f = { .cause = 1, .text = "no" };
	uint8_t act = next(in);
	uint32_t id = w->asked[next(in) % 16];

	assert(addr_from_literal("192.0.2.1", 80, &a.list[0]));
	if (act % 5 == 0)
		attach(w, link_opened(w->l, id, &a.list[0]));
	else if (act % 5 == 1)
		link_failed(w->l, id, &f);
	else if (act % 5 == 2)
		link_addresses(w->l, id, &a);
	else if (act % 5 == 3)
		link_log(w->l, act, "a line of some length");
	else
		link_network(w->l, &(struct frame_network){ .why = "none" });
}

static void act(struct world *w, struct input *in, size_t cut)
{
	uint8_t what = next(in);
	size_t n;

	switch (what % 8) {
	case 0:
		n = next(in);
		if (n > in->n)
			n = in->n;
		feed(w, in->p, n, cut);
		in->p += n;
		in->n -= n;
		return;
	case 1:
	case 2: feed_frame(w, in, cut); return;
	case 3: own_stream(w, in); return;
	case 4: w->role == LINK_HOST ? own_host(w, in) : own_guest(w, in); return;
	case 5: pull(w, next(in)); return;
	case 6: link_run(w->l); return;
	default: w->mood = next(in) & (w->calm ? 0x78 : 0x7f); link_ping(w->l, w->mood);
	}
}

static struct world *begin(enum link_role role)
{
	struct link_opts o = { .role = role,
			       .streams_max = STREAMS,
			       .window = WINDOW,
			       .budget = BUDGET,
			       .send_max = SEND };
	struct world *w = calloc(1, sizeof(*w));

	assert(w);
	w->role = role;
	w->l = link_new(&o, &handler, w, NULL);
	assert(w->l);
	return w;
}

static void finish(struct world *w)
{
	struct err why;

	pull_all(w);
	assert(w->goodbye == w->failed);
	(void)err_set(&why, ERR_CLOSED, "over");
	link_break(w->l, &why);
	for (unsigned i = 0; i < w->users; i++)
		if (w->user[i].s) /* had ended in good order: its owner closes it */
			stream_close(w->user[i].s);
	for (int i = 0; i < 3; i++)
		link_run(w->l);
	for (unsigned i = 0; i < w->users; i++)
		assert(w->user[i].closeds == 1);
	assert(link_streams(w->l) == 0 && link_held(w->l) == 0);
	link_free(w->l);
	free(w);
}

/* The first byte: 1 the role, 2 before HELLO, 4 calm. */
static uint64_t play(struct input in, size_t cut)
{
	uint8_t how = next(&in);
	struct world *w = begin(how & 1);
	uint64_t told;

	w->calm = how & 4;
	if (!(how & 2))
		greet(w);
	while (in.n)
		act(w, &in, cut);
	link_run(w->l);
	told = w->told ^ w->failed;
	finish(w);
	return told;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, n };
	uint64_t whole = play(in, SIZE_MAX / 2);

	if (n && p[0] & 4)
		assert(play(in, 1) == whole);
	return 0;
}
