#include "backend/ssm/ssh_mux.h"

#include <assert.h>
#include <string.h>

#include "backend/ssm/ssh_mux_impl.h"
#include "base/mem.h"

/*
 * The link's handlers parse and hand over; work(), a post, tells owners, sends, and is the only
 * place that frees the mux. Packets are made when there is room for them on the link, channels
 * taking turns, so what waits for the link is bounded.
 */
enum {
	WINDOW = 1 << 20,
	SEND_MAX = 128 << 10,
	LINGER_MS = 60000,
	LINK_CREDIT = 256 << 10,
	BATCH = 64 << 10, /* made at one time for the link */
	OUT_MAX = BATCH + SSH_PACKET_MAX + SSH_PUT_MAX,
	REQUEST_ID = 1
};

static void work(void *arg);

void ssh_kick(struct ssh_mux *m)
{
	loop_post(m->o.loop, &m->post, work, m);
}

void ssh_want_run(struct ssh_channel *c)
{
	if (!list_linked(&c->todo))
		list_add_tail(&c->mux->todo, &c->todo);
	ssh_kick(c->mux);
}

void ssh_want_send(struct ssh_channel *c)
{
	if (c->off_wire || c->close_sent)
		return;
	if (!list_linked(&c->ready))
		list_add_tail(&c->mux->ready, &c->ready);
	ssh_kick(c->mux);
}

void ssh_disown(struct ssh_channel *c)
{
	c->mux->owned--;
	if (!c->mux->closing)
		c->mux->handler->changed(c->mux->arg);
}

/* --- the end --- */

static void over(struct ssh_mux *m, const struct err *why)
{
	if (m->phase == SSH_OVER)
		return;
	m->phase = SSH_OVER;
	m->why = *why;
	buf_clear(&m->in);
	buf_clear(&m->out);
	if (m->link)
		stream_close(m->link);
	LIST_EACH (it, &m->channels)
		ssh_channel_break(CONTAINER_OF(it, struct ssh_channel, node), why);
	ssh_kick(m);
}

static void tell_ended(struct ssh_mux *m)
{
	if (m->phase != SSH_OVER || m->ended_told || m->closing)
		return;
	m->ended_told = true;
	m->handler->ended(m->arg, &m->why);
}

static bool release(struct ssh_mux *m)
{
	const struct ssh_mux_handler *handler = m->handler;
	void *arg = m->arg;

	if (m->phase != SSH_OVER || m->link || m->count)
		return false;
	loop_unpost(&m->post);
	buf_free(&m->in);
	buf_free(&m->out);
	mem_free(m);
	handler->freed(arg);
	return true;
}

/* --- sending --- */

static void fill(struct ssh_mux *m)
{
	uint8_t *to;
	size_t n;

	if (m->refuse_due && (to = buf_reserve(&m->out, SSH_PUT_MAX, NULL)) != NULL) {
		m->refuse_due = false;
		buf_commit(&m->out, ssh_put_refused(to, m->stranger));
	}
	while (buf_len(&m->out) < BATCH && !list_empty(&m->ready)) {
		struct ssh_channel *c = CONTAINER_OF(m->ready.next, struct ssh_channel, ready);

		to = buf_reserve(&m->out, SSH_PACKET_MAX + SSH_DATA_HEAD, NULL);
		if (!to)
			break;
		n = ssh_channel_pull(c, to, SSH_PACKET_MAX + SSH_DATA_HEAD);
		buf_commit(&m->out, n);
		list_del(&c->ready);
		if (ssh_channel_has_more(c))
			list_add_tail(&m->ready, &c->ready);
		else
			ssh_channel_release(c);
	}
}

static void pump(struct ssh_mux *m)
{
	struct err e;

	while (m->link && m->phase != SSH_OVER) {
		size_t n;

		if (m->phase == SSH_SERVING && buf_len(&m->out) < BATCH / 2)
			fill(m);
		if (!buf_len(&m->out)) {
			if (m->phase != SSH_SERVING || list_empty(&m->ready))
				return;
			(void)err_set(&e, ERR_NOMEM, "ssh master");
			over(m, &e);
			return;
		}
		n = stream_write(m->link, buf_ptr(&m->out), buf_len(&m->out));
		buf_drop(&m->out, n);
		if (buf_len(&m->out))
			return; /* writable() follows */
	}
}

static int put(struct ssh_mux *m, const uint8_t *p, size_t n, struct err *e)
{
	if (buf_add(&m->out, p, n, e) != 0)
		return -1;
	ssh_kick(m);
	return 0;
}

/* --- receiving --- */

static struct ssh_channel *find(struct ssh_mux *m, uint32_t id)
{
	struct ssh_channel *c = m->bucket[id % SSH_BUCKETS];

	while (c && c->id != id)
		c = c->next;
	return c;
}

static int on_packet(struct ssh_mux *m, const uint8_t *p, size_t n, struct err *e)
{
	struct ssh_msg msg;
	struct ssh_channel *c;

	if (ssh_parse(p, n, &msg, e) != 0)
		return -1;
	if (msg.type < SSH_OPEN || msg.type > SSH_REQUEST_FAILED)
		return 0; /* not about a channel, and not for us */
	if (msg.type == SSH_OPEN) {
		m->stranger = msg.id;
		m->refuse_due = true;
		return 0;
	}
	c = find(m, msg.id);
	if (!c)
		return err_set(e, ERR_PROTO, "sshd speaks of a channel %u that there is not",
			       (unsigned)msg.id);
	return ssh_channel_input(c, &msg, e);
}

static int on_frame(struct ssh_mux *m, const uint8_t *p, size_t n, struct err *e)
{
	uint8_t ask[SSH_PUT_MAX];

	switch (m->phase) {
	case SSH_HELLO:
		if (ssh_parse_hello(p, n, e) != 0)
			return -1;
		m->phase = SSH_ASKED;
		return put(m, ask, ssh_put_proxy(ask, REQUEST_ID), e);
	case SSH_ASKED:
		if (ssh_parse_proxied(p, n, REQUEST_ID, e) != 0)
			return -1;
		m->phase = SSH_SERVING;
		m->handler->ready(m->arg);
		return 0;
	case SSH_SERVING: return on_packet(m, p, n, e);
	default: return 0;
	}
}

/* All whole packets of p; *used: how much that was. */
static int on_bytes(struct ssh_mux *m, const uint8_t *p, size_t n, size_t *used, struct err *e)
{
	size_t len;
	int r;

	*used = 0;
	while ((r = ssh_frame(p + *used, n - *used, &len, e)) == 1) {
		if (on_frame(m, p + *used + 4, len - 4, e) != 0)
			return -1;
		if (m->phase == SSH_OVER)
			return 0;
		*used += len;
	}
	return r;
}

static int on_chunk(struct ssh_mux *m, const uint8_t *p, size_t n, struct err *e)
{
	size_t used = 0;

	if (!buf_len(&m->in)) {
		if (on_bytes(m, p, n, &used, e) != 0)
			return -1;
		return m->phase == SSH_OVER ? 0 : buf_add(&m->in, p + used, n - used, e);
	}
	if (buf_add(&m->in, p, n, e) != 0)
		return -1;
	if (on_bytes(m, buf_ptr(&m->in), buf_len(&m->in), &used, e) != 0)
		return -1;
	if (m->phase != SSH_OVER)
		buf_drop(&m->in, used);
	return 0;
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct ssh_mux *m = arg;
	struct err e;

	if (m->phase == SSH_OVER)
		return;
	if (on_chunk(m, p, n, &e) != 0) {
		over(m, &e);
		return;
	}
	if (m->link)
		stream_credit(m->link, n);
	pump(m);
}

static void link_ended(struct ssh_mux *m, const struct err *why)
{
	struct err e;

	if (why && why->code != ERR_CLOSED)
		e = *why;
	else
		(void)err_set(&e, ERR_CLOSED, "ssh ended");
	e.code = ERR_CLOSED;
	over(m, &e);
}

static void on_eof(void *arg)
{
	link_ended(arg, NULL);
}

static void on_writable(void *arg)
{
	pump(arg);
}

static void on_closed(void *arg, const struct err *why)
{
	struct ssh_mux *m = arg;

	m->link = NULL;
	link_ended(m, why);
	ssh_kick(m);
}

static const struct stream_handler link_handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

/* --- work --- */

static void work(void *arg)
{
	struct ssh_mux *m = arg;
	struct list now;

	list_init(&now); /* what the handlers add is for the next turn */
	while (!list_empty(&m->todo))
		list_add_tail(&now, list_pop(&m->todo));
	while (!list_empty(&now))
		ssh_channel_run(CONTAINER_OF(list_pop(&now), struct ssh_channel, todo));
	pump(m);
	tell_ended(m);
	(void)release(m);
}

/* --- the owner's words --- */

struct ssh_mux *ssh_mux_new(const struct ssh_mux_opts *o, struct stream *link,
			    const struct ssh_mux_handler *handler, void *arg, struct err *e)
{
	struct ssh_mux *m = mem_alloc(sizeof(*m));
	uint8_t hello[SSH_PUT_MAX];

	if (!m) {
		(void)err_set(e, ERR_NOMEM, "ssh master");
		stream_close(link);
		return NULL;
	}
	m->o = *o;
	m->o.window = o->window ? o->window : WINDOW;
	m->o.send_max = o->send_max ? o->send_max : SEND_MAX;
	m->o.linger_ms = o->linger_ms ? o->linger_ms : LINGER_MS;
	m->handler = handler;
	m->arg = arg;
	m->link = link;
	list_init(&m->channels);
	list_init(&m->ready);
	list_init(&m->todo);
	buf_init(&m->in, 2 * (size_t)SSH_FRAME_MAX);
	buf_init(&m->out, OUT_MAX);
	if (put(m, hello, ssh_put_hello(hello), e) != 0) {
		buf_free(&m->out);
		mem_free(m);
		stream_close(link);
		return NULL;
	}
	stream_attach(link, &link_handler, m);
	stream_credit(link, LINK_CREDIT);
	return m;
}

void ssh_mux_close(struct ssh_mux *m, const struct err *why)
{
	m->closing = true;
	over(m, why);
	ssh_kick(m);
}

static void number(struct ssh_mux *m, struct ssh_channel *c)
{
	do
		m->next_id = (m->next_id + 1) & 0x7fffffff;
	while (find(m, m->next_id));
	c->id = m->next_id;
	c->next = m->bucket[c->id % SSH_BUCKETS];
	m->bucket[c->id % SSH_BUCKETS] = c;
}

struct ssh_dial *ssh_mux_dial(struct ssh_mux *m, const char *host, uint16_t port,
			      ssh_dialed_fn *done, void *arg, struct err *e)
{
	struct ssh_channel *c;

	if (m->phase == SSH_OVER) {
		*e = m->why;
		return NULL;
	}
	if (strlen(host) > 255) {
		(void)err_set(e, ERR_PROTO, "host name of more than 255 bytes");
		return NULL;
	}
	c = ssh_channel_new(m, host, port, e);
	if (!c)
		return NULL;
	c->done = done;
	c->done_arg = arg;
	number(m, c);
	list_add_tail(&m->channels, &c->node);
	m->count++;
	m->owned++;
	ssh_want_send(c);
	return (struct ssh_dial *)(void *)c;
}

void ssh_mux_cancel(struct ssh_dial *dial)
{
	struct ssh_channel *c = (struct ssh_channel *)(void *)dial;

	assert(c->done);
	c->done = NULL;
	stream_close(&c->stream);
}

bool ssh_mux_ready(const struct ssh_mux *m)
{
	return m->phase == SSH_SERVING;
}

size_t ssh_mux_streams(const struct ssh_mux *m)
{
	return m->owned;
}

void ssh_mux_counts(const struct ssh_mux *m, uint64_t *up, uint64_t *down)
{
	*up = m->up;
	*down = m->down;
}
