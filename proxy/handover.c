/*
 * The leaving side gives up the descriptor and forgets the client on a turn of
 * its own, because the request was decided deep inside the client's handlers. The audit
 * record goes unwritten: the other side writes the line, with the time at which this one
 * began.
 */
#include "proxy/handover.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "proxy/client.h"
#include "proxy/limits.h"
#include "proxy/proxy_impl.h"
#include "stream/stream.h"

static void move(struct buf *from, struct buf *to)
{
	*to = *from;
	buf_init(from, from->ceiling);
}

static void leave(void *arg)
{
	struct client *c = arg;
	struct proxy *p = c->proxy;
	struct handover *h = mem_alloc(sizeof(*h));
	struct err e;

	if (!h) {
		(void)err_set(&e, ERR_NOMEM, "client");
		client_refuse(c, 0, &e);
		return;
	}
	h->fd = stream_release_fd(c->stream);
	if (h->fd < 0) {
		mem_free(h);
		(void)err_set(&e, ERR_CLOSED, "the client went away");
		client_end(c, &e, true);
		return;
	}
	h->greeted = c->proto == CLIENT_SOCKS5;
	memcpy(h->peer, c->peer, sizeof(h->peer));
	h->has_peer_id = c->has_peer_id;
	h->uid = c->uid;
	h->pid = c->pid;
	memcpy(h->peer_key, c->peer_key, sizeof(h->peer_key));
	h->user = c->user;
	c->user = NULL;
	h->wall_ms = c->rec.wall_ms;
	h->mono_ms = c->rec.mono_ms;
	h->placed = c->member.placed;
	h->share = c->member.peer;
	c->member.placed = false;
	move(&c->in, &h->in);
	move(&c->out, &h->out);
	client_free(c);
	p->opts.hand_over(p->opts.arg, h);
}

void client_hand_over(struct client *c)
{
	client_go(c, CLIENT_LEAVING);
	loop_post(c->proxy->opts.loop, &c->leave, leave, c);
}

/* Nobody can serve it: the line that proxy_turn_away() would write. */
static void turn_away(struct proxy *p, const struct handover *h, const char *why)
{
	struct audit_record r = { .id = proxy_next_id(p),
				  .wall_ms = h->wall_ms,
				  .mono_ms = h->mono_ms,
				  .listener = p->opts.listener,
				  .proto = "unknown",
				  .action = AUDIT_REFUSE,
				  .has_peer_id = h->has_peer_id,
				  .uid = h->uid,
				  .pid = h->pid };

	audit_text(&r.peer, h->peer);
	audit_text(&r.user, h->user);
	audit_text(&r.error, why);
	record_program(&r);
	proxy_record(p, &r);
	if (!h->placed)
		return;
	limits_peer_give(h->share);
	limits_leave(p->opts.limits);
	if (p->opts.ended)
		p->opts.ended(p->opts.arg);
}

static void serve(struct client *c, struct handover *h)
{
	memcpy(c->peer, h->peer, sizeof(c->peer));
	c->has_peer_id = h->has_peer_id;
	c->uid = h->uid;
	c->pid = h->pid;
	memcpy(c->peer_key, h->peer_key, sizeof(c->peer_key));
	c->user = h->user;
	h->user = NULL;
	c->admitted = true; /* it was let in there, or would not be here */
	c->member.placed = h->placed;
	c->member.peer = h->share;
	move(&h->in, &c->in);
	move(&h->out, &c->out);
	client_record(c, h->greeted ? CLIENT_SOCKS5 : CLIENT_UNKNOWN);
	c->rec.wall_ms = h->wall_ms;
	c->rec.mono_ms = h->mono_ms;
	if (h->greeted)
		client_go(c, CLIENT_REQUEST);
	(void)client_flush(c); /* the rest follows when writable */
	client_resume(c);
}

void proxy_take_over(struct proxy *p, struct handover *h)
{
	struct client *c = NULL;
	struct err e;

	if (p->closing) {
		close(h->fd);
		(void)err_set(&e, ERR_CLOSED, "awsocks is stopping");
	} else {
		c = client_make(p, h->fd, &e);
	}
	if (c)
		serve(c, h);
	else
		turn_away(p, h, e.msg);
	buf_free(&h->in);
	buf_free(&h->out);
	mem_free(h->user);
	mem_free(h);
}
