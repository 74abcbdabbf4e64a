/* The guest's side: it says who it is, takes questions and answers them. */
#include <string.h>

#include "base/str.h"
#include "vm/link_impl.h"

enum {
	LOG_WARNING = 1, /* LOG_WARN of base/log.h */
	LOST_ROOM = 2 * (FRAME_HEAD + 1) + 64
};

/* --- HELLO and WELCOME --- */

void link_hello(struct link *l, const struct frame_hello *h)
{
	if (l->helloed)
		return;
	l->hello = *h;
	if (h->most == 0)
		l->hello.least = l->hello.most = FRAME_VERSION;
	l->hello.window = l->initial;
	l->hello.streams_max = l->o.streams_max;
	l->helloed = l->hello_due = true;
	link_kick(l);
}

int link_take_welcome(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct frame_welcome w;

	if (l->welcomed)
		return err_set(e, ERR_PROTO, "a second WELCOME");
	if (!l->helloed || l->hello_due)
		return err_set(e, ERR_PROTO, "WELCOME before HELLO");
	if (frame_welcome_read(&w, p, n, e) != 0)
		return -1;
	if (w.version < l->hello.least || w.version > l->hello.most)
		return err_set(e, ERR_PROTO, "WELCOME to version %u, the guest speaks %u to %u",
			       w.version, l->hello.least, l->hello.most);
	if (w.caps & ~l->hello.caps)
		return err_set(e, ERR_PROTO, "WELCOME with capabilities that were not offered");
	l->welcomed = true;
	l->peer_initial = w.window;
	if (l->handler->welcome)
		l->handler->welcome(l->arg, &w);
	link_kick(l); /* what has waited for it */
	return 0;
}

/* --- questions --- */

static int new_question(struct link *l, enum link_kind kind, struct err *e)
{
	uint32_t id = l->frame.stream;

	if ((int32_t)(id - l->last_id) <= 0 || link_find(l, id))
		return err_set(e, ERR_PROTO, "%s of stream %u, whose number is not new",
			       frame_name(l->frame.type), id);
	if (l->ids >= l->o.streams_max)
		return err_set(e, ERR_PROTO, "%s of stream %u, over the %u that are allowed",
			       frame_name(l->frame.type), id, l->o.streams_max);
	link_set_asked(l, id);
	if (!link_add(l, id, kind))
		return err_set(e, ERR_NOMEM, "question of the host");
	return 0;
}

/* Streams whose owners are not done with them take memory, though the host knows them no more. */
static bool refuse(struct link *l)
{
	struct frame_failed f = { .cause = FRAME_CAUSE_LIMIT, .text = "too many streams" };

	if (l->count <= l->o.streams_max)
		return false;
	link_failed(l, l->frame.stream, &f);
	return true;
}

static int take_open(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct frame_addresses a;
	uint32_t id = l->frame.stream;

	if (frame_addresses_read(&a, p, n, e) != 0)
		return err_wrap(e, "OPEN of stream %u", id);
	if (addr_port(&a.list[0]) == 0)
		return err_set(e, ERR_PROTO, "OPEN of stream %u, without a port", id);
	if (new_question(l, LINK_OPEN, e) != 0)
		return -1;
	if (!refuse(l) && l->handler->open)
		l->handler->open(l->arg, id, &a);
	return 0;
}

int link_take_question(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	char name[FRAME_NAME_MAX + 1];
	uint32_t id = l->frame.stream;

	if (l->frame.type == FRAME_OPEN)
		return take_open(l, p, n, e);
	if (frame_text_read(name, sizeof(name), p, n, e) != 0)
		return err_wrap(e, "RESOLVE of stream %u", id);
	if (new_question(l, LINK_RESOLVE, e) != 0)
		return -1;
	if (!refuse(l) && l->handler->resolve)
		l->handler->resolve(l->arg, id, name);
	return 0;
}

/* --- answers --- */

/* NULL: it was taken back, or is answered. */
static struct link_stream *question(struct link *l, uint32_t id)
{
	struct link_stream *s = link_find(l, id);

	return s && s->kind != LINK_STREAM && !s->say ? s : NULL;
}

static void answer(struct link_stream *s, enum frame_type type, const uint8_t *p, size_t n,
		   uint8_t cause)
{
	s->say = (uint8_t)type;
	s->cause = cause;
	if (buf_add(&s->said, p, n, NULL) != 0)
		s->say = FRAME_FAILED; /* with the cause alone */
	link_want_control(s);
}

void link_addresses(struct link *l, uint32_t id, const struct frame_addresses *a)
{
	struct link_stream *s = question(l, id);
	struct frame_addresses copy = *a;
	uint8_t p[FRAME_CONTROL_MAX];

	if (!s || s->kind != LINK_RESOLVE || a->count == 0)
		return;
	copy.flags = 0;
	addr_set_port(&copy.list[0], 0);
	answer(s, FRAME_ADDRESSES, p, frame_addresses_write(p, &copy), FRAME_CAUSE_LIMIT);
}

void link_failed(struct link *l, uint32_t id, const struct frame_failed *f)
{
	struct link_stream *s = question(l, id);
	uint8_t p[FRAME_CONTROL_MAX];

	if (s)
		answer(s, FRAME_FAILED, p, frame_failed_write(p, f), f->cause);
}

struct stream *link_opened(struct link *l, uint32_t id, const struct addr *to)
{
	struct link_stream *s = question(l, id);
	struct frame_addresses a = { .list = { *to }, .count = 1 };

	if (!s || s->kind != LINK_OPEN)
		return NULL;
	s->opened_n = (uint8_t)frame_addresses_write(s->opened, &a);
	s->say = FRAME_OPENED;
	link_become_stream(s);
	link_want_control(s);
	return &s->stream;
}

/* --- what it tells by itself --- */

int link_take_shutdown(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	(void)p;
	(void)n;
	(void)e;
	if (l->handler->shutdown)
		l->handler->shutdown(l->arg);
	return 0;
}

void link_network(struct link *l, const struct frame_network *net)
{
	l->network = *net;
	l->network_due = true;
	link_kick(l);
}

void link_metrics(struct link *l, const struct frame_metrics *m)
{
	l->metrics = *m;
	l->metrics_due = true;
	link_kick(l);
}

static bool add_log(struct link *l, unsigned level, const char *text)
{
	size_t n = strnlen(text, FRAME_TEXT_MAX);
	uint8_t *to = buf_reserve(&l->log, FRAME_HEAD + 1 + n, NULL);

	if (!to)
		return false;
	frame_head_write(to, FRAME_LOG, (uint32_t)n + 1, 0);
	to[FRAME_HEAD] = (uint8_t)(level < FRAME_LOG_LEVEL_MAX ? level : FRAME_LOG_LEVEL_MAX);
	memcpy(to + FRAME_HEAD + 1, text, n);
	buf_commit(&l->log, FRAME_HEAD + 1 + n);
	return true;
}

void link_log(struct link *l, unsigned level, const char *text)
{
	char lost[64];

	if (l->log_lost) {
		(void)str_fmt(lost, sizeof(lost), "%u lines were dropped", l->log_lost);
		if (buf_room(&l->log) < LOST_ROOM + strnlen(text, FRAME_TEXT_MAX) ||
		    !add_log(l, LOG_WARNING, lost)) {
			l->log_lost++;
			return;
		}
		l->log_lost = 0;
	}
	if (!add_log(l, level, text))
		l->log_lost++;
	link_kick(l);
}
