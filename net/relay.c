/*
 * Two plain sockets joined (other streams go to stream/relay.c).
 *
 *     client ==flow up==> remote, client <==flow down== remote
 *
 * The watches of the two streams are taken over as they are. An event runs
 * turn(): each direction moves TURN_BYTES, and at most as much again by its last
 * step, so that a tunnel full of bulk and one with a single byte have their turns
 * alike. A turn that leaves more to do posts the next one, and events until then
 * are only noted. There is no timer.
 *
 * Ends: the end of a direction is passed on (shutdown) after its last byte;
 * when both have ended both sockets are closed. A reset is passed on as a
 * reset. When only writing to a side fails, what that side had said before it
 * went is still delivered.
 */
#include "net/relay.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/sock_relay.h"
#include "net/tcp.h"

enum { TURN_BYTES = FLOW_BULK_MAX, TURN_STEPS = 16 };

struct end {
	struct net_relay *of;
	struct loop_watch watch;
	struct sock_end sock;
	struct flow flow; /* from here to the other end */
	bool eof;         /* nothing more comes from here */
	bool ended;       /* and the other end knows */
	bool deaf;        /* takes nothing any more */
};

struct net_relay {
	struct loop *loop;
	relayed_fn *done;
	void *arg;
	struct relay *streams; /* not plain sockets: the rest is unused */
	struct loop_post post;
	struct end client, remote;
	bool aborted;
	int broken; /* errno of the first failure */
	const char *who;
};

static struct end *other(struct end *x)
{
	return x == &x->of->client ? &x->of->remote : &x->of->client;
}

/* ---- the end ---- */

static void end_free(struct end *x, bool reset)
{
	struct linger rst = { .l_onoff = 1, .l_linger = 0 };

	if (!x->watch.added)
		return;
	if (reset)
		(void)setsockopt(x->sock.fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	flow_free(x->of->loop, &x->flow);
	watch_close(x->of->loop, &x->watch);
}

static void finish(struct net_relay *r, bool reset)
{
	struct err why = { 0 };
	struct relay_result result = { .up = r->client.flow.moved, .down = r->remote.flow.moved };
	relayed_fn *done = r->done;
	void *arg = r->arg;

	if (r->broken) {
		(void)err_sys(&why, r->broken, "%s", r->who);
		result.why = &why;
	} else if (r->aborted) {
		(void)err_set(&why, ERR_CLOSED, "ended here");
		result.why = &why;
	}
	loop_unpost(&r->post);
	end_free(&r->client, reset);
	end_free(&r->remote, reset);
	mem_free(r);
	done(arg, &result);
}

static void note_broken(struct net_relay *r, const struct end *x, int sys)
{
	if (r->broken)
		return;
	r->broken = sys;
	r->who = x == &r->client ? "client" : "remote";
}

/* ---- moving ---- */

static void pass_end(struct end *from)
{
	struct end *to = other(from);

	if (!from->eof || from->ended)
		return;
	from->ended = true;
	if (!to->deaf && !to->ended) /* else both are closed at once, which says it too */
		(void)shutdown(to->sock.fd, SHUT_WR);
}

/* The other end takes nothing any more; it may still have something to say. */
static void stop_direction(struct end *from, int sys)
{
	struct end *to = other(from);

	note_broken(from->of, to, sys);
	to->deaf = true;
	from->eof = from->ended = true;
	flow_free(from->of->loop, &from->flow);
	to->sock.readable = true;
	to->sock.hup = true; /* its end is certain, and may have been told already */
}

/* Moves what one turn allows. *more: it was not all. False: the tunnel is broken. */
static bool pump(struct end *from, bool *more)
{
	struct end *to = other(from);
	uint64_t limit = from->flow.moved + TURN_BYTES;
	int i;

	for (i = 0; i < TURN_STEPS && from->flow.moved < limit; i++) {
		if (from->eof && !flow_holds(&from->flow))
			pass_end(from);
		if (from->ended)
			return true;
		switch (flow_step(from->of->loop, &from->flow, &from->sock, &to->sock)) {
		case FLOW_MOVED: break;
		case FLOW_BLOCKED: return true;
		case FLOW_EOF: from->eof = true; break;
		case FLOW_IN_BROKEN: note_broken(from->of, from, errno); return false;
		case FLOW_OUT_BROKEN:
			stop_direction(from, errno);
			*more = true; /* the other direction had its go before it knew */
			return true;
		}
	}
	*more = true;
	return true;
}

static void set_interest(struct end *x)
{
	unsigned want = 0;

	if (!x->sock.readable && !x->eof && !flow_holds(&x->flow))
		want |= WATCH_READ;
	if (!x->sock.writable && (flow_holds(&other(x)->flow) || other(x)->sock.readable))
		want |= WATCH_WRITE;
	watch_set(x->of->loop, &x->watch, want);
}

static void turn(void *arg)
{
	struct net_relay *r = arg;
	bool more = false;

	if (r->aborted) {
		finish(r, true);
		return;
	}
	if (!pump(&r->client, &more) || !pump(&r->remote, &more)) {
		finish(r, true);
		return;
	}
	if (r->client.ended && r->remote.ended) {
		finish(r, false);
		return;
	}
	if (more)
		loop_post(r->loop, &r->post, turn, r);
	set_interest(&r->client);
	set_interest(&r->remote);
}

/* An error after the end of a direction is no longer seen by reading. */
static bool reset_after_end(struct end *x)
{
	char c;

	if (!x->eof || x->deaf || recv(x->sock.fd, &c, 1, MSG_DONTWAIT) >= 0 || errno == EAGAIN ||
	    errno == EINTR)
		return false;
	note_broken(x->of, x, errno);
	return true;
}

static void ready(void *arg, unsigned bits)
{
	struct end *x = arg;

	if (bits & WATCH_READ)
		x->sock.readable = true;
	if (bits & WATCH_WRITE)
		x->sock.writable = true;
	if (bits & WATCH_HUP)
		x->sock.hup = true;
	if ((bits & WATCH_HUP) && (bits & WATCH_WRITE) && reset_after_end(x))
		finish(x->of, true);
	else if (!list_linked(&x->of->post.node))
		turn(x->of);
}

/* ---- public ---- */

static void streams_done(void *arg, const struct relay_result *result)
{
	struct net_relay *r = arg;
	relayed_fn *done = r->done;
	void *to_whom = r->arg;

	mem_free(r);
	done(to_whom, result);
}

static void take(struct end *x, struct stream *s)
{
	struct tcp_seen seen;

	tcp_stream_move(s, &x->watch, WATCH_READ, ready, x, &seen);
	x->sock = (struct sock_end){ .fd = x->watch.fd,
				     .readable = seen.readable,
				     .writable = seen.writable,
				     .hup = seen.hup };
	x->eof = seen.eof;
	other(x)->ended = seen.shut; /* nobody could deliver it */
}

struct net_relay *net_relay_start(struct loop *l, struct stream *client, struct stream *remote,
				  const uint8_t *early, size_t n, relayed_fn *done, void *arg)
{
	struct net_relay *r = mem_alloc(sizeof(*r));

	assert(n <= RELAY_WINDOW);
	if (!r)
		return NULL;
	*r = (struct net_relay){ .loop = l, .done = done, .arg = arg };
	if (!tcp_stream_movable(client) || !tcp_stream_movable(remote)) {
		r->streams = relay_start(client, remote, early, n, streams_done, r);
		if (r->streams)
			return r;
		mem_free(r);
		return NULL;
	}
	r->client.of = r->remote.of = r;
	flow_init(&r->client.flow);
	flow_init(&r->remote.flow);
	if (flow_keep(&r->client.flow, early, n) != 0) {
		mem_free(r);
		return NULL;
	}
	take(&r->client, client);
	take(&r->remote, remote);
	loop_post(l, &r->post, turn, r);
	return r;
}

void net_relay_counts(const struct net_relay *r, uint64_t *up, uint64_t *down)
{
	if (r->streams) {
		relay_counts(r->streams, up, down);
		return;
	}
	*up = r->client.flow.moved;
	*down = r->remote.flow.moved;
}

void net_relay_abort(struct net_relay *r)
{
	if (r->streams) {
		relay_abort(r->streams);
		return;
	}
	r->aborted = true;
	loop_post(r->loop, &r->post, turn, r);
}
