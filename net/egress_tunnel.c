/*
 * TLS to the proxy on one side, one end of a pair of sockets on the other; the
 * other end is what curl or a websocket take for their connection. One chunk each way
 * at most waits here, and the side that could give more is not read until it has gone.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/egress_impl.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tcp_pair.h"

enum { CHUNK = 16 * 1024, ROUNDS = 16 };

struct tunnel {
	struct list node;
	struct egress *egress;
	struct ws_io io; /* the proxy's side */
	struct ws_out up;
	struct loop_watch near;
	bool near_readable, near_writable, near_ended, far_ended;
	size_t at, len; /* of down */
	struct loop_post turn;
	uint8_t down[CHUNK];
};

static void tunnel_free(struct tunnel *t)
{
	list_del(&t->node);
	loop_unpost(&t->turn);
	ws_io_close(&t->io);
	ws_out_free(&t->up);
	if (t->near.added)
		watch_close(t->egress->loop, &t->near);
	mem_wipe(t->down, sizeof(t->down));
	mem_free(t);
}

void egress_tunnels_close(struct egress *g)
{
	while (!list_empty(&g->tunnels))
		tunnel_free(CONTAINER_OF(g->tunnels.next, struct tunnel, node));
}

/* Both: whether anything moved. */
static bool move_down(struct tunnel *t)
{
	bool moved = false;
	struct err e;

	if (t->len == 0 && !t->far_ended && t->io.readable) {
		long n = ws_io_read(&t->io, t->down, CHUNK, &e);

		t->far_ended = n < 0;
		t->at = 0;
		t->len = n > 0 ? (size_t)n : 0;
		moved = n != 0;
	}
	if (t->len && t->near_writable) {
		ssize_t n = send(t->near.fd, t->down + t->at, t->len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR) {
			t->near_writable = false;
			t->near_ended = t->near_ended || errno != EAGAIN;
			return errno != EAGAIN;
		}
		if (n > 0) {
			t->at += (size_t)n;
			t->len -= (size_t)n;
			moved = true;
		}
	}
	return moved;
}

static bool move_up(struct tunnel *t)
{
	uint8_t bytes[CHUNK];
	size_t before;
	struct err e;
	ssize_t n;

	if (t->up.len == 0 && !t->near_ended && t->near_readable) {
		n = recv(t->near.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < 0 && errno != EINTR)
			t->near_readable = false;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
		    (n > 0 && ws_out_add_raw(&t->up, bytes, (size_t)n, &e) != 0))
			t->near_ended = true;
		mem_wipe(bytes, n > 0 ? (size_t)n : 0);
	}
	before = t->up.len;
	if (before && ws_io_write(&t->io, &t->up, &e) != 0) {
		t->far_ended = true;
		return true;
	}
	return t->up.len < before;
}

static void on_turn(void *arg)
{
	struct tunnel *t = arg;
	bool moved = true;

	for (int i = 0; i < ROUNDS && moved; i++) {
		moved = move_down(t);
		moved = move_up(t) || moved;
	}
	if ((t->far_ended && t->len == 0) || (t->near_ended && t->up.len == 0)) {
		tunnel_free(t);
		return;
	}
	if (moved)
		loop_post(t->egress->loop, &t->turn, on_turn, t); /* others have their turn first */
	ws_io_want(&t->io, t->len == 0 && !t->far_ended, t->up.len && !t->io.writable);
	watch_set(t->egress->loop, &t->near,
		  (t->up.len == 0 && !t->near_ended ? WATCH_READ : 0u) |
			  (t->len ? WATCH_WRITE : 0u));
}

static void on_far(void *arg, unsigned ready)
{
	struct tunnel *t = arg;

	ws_io_ready(&t->io, ready);
	on_turn(t);
}

static void on_near(void *arg, unsigned ready)
{
	struct tunnel *t = arg;

	if (ready & WATCH_READ)
		t->near_readable = true;
	if (ready & WATCH_WRITE)
		t->near_writable = true;
	on_turn(t);
}

int egress_tunnel_new(struct egress *g, struct ws_io *io, int *fd, struct err *e)
{
	struct tunnel *t = mem_alloc(sizeof(*t));
	int pair[2];

	if (!t || tcp_pair(pair, e) != 0) {
		if (!t)
			(void)err_set(e, ERR_NOMEM, "tunnel");
		mem_free(t);
		ws_io_close(io);
		return -1;
	}
	t->egress = g;
	t->near_readable = t->near_writable = true;
	list_add_tail(&g->tunnels, &t->node);
	ws_out_init(&t->up, &g->blocks);
	ws_io_move(io, &t->io, on_far, t);
	if (watch_add(g->loop, &t->near, pair[1], WATCH_READ, on_near, t, e) != 0) {
		close(pair[0]);
		close(pair[1]);
		tunnel_free(t);
		return -1;
	}
	*fd = pair[0];
	loop_post(g->loop, &t->turn, on_turn, t);
	return 0;
}
