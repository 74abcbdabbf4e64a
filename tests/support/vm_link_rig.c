#include "tests/support/vm_link_rig.h"

#include <string.h>

#include "base/str.h"
#include "tests/support/cmocka_all.h"

static void note(char *to, size_t size, const char *text)
{
	(void)str_fmt(to, size, "%s", text);
}

/* --- the owner of a link --- */

static void on_kick(void *arg)
{
	((struct side *)arg)->kicks++;
}
static void on_hello(void *arg, const struct frame_hello *h)
{
	struct side *s = arg;
	struct frame_welcome w = { .caps = FRAME_CAP_IPV6 };

	s->hellos++;
	s->hello = *h;
	if (!s->no_welcome)
		assert_int_equal(link_welcome(s->l, &w, NULL), 0);
}
static void on_network(void *arg, const struct frame_network *n)
{
	struct side *s = arg;

	s->networks++;
	s->network = *n;
}
static void on_metrics(void *arg, const struct frame_metrics *m)
{
	struct side *s = arg;

	s->metrics++;
	s->last_metrics = *m;
}
static void on_log(void *arg, unsigned level, const char *text)
{
	struct side *s = arg;

	(void)level;
	note(s->log[s->logs++ % RIG_EVENTS], sizeof(s->log[0]), text);
}
static void on_answered(void *arg, uint32_t id, const struct link_answer *a)
{
	struct side *s = arg;
	struct rig_answer *to = &s->answer[s->answers++ % RIG_EVENTS];

	*to = (struct rig_answer){ .id = id, .stream = a->stream, .to = a->to };
	if (a->addresses)
		to->addresses = a->addresses->count;
	if (a->failed) {
		to->cause = a->failed->cause;
		note(to->text, sizeof(to->text), a->failed->text);
	}
}
static void on_welcome(void *arg, const struct frame_welcome *w)
{
	struct side *s = arg;

	s->welcomes++;
	s->welcome = *w;
}
static void on_ask(struct side *s, uint32_t id)
{
	struct frame_failed f = { .cause = FRAME_CAUSE_REFUSED, .text = "refused" };

	s->asked[s->asks++ % RIG_EVENTS] = id;
	if (s->fail_at_once)
		link_failed(s->l, id, &f);
}
static void on_resolve(void *arg, uint32_t id, const char *name)
{
	struct side *s = arg;

	note(s->name, sizeof(s->name), name);
	on_ask(s, id);
}
static void on_open(void *arg, uint32_t id, const struct frame_addresses *a)
{
	struct side *s = arg;

	s->open = *a;
	on_ask(s, id);
}
static void on_taken_back(void *arg, uint32_t id)
{
	struct side *s = arg;

	s->taken_back[s->taken_backs++ % RIG_EVENTS] = id;
}
static void on_shutdown(void *arg)
{
	((struct side *)arg)->shutdowns++;
}
static void on_pong(void *arg, uint64_t token)
{
	struct side *s = arg;

	s->pongs++;
	s->token = token;
}
static void on_goodbye(void *arg, const char *text)
{
	struct side *s = arg;

	s->goodbyes++;
	note(s->goodbye, sizeof(s->goodbye), text);
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

void side_init(struct side *s, enum link_role role, const struct link_opts *o)
{
	struct link_opts opts = o ? *o : (struct link_opts){ 0 };

	memset(s, 0, sizeof(*s));
	opts.role = role;
	s->l = link_new(&opts, &handler, s, NULL);
	assert_non_null(s->l);
}

bool side_try(struct side *s, enum link_role role)
{
	struct link_opts opts = { .role = role };
	struct err e;

	memset(s, 0, sizeof(*s));
	s->l = link_new(&opts, &handler, s, &e);
	if (!s->l)
		assert_int_equal(e.code, ERR_NOMEM);
	return s->l;
}

void rig_free(struct side *host, struct side *guest)
{
	link_break(host->l, NULL);
	link_run(host->l);
	link_free(host->l);
	link_break(guest->l, NULL);
	link_run(guest->l);
	link_free(guest->l);
}

void rig_greet(struct side *host, struct side *guest)
{
	struct frame_hello h = { .caps = FRAME_CAP_IPV6, .agent = "0.1.0 test" };

	memset(h.nonce, 7, sizeof(h.nonce));
	link_hello(guest->l, &h);
	rig_pump(host, guest);
	assert_int_equal(host->hellos, 1);
	assert_int_equal(guest->welcomes, 1);
}

/* --- bytes --- */

size_t rig_move(struct side *from, struct side *to, size_t cut, size_t most)
{
	static uint8_t p[256 * 1024];
	size_t moved = 0, n;

	while (moved < most && (n = link_pull(from->l, p, sizeof(p))) > 0) {
		size_t piece = cut ? cut : n;

		for (size_t at = 0; at < n; at += piece) {
			struct err e = { 0 };
			size_t part = n - at < piece ? n - at : piece;

			if (link_input(to->l, p + at, part, &e) != 0)
				fail_msg("%s", e.msg);
		}
		moved += n;
	}
	from->out += moved;
	return moved;
}

void rig_pump(struct side *host, struct side *guest)
{
	for (int idle = 0; idle < 3;) {
		size_t n = rig_move(host, guest, 0, SIZE_MAX) + rig_move(guest, host, 0, SIZE_MAX);

		link_run(host->l);
		link_run(guest->l);
		idle = n ? 0 : idle + 1;
	}
	assert_false(link_pending(host->l));
	assert_false(link_pending(guest->l));
}

int rig_feed(struct side *s, uint8_t type, uint32_t id, const void *p, size_t n, struct err *e)
{
	static uint8_t frame[FRAME_HEAD + 1024 * 1024];

	assert_true(n <= sizeof(frame) - FRAME_HEAD);
	frame_head_write(frame, (enum frame_type)type, (uint32_t)n, id);
	if (n)
		memcpy(frame + FRAME_HEAD, p, n);
	*e = (struct err){ 0 };
	return link_input(s->l, frame, FRAME_HEAD + n, e);
}

/* --- the owner of a stream --- */

uint8_t rig_pattern(size_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct user *u = arg;

	for (size_t i = 0; i < n; i++)
		u->bad += p[i] != rig_pattern(u->n + i);
	u->n += n;
	u->calls++;
	if (n > u->max_piece)
		u->max_piece = n;
	if (u->close_on_data)
		stream_close(u->s);
	if (u->abort_on_data)
		stream_abort(u->s);
	if (u->credit_back)
		stream_credit(u->s, n);
}
static void u_eof(void *arg)
{
	struct user *u = arg;

	u->eofs++;
	if (u->close_on_eof)
		stream_close(u->s);
}
static void u_writable(void *arg)
{
	struct user *u = arg;

	u->writables++;
	if (u->write_on_writable)
		user_write(u, SIZE_MAX);
}
static void u_closed(void *arg, const struct err *why)
{
	struct user *u = arg;

	u->closeds++;
	u->clean = !why;
	if (why) {
		u->why = why->code;
		note(u->msg, sizeof(u->msg), why->msg);
	}
	u->s = NULL;
}
static const struct stream_handler user_handler = { u_data, u_eof, u_writable, u_closed };

void user_attach(struct user *u, struct stream *s)
{
	u->s = s;
	stream_attach(s, &user_handler, u);
}

size_t user_write(struct user *u, size_t n)
{
	uint8_t p[4096];
	size_t all = 0, part, took;

	do {
		part = n - all < sizeof(p) ? n - all : sizeof(p);
		for (size_t i = 0; i < part; i++)
			p[i] = rig_pattern(u->wrote + i);
		took = stream_write(u->s, p, part);
		u->wrote += took;
		all += took;
	} while (all < n && took == part);
	return all;
}

/* --- questions --- */

void rig_address(struct frame_addresses *a, const char *text, uint16_t port)
{
	assert_true(addr_from_literal(text, port, &a->list[a->count]));
	a->count++;
}

uint32_t rig_ask_open(struct side *host)
{
	struct frame_addresses a = { .count = 0 };
	uint32_t id = 0;

	rig_address(&a, "192.0.2.7", 80);
	assert_int_equal(link_open(host->l, &a, &id, NULL), 0);
	return id;
}

uint32_t rig_ask_name(struct side *host, const char *name)
{
	uint32_t id = 0;

	assert_int_equal(link_resolve(host->l, name, &id, NULL), 0);
	return id;
}

void rig_open(struct side *host, struct side *guest, struct user *a, struct user *b)
{
	uint32_t id = rig_ask_open(host);
	struct rig_answer *answer = &host->answer[host->answers % RIG_EVENTS];

	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	rig_pump(host, guest);
	user_attach(b, link_opened(guest->l, id, &guest->open.list[0]));
	rig_pump(host, guest);
	assert_int_equal(answer->id, id);
	user_attach(a, answer->stream);
}
