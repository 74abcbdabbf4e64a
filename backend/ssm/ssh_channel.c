/*
 * One channel: a dial, then the stream contract over it. A call of the owner's only sets flags
 * and queues; what he has to hear comes from ssh_channel_run() or with a packet, what sshd has to
 * hear leaves with ssh_channel_pull().
 *
 * The memory lives until sshd has forgotten the number (off_wire) and the owner has had his last
 * call (owner_gone). A channel whose owner left early stays as a ghost that takes and drops
 * what comes, until both CLOSEs have passed.
 */
#include <string.h>

#include "backend/ssm/ssh_mux_impl.h"
#include "base/mem.h"

enum { DELIVER_MAX = 64 << 10, ADJUST = 96 << 10, REPLIES_MAX = 16 };

static struct ssh_channel *of(struct stream *s)
{
	return CONTAINER_OF(s, struct ssh_channel, stream);
}

static const struct stream_ops stream_ops;

/* --- the end --- */

void ssh_channel_release(struct ssh_channel *c)
{
	if (!c->off_wire || !c->owner_gone)
		return;
	timer_disarm(c->mux->o.loop, &c->linger);
	list_del(&c->node);
	list_del(&c->ready);
	list_del(&c->todo);
	buf_free(&c->in);
	buf_free(&c->out);
	mem_free(c->host);
	c->mux->count--;
	ssh_kick(c->mux);
	mem_free(c);
}

static void leave_wire(struct ssh_channel *c)
{
	struct ssh_channel **at = &c->mux->bucket[c->id % SSH_BUCKETS];

	if (c->off_wire)
		return;
	c->off_wire = true;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	list_del(&c->ready);
	buf_free(&c->out);
	timer_disarm(c->mux->o.loop, &c->linger);
}

/* What is still to be said is said, then CLOSE; at most for a while. */
static void on_linger(void *arg)
{
	struct ssh_channel *c = arg;

	buf_clear(&c->out);
	ssh_want_send(c);
}

static void close_wire(struct ssh_channel *c)
{
	if (c->off_wire)
		return;
	c->close_due = true;
	if (!c->open_sent) {
		leave_wire(c);
		return;
	}
	if (buf_len(&c->out))
		timer_arm(c->mux->o.loop, &c->linger, c->mux->o.linger_ms, on_linger, c);
	ssh_want_send(c);
}

static void owner_left(struct ssh_channel *c)
{
	if (c->owner_gone)
		return;
	c->owner_gone = true;
	c->stream.handler = NULL;
	buf_free(&c->in);
	list_del(&c->todo);
	ssh_disown(c);
	close_wire(c);
	ssh_channel_release(c);
}

/* For a reason of ours or because the link is gone. */
static void break_channel(struct ssh_channel *c, const struct err *why)
{
	if (c->broken || c->closing || c->owner_gone)
		return;
	c->broken = true;
	c->why = *why;
	buf_clear(&c->out);
	close_wire(c);
	ssh_want_run(c);
}

void ssh_channel_break(struct ssh_channel *c, const struct err *why)
{
	bool over = c->remote_eof && c->eof_sent;

	leave_wire(c);
	if (c->owner_gone) {
		ssh_channel_release(c);
	} else if (over || c->remote_close) {
		c->remote_close = true; /* both had said their last word */
		ssh_want_run(c);
	} else {
		break_channel(c, why);
	}
}

/* --- making one --- */

struct ssh_channel *ssh_channel_new(struct ssh_mux *m, const char *host, uint16_t port,
				    struct err *e)
{
	struct ssh_channel *c = mem_alloc(sizeof(*c));

	if (c)
		c->host = mem_strdup(host);
	if (!c || !c->host) {
		mem_free(c);
		(void)err_set(e, ERR_NOMEM, "ssh channel");
		return NULL;
	}
	c->stream.ops = &stream_ops;
	c->mux = m;
	c->port = port;
	c->recv_window = m->o.window;
	buf_init(&c->in, m->o.window);
	buf_init(&c->out, m->o.send_max);
	return c;
}

/* --- from sshd --- */

static void answer_dial(struct ssh_channel *c, struct stream *s, const struct err *why)
{
	ssh_dialed_fn *done = c->done;

	c->done = NULL;
	done(c->done_arg, s, why);
}

static void on_opened(struct ssh_channel *c, const struct ssh_msg *m)
{
	c->opened = true;
	c->peer = m->peer;
	c->send_window = m->window;
	c->send_packet = m->packet < SSH_PACKET_MAX ? m->packet : SSH_PACKET_MAX;
	mem_free(c->host);
	c->host = NULL;
	ssh_want_send(c);
	if (c->done)
		answer_dial(c, &c->stream, NULL);
}

static void on_refused(struct ssh_channel *c, const struct ssh_msg *m)
{
	struct err why;

	leave_wire(c);
	if (c->done) {
		ssh_refusal(m->reason, m->p, m->n, c->host, c->port, &why);
		answer_dial(c, NULL, &why);
	}
	if (c->owner_gone)
		ssh_channel_release(c); /* a ghost only waited for this */
	else
		owner_left(c);
}

static bool deliverable(const struct ssh_channel *c)
{
	return c->stream.handler && !c->closing && !c->owner_gone;
}

static void give_back(struct ssh_channel *c, size_t n)
{
	c->consumed += (uint32_t)n;
	if (!c->off_wire && !c->remote_eof && !c->close_due &&
	    (c->consumed >= ADJUST || c->consumed >= c->mux->o.window / 2))
		ssh_want_send(c);
}

static size_t deliver(struct ssh_channel *c, const uint8_t *p, size_t n)
{
	if (n > c->credit)
		n = c->credit;
	if (n == 0)
		return 0;
	c->credit -= n;
	give_back(c, n);
	c->stream.handler->data(c->stream.arg, p, n);
	return n;
}

static int on_data(struct ssh_channel *c, const struct ssh_msg *m, struct err *e)
{
	size_t done = 0;
	struct err why;

	if (m->n > c->recv_window || c->remote_eof)
		return err_set(e, ERR_PROTO, "sshd sent %zu bytes that it may not send", m->n);
	c->recv_window -= (uint32_t)m->n;
	c->mux->down += m->n;
	if (m->type == SSH_EXTENDED_DATA || c->closing || c->broken || c->owner_gone) {
		give_back(c, m->n);
		return 0;
	}
	if (buf_len(&c->in) == 0 && deliverable(c))
		done = deliver(c, m->p, m->n);
	if (done == m->n || c->closing)
		return 0;
	if (buf_add(&c->in, m->p + done, m->n - done, &why) != 0)
		break_channel(c, &why);
	return 0;
}

static int on_window(struct ssh_channel *c, const struct ssh_msg *m, struct err *e)
{
	if (m->window > UINT32_MAX - c->send_window)
		return err_set(e, ERR_PROTO, "sshd opened a window beyond 2^32");
	c->send_window += m->window;
	ssh_want_send(c);
	return 0;
}

static void on_close(struct ssh_channel *c)
{
	c->remote_eof = c->remote_close = true;
	buf_clear(&c->out); /* nobody is there to take it */
	close_wire(c);
	if (c->close_sent)
		leave_wire(c);
	if (!c->owner_gone)
		ssh_want_run(c);
	ssh_channel_release(c);
}

int ssh_channel_input(struct ssh_channel *c, const struct ssh_msg *m, struct err *e)
{
	bool opens = m->type == SSH_OPENED || m->type == SSH_REFUSED;

	if (c->opened == opens || !c->open_sent || (c->remote_close && !opens))
		return err_set(e, ERR_PROTO, "message %u is out of place", m->type);
	switch (m->type) {
	case SSH_OPENED: on_opened(c, m); return 0;
	case SSH_REFUSED: on_refused(c, m); return 0;
	case SSH_WINDOW: return on_window(c, m, e);
	case SSH_DATA:
	case SSH_EXTENDED_DATA: return on_data(c, m, e);
	case SSH_EOF:
		c->remote_eof = true;
		if (!c->owner_gone)
			ssh_want_run(c);
		return 0;
	case SSH_CLOSE: on_close(c); return 0;
	case SSH_REQUEST: /* sshd asks for a sign of life so (keepalive@openssh.com) */
		if (m->want_reply && c->replies_due++ == REPLIES_MAX)
			return err_set(e, ERR_PROTO, "sshd asks without end");
		ssh_want_send(c);
		return 0;
	default: return 0; /* answers: we ask for nothing */
	}
}

/* --- to the owner --- */

static void run_input(struct ssh_channel *c)
{
	while (buf_len(&c->in) && c->credit && deliverable(c)) {
		size_t n = buf_len(&c->in) < DELIVER_MAX ? buf_len(&c->in) : DELIVER_MAX;

		n = deliver(c, buf_ptr(&c->in), n);
		if (buf_len(&c->in)) /* not closed meanwhile */
			buf_drop(&c->in, n);
	}
}

static void tell_closed(struct ssh_channel *c, const struct err *why)
{
	if (c->stream.handler)
		c->stream.handler->closed(c->stream.arg, why);
	owner_left(c);
}

static void fail_dial(struct ssh_channel *c)
{
	struct err why = c->why;

	answer_dial(c, NULL, &why);
	owner_left(c);
}

void ssh_channel_run(struct ssh_channel *c)
{
	bool ended;

	if (c->done && c->broken) {
		fail_dial(c);
		return;
	}
	if (deliverable(c))
		run_input(c);
	if (deliverable(c) && c->want_write && !c->broken &&
	    (buf_room(&c->out) >= c->mux->o.send_max / 2 || c->remote_close)) {
		c->want_write = false;
		c->stream.handler->writable(c->stream.arg);
	}
	if (deliverable(c) && c->remote_eof && !c->eof_told && !c->broken && !buf_len(&c->in)) {
		c->eof_told = true;
		c->stream.handler->eof(c->stream.arg);
	}
	if (c->owner_gone)
		return;
	ended = c->remote_close && c->eof_told;
	if (c->closing || (c->stream.handler && (c->broken || ended)))
		tell_closed(c, c->broken ? &c->why : NULL);
}

/* --- to sshd --- */

static bool adjust_is_due(const struct ssh_channel *c)
{
	return !c->remote_eof && !c->close_due &&
	       (c->consumed >= ADJUST || c->consumed >= c->mux->o.window / 2);
}

static bool data_is_due(const struct ssh_channel *c)
{
	return buf_len(&c->out) && c->send_window && c->send_packet && !c->eof_sent;
}

static bool eof_is_due(const struct ssh_channel *c)
{
	return (c->shut || c->close_due) && !c->eof_sent && !buf_len(&c->out) && !c->remote_close;
}

static bool close_is_due(const struct ssh_channel *c)
{
	return c->close_due && !buf_len(&c->out);
}

bool ssh_channel_has_more(const struct ssh_channel *c)
{
	if (c->off_wire || c->close_sent)
		return false;
	if (!c->open_sent)
		return true;
	return c->opened && (c->replies_due || adjust_is_due(c) || data_is_due(c) ||
			     eof_is_due(c) || close_is_due(c));
}

static size_t pull_data(struct ssh_channel *c, uint8_t *to, size_t max)
{
	size_t n = buf_len(&c->out);

	n = n < c->send_window ? n : c->send_window;
	n = n < c->send_packet ? n : c->send_packet;
	n = n < max - SSH_DATA_HEAD ? n : max - SSH_DATA_HEAD;
	(void)ssh_put_data(to, c->peer, n);
	memcpy(to + SSH_DATA_HEAD, buf_ptr(&c->out), n);
	buf_drop(&c->out, n);
	c->send_window -= (uint32_t)n;
	c->mux->up += n;
	if (c->want_write && buf_room(&c->out) >= c->mux->o.send_max / 2)
		ssh_want_run(c);
	return SSH_DATA_HEAD + n;
}

static size_t pull_open(struct ssh_channel *c, uint8_t *to)
{
	c->open_sent = true;
	return ssh_put_open(to, c->id, c->mux->o.window, c->host, c->port);
}

static size_t pull_window(struct ssh_channel *c, uint8_t *to)
{
	uint32_t n = c->consumed;

	c->consumed = 0;
	c->recv_window += n;
	return ssh_put_window(to, c->peer, n);
}

static size_t pull_close(struct ssh_channel *c, uint8_t *to)
{
	size_t n = ssh_put_plain(to, SSH_CLOSE, c->peer);

	c->close_sent = true;
	if (c->remote_close)
		leave_wire(c);
	return n;
}

size_t ssh_channel_pull(struct ssh_channel *c, uint8_t *to, size_t max)
{
	if (!ssh_channel_has_more(c) || max < SSH_PUT_MAX)
		return 0;
	if (!c->open_sent)
		return pull_open(c, to);
	if (c->replies_due) {
		c->replies_due--;
		return ssh_put_plain(to, SSH_REQUEST_FAILED, c->peer);
	}
	if (adjust_is_due(c))
		return pull_window(c, to);
	if (data_is_due(c))
		return pull_data(c, to, max);
	if (eof_is_due(c)) {
		c->eof_sent = true;
		return ssh_put_plain(to, SSH_EOF, c->peer);
	}
	return pull_close(c, to);
}

/* --- the stream contract --- */

static void on_credit(struct stream *stream, size_t n)
{
	struct ssh_channel *c = of(stream);

	c->credit = c->credit + n < n ? SIZE_MAX : c->credit + n;
	if (buf_len(&c->in) || c->remote_eof || c->broken)
		ssh_want_run(c);
}

static size_t on_write(struct stream *stream, const uint8_t *p, size_t n)
{
	struct ssh_channel *c = of(stream);
	size_t room = buf_room(&c->out);
	struct err why;

	if (c->closing || c->shut)
		return 0;
	if (c->broken || c->remote_close)
		return n; /* nobody is there to read it; closed() says so */
	if (n > room) {
		n = room;
		c->want_write = true;
	}
	if (n && buf_add(&c->out, p, n, &why) != 0) {
		break_channel(c, &why);
		return n;
	}
	if (n)
		ssh_want_send(c);
	return n;
}

static void on_shutdown(struct stream *stream)
{
	struct ssh_channel *c = of(stream);

	c->shut = true;
	ssh_want_send(c);
}

static void on_stream_close(struct stream *stream)
{
	struct ssh_channel *c = of(stream);

	if (c->closing)
		return;
	c->closing = true;
	buf_free(&c->in);
	close_wire(c);
	ssh_want_run(c);
}

static void on_abort(struct stream *stream)
{
	struct ssh_channel *c = of(stream);

	if (!c->closing) {
		c->eof_sent = true; /* no "this was all" in front of the CLOSE */
		buf_clear(&c->out);
	}
	on_stream_close(stream);
}

static const struct stream_ops stream_ops = {
	.credit = on_credit,
	.write = on_write,
	.shutdown = on_shutdown,
	.close = on_stream_close,
	.abort = on_abort,
};
