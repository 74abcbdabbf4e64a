/* From the far end: bytes into frames. DATA is handed on as it comes, any other frame when it is
 * whole; one that stands whole in what came is not copied. */
#include <string.h>

#include "vm/link_impl.h"

struct in {
	const uint8_t *p;
	size_t n;
};

/* Who may say it, and who takes it. */
enum { TO_HOST = 1 << LINK_HOST, TO_GUEST = 1 << LINK_GUEST, TO_BOTH = TO_HOST | TO_GUEST };
struct taker {
	link_take_fn *take; /* NULL: DATA */
	uint8_t to;
	bool first; /* before anything else has been agreed on */
};
static const struct taker takers[] = {
	[FRAME_HELLO] = { link_take_hello, TO_HOST, true },
	[FRAME_WELCOME] = { link_take_welcome, TO_GUEST, true },
	[FRAME_NETWORK] = { link_take_network, TO_HOST, false },
	[FRAME_PING] = { link_take_ping, TO_BOTH, false },
	[FRAME_PONG] = { link_take_pong, TO_BOTH, false },
	[FRAME_LOG] = { link_take_log, TO_HOST, false },
	[FRAME_METRICS] = { link_take_metrics, TO_HOST, false },
	[FRAME_SHUTDOWN] = { link_take_shutdown, TO_GUEST, false },
	[FRAME_GOODBYE] = { link_take_goodbye, TO_BOTH, true },
	[FRAME_RESOLVE] = { link_take_question, TO_GUEST, false },
	[FRAME_ADDRESSES] = { link_take_answer, TO_HOST, false },
	[FRAME_OPEN] = { link_take_question, TO_GUEST, false },
	[FRAME_OPENED] = { link_take_answer, TO_HOST, false },
	[FRAME_FAILED] = { link_take_answer, TO_HOST, false },
	[FRAME_DATA] = { NULL, TO_BOTH, false },
	[FRAME_WINDOW] = { link_take_stream, TO_BOTH, false },
	[FRAME_EOF] = { link_take_stream, TO_BOTH, false },
	[FRAME_RESET] = { link_take_stream, TO_BOTH, false },
	[FRAME_STOP] = { link_take_stream, TO_BOTH, false },
};

static void skip(struct in *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

/* The head is whole: may it come now? */
static int begin(struct link *l, struct err *e)
{
	const struct taker *t;

	if (frame_head_read(&l->frame, l->head, e) != 0)
		return -1;
	t = &takers[l->frame.type];
	if (!(t->to & 1 << l->o.role))
		return err_set(e, ERR_PROTO, "%s from the %s", frame_name(l->frame.type),
			       l->o.role == LINK_HOST ? "guest" : "host");
	if (!l->welcomed && !t->first)
		return err_set(e, ERR_PROTO, "%s before %s", frame_name(l->frame.type),
			       l->helloed ? "WELCOME" : "HELLO");
	l->in_frame = true;
	l->left = 0;
	l->body_n = 0;
	if (t->take)
		return 0;
	l->left = l->frame.length;
	return link_take_data(l, e);
}

static int read_head(struct link *l, struct in *in, struct err *e)
{
	size_t n = FRAME_HEAD - l->head_n;

	if (n > in->n)
		n = in->n;
	memcpy(l->head + l->head_n, in->p, n);
	l->head_n += (unsigned)n;
	skip(in, n);
	if (l->head_n < FRAME_HEAD)
		return 0;
	l->head_n = 0;
	return begin(l, e);
}

static bool wanted(const struct link_stream *s)
{
	return s && !s->closing && !s->broken && !s->owner_gone;
}

static void hold(struct link_stream *s, const uint8_t *p, size_t n)
{
	struct err why;

	if (buf_add(&s->in, p, n, &why) == 0) {
		s->link->held += n;
		return;
	}
	(void)err_wrap(&why, "slow reader");
	link_break_stream(s, &why, true);
}

static void read_data(struct link *l, struct in *in)
{
	size_t n = in->n < l->left ? in->n : l->left, done = 0;
	struct link_stream *s = l->into;

	l->left -= (uint32_t)n;
	l->in_frame = l->left > 0;
	if (wanted(s) && buf_len(&s->in) == 0)
		done = link_deliver(s, in->p, n);
	if (done < n && wanted(s))
		hold(s, in->p + done, n - done);
	skip(in, n);
}

static int read_body(struct link *l, struct in *in, struct err *e)
{
	size_t n = l->frame.length - l->body_n;
	const uint8_t *p = in->p;

	if (n > in->n || l->body_n) {
		if (n > in->n)
			n = in->n;
		memcpy(l->body + l->body_n, in->p, n);
		l->body_n += n;
		p = l->body;
	}
	skip(in, n);
	if (p == l->body && l->body_n < l->frame.length)
		return 0;
	l->in_frame = false;
	return takers[l->frame.type].take(l, p, l->frame.length, e);
}

/* 0: go on, 1: more is needed. */
static int step(struct link *l, struct in *in, struct err *e)
{
	if (!l->in_frame)
		return in->n ? read_head(l, in, e) : 1;
	if (l->left) {
		if (in->n == 0)
			return 1;
		read_data(l, in);
		return 0;
	}
	return in->n || l->body_n == l->frame.length ? read_body(l, in, e) : 1;
}

int link_input(struct link *l, const uint8_t *p, size_t n, struct err *e)
{
	struct in in = { p, n };
	struct err why = { 0 };
	int r = 0;

	if (l->failed)
		return err_set(e, ERR_PROTO, "the link has failed");
	if (l->running)
		return err_set(e, ERR_INTERNAL, "link_input() from a handler");
	l->running = true;
	while (r == 0 && !l->dead && !l->peer_left)
		r = step(l, &in, &why);
	l->running = false;
	if (r >= 0)
		return 0;
	l->failed = true;
	link_goodbye(l, why.msg);
	if (e)
		*e = why;
	return -1;
}
