/* The host's side: it asks, and takes what a guest says. */
#include <string.h>

#include "vm/link_impl.h"

/* --- HELLO and WELCOME --- */

int link_take_hello(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	if (l->helloed)
		return err_set(e, ERR_PROTO, "a second HELLO");
	if (frame_hello_read(&l->hello, p, n, e) != 0)
		return -1;
	if (l->hello.least > FRAME_VERSION || l->hello.most < FRAME_VERSION)
		return err_set(e, ERR_UNSUPPORTED,
			       "the host speaks version %u of the protocol, the guest %u to %u: "
			       "host and agent must be of the same build",
			       FRAME_VERSION, l->hello.least, l->hello.most);
	l->helloed = true;
	l->peer_initial = l->hello.window;
	l->peer_max = l->hello.streams_max;
	if (l->handler->hello)
		l->handler->hello(l->arg, &l->hello);
	return 0;
}

int link_welcome(struct link *l, const struct frame_welcome *w, struct err *e)
{
	if (l->dead || l->failed || !l->helloed || l->welcomed)
		return err_set(e, ERR_CLOSED, "the link has no HELLO to be answered");
	l->welcome = *w;
	l->welcome.version = FRAME_VERSION;
	l->welcome.caps &= l->hello.caps;
	l->welcome.window = l->initial;
	l->welcomed = l->welcome_due = true;
	link_kick(l);
	return 0;
}

/* --- questions --- */

uint32_t link_streams_most(const struct link *l)
{
	return l->o.streams_max < l->peer_max ? l->o.streams_max : l->peer_max;
}

static int may_ask(const struct link *l, struct err *e)
{
	uint32_t most = link_streams_most(l);

	if (l->dead || l->failed || l->peer_left || !l->welcomed)
		return err_set(e, ERR_CLOSED, "the link to the VM is not up");
	if (l->count >= most)
		return err_set(e, ERR_LIMIT, "the VM has %u streams, no more are allowed", most);
	return 0;
}

static uint32_t new_id(struct link *l)
{
	uint32_t id = l->last_id;

	do
		id++;
	while (id == 0 || link_find(l, id));
	return id;
}

static int ask(struct link *l, enum link_kind kind, const uint8_t *p, size_t n, uint32_t *id,
	       struct err *e)
{
	struct link_stream *s = link_add(l, new_id(l), kind);

	if (!s)
		return err_set(e, ERR_NOMEM, "question to the VM");
	if (buf_add(&s->said, p, n, e) != 0) {
		link_drop_id(s);
		link_release(s);
		return -1;
	}
	link_set_asked(l, s->id);
	*id = s->id;
	s->say = kind == LINK_RESOLVE ? FRAME_RESOLVE : FRAME_OPEN;
	link_want_control(s);
	return 0;
}

int link_resolve(struct link *l, const char *name, uint32_t *id, struct err *e)
{
	size_t n = strnlen(name, FRAME_NAME_MAX + 1);

	if (may_ask(l, e) != 0)
		return -1;
	if (n == 0 || n > FRAME_NAME_MAX)
		return err_set(e, ERR_RESOLVE, "a host name has 1 to %u bytes", FRAME_NAME_MAX);
	return ask(l, LINK_RESOLVE, (const uint8_t *)name, n, id, e);
}

int link_open(struct link *l, const struct frame_addresses *a, uint32_t *id, struct err *e)
{
	uint8_t p[FRAME_CONTROL_MAX];

	if (may_ask(l, e) != 0)
		return -1;
	if (a->count == 0 || a->count > FRAME_ADDRESSES_MAX || addr_port(&a->list[0]) == 0)
		return err_set(e, ERR_USAGE, "1 to %u addresses with a port are needed",
			       FRAME_ADDRESSES_MAX);
	return ask(l, LINK_OPEN, p, frame_addresses_write(p, a), id, e);
}

void link_take_back(struct link *l, uint32_t id)
{
	struct link_stream *s = link_find(l, id);

	if (!s || s->kind == LINK_STREAM || s->taken_back)
		return;
	s->taken_back = true;
	if (s->say) { /* it has not left */
		link_drop_id(s);
		link_release(s);
		return;
	}
	s->reset_due = true;
	link_want_control(s);
}

void link_shutdown(struct link *l)
{
	l->shutdown_due = true;
	link_kick(l);
}

/* --- answers --- */

static int wrong(const struct link *l, const char *what, struct err *e)
{
	return err_set(e, ERR_PROTO, "%s of stream %u, %s", frame_name(l->frame.type),
		       l->frame.stream, what);
}

static void end_question(struct link_stream *s)
{
	link_drop_id(s);
	link_release(s);
}

static void answered(struct link *l, const struct link_answer *a)
{
	if (l->handler->answered)
		l->handler->answered(l->arg, l->frame.stream, a);
}

static int take_opened(struct link_stream *s, const struct frame_addresses *a, struct err *e)
{
	struct link *l = s->link;

	if (a->count != 1 || addr_port(&a->list[0]) == 0)
		return wrong(l, "which tells not one address and port", e);
	link_become_stream(s);
	answered(l, &(struct link_answer){ .stream = &s->stream, .to = a->list[0] });
	return 0;
}

static int take_addresses(struct link_stream *s, const uint8_t *p, size_t n, struct err *e)
{
	struct link *l = s->link;
	struct frame_addresses a;

	if (frame_addresses_read(&a, p, n, e) != 0)
		return err_wrap(e, "%s of stream %u", frame_name(l->frame.type), s->id);
	if (a.flags)
		return wrong(l, "with flags", e);
	if (l->frame.type == FRAME_OPENED)
		return take_opened(s, &a, e);
	if (addr_port(&a.list[0]))
		return wrong(l, "with a port", e);
	end_question(s);
	answered(l, &(struct link_answer){ .addresses = &a });
	return 0;
}

static int take_failed(struct link_stream *s, const uint8_t *p, size_t n, struct err *e)
{
	struct link *l = s->link;
	struct frame_failed f;

	if (frame_failed_read(&f, p, n, e) != 0)
		return -1;
	end_question(s);
	answered(l, &(struct link_answer){ .failed = &f });
	return 0;
}

int link_take_answer(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct link_stream *s = link_find(l, l->frame.stream);
	uint8_t type = l->frame.type;

	if (!s && link_was_asked(l, l->frame.stream))
		return 0; /* it was taken back */
	if (!s || s->say || s->kind == LINK_STREAM)
		return wrong(l, "which was not asked", e);
	if (type != FRAME_FAILED && (type == FRAME_OPENED) != (s->kind == LINK_OPEN))
		return wrong(l, "which was asked something else", e);
	if (s->taken_back) {
		if (type != FRAME_OPENED)
			end_question(s); /* the guest is done with it */
		return 0;
	}
	return type == FRAME_FAILED ? take_failed(s, p, n, e) : take_addresses(s, p, n, e);
}

/* --- what the guest tells by itself --- */

int link_take_network(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct frame_network net;

	if (frame_network_read(&net, p, n, e) != 0)
		return -1;
	if (l->handler->network)
		l->handler->network(l->arg, &net);
	return 0;
}

int link_take_metrics(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct frame_metrics m;

	if (frame_metrics_read(&m, p, n, e) != 0)
		return -1;
	if (l->handler->metrics)
		l->handler->metrics(l->arg, &m);
	return 0;
}

int link_take_log(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	char text[FRAME_TEXT_MAX + 1];

	if (p[0] > FRAME_LOG_LEVEL_MAX)
		return err_set(e, ERR_PROTO, "LOG of level %u", p[0]);
	if (frame_text_read(text, sizeof(text), p + 1, n - 1, e) != 0)
		return err_wrap(e, "LOG");
	if (l->handler->log)
		l->handler->log(l->arg, p[0], text);
	return 0;
}
