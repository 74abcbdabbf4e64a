/*
 *     library <=fd=> [ socket pair ] <=net/tcp.h=> relay <=> stream of the backend
 *
 * The relay lives on by itself after done(): it ends with either side. One end it cannot see: a
 * library that closes its descriptor while the far side neither speaks nor ends. That is looked for
 * now and then, for it would hold a stream of the VM's for ever.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/tcp.h"
#include "net/tcp_pair.h"
#include "stream/stream.h"
#include "vm/vm_backend.h"

enum { LOOK_MS = 5000, LOOK_AGAIN_MS = 500 };

struct vm_fd_dial {
	struct loop *loop;
	struct dial *dial;
	struct loop_timer limit;
	net_dialed_fn *done;
	void *arg;
};

struct bridge {
	struct loop *loop;
	struct net_relay *relay;
	struct loop_timer look;
	int fd; /* our end, the relay's; only looked at */
	bool hung_up;
	uint64_t moved;
};

/* ---- the bridge ---- */

static void on_relayed(void *arg, const struct relay_result *result)
{
	struct bridge *b = arg;

	(void)result; /* the library has seen its descriptor end */
	timer_disarm(b->loop, &b->look);
	mem_free(b);
}

/* No such library ends one direction alone. */
static bool has_hung_up(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Twice in a row, and nothing has moved in between: what it had written has gone its way. */
static void look(void *arg)
{
	struct bridge *b = arg;
	uint64_t up, down;
	bool quiet;

	net_relay_counts(b->relay, &up, &down);
	quiet = b->moved == up + down;
	b->moved = up + down;
	if (quiet && b->hung_up) {
		net_relay_abort(b->relay);
		return;
	}
	b->hung_up = has_hung_up(b->fd);
	timer_arm(b->loop, &b->look, b->hung_up ? LOOK_AGAIN_MS : LOOK_MS, look, b);
}

/* *fd: the library's end. Takes the stream, also when it fails. */
static int bridge_open(struct loop *l, struct stream *remote, int *fd, struct err *e)
{
	struct bridge *b = mem_alloc(sizeof(*b));
	struct stream *ours = NULL;
	int pair[2] = { -1, -1 };

	if (!b)
		(void)err_set(e, ERR_NOMEM, "dial");
	else if (tcp_pair(pair, e) == 0)
		ours = tcp_stream_adopt(l, pair[1], e);
	if (ours) {
		b->loop = l;
		b->fd = pair[1];
		b->relay = net_relay_start(l, ours, remote, NULL, 0, on_relayed, b);
		if (b->relay) {
			*fd = pair[0];
			timer_arm(l, &b->look, LOOK_MS, look, b);
			return 0;
		}
		(void)err_set(e, ERR_NOMEM, "dial");
		stream_abort(ours);
	}
	if (pair[0] >= 0)
		close(pair[0]);
	mem_free(b);
	stream_abort(remote);
	return -1;
}

/* ---- the dial ---- */

static void conclude(struct vm_fd_dial *d, int fd, const struct addr *to, const struct err *why)
{
	net_dialed_fn *done = d->done;
	void *arg = d->arg;

	timer_disarm(d->loop, &d->limit);
	mem_free(d);
	done(arg, fd, to, fd < 0 ? why : NULL);
}

static void on_dialed(void *arg, const struct dialed *got, const struct err *why)
{
	struct vm_fd_dial *d = arg;
	struct addr to = { 0 };
	struct err e;
	int fd = -1;

	d->dial = NULL;
	if (!got) {
		conclude(d, -1, &to, why);
		return;
	}
	if (addr_parse(got->address, &to, NULL) != 0)
		to.len = 0;
	if (bridge_open(d->loop, got->stream, &fd, &e) != 0)
		fd = -1;
	conclude(d, fd, &to, &e);
}

static void too_late(void *arg)
{
	struct vm_fd_dial *d = arg;
	struct addr none = { 0 };
	struct err why;

	backend_cancel(d->dial);
	(void)err_set(&why, ERR_TIMEOUT, "no connection out of the VM in time");
	conclude(d, -1, &none, &why);
}

struct vm_fd_dial *vm_fd_dial(struct backend *b, struct loop *l, const char *host, uint16_t port,
			      unsigned limit_ms, net_dialed_fn *done, void *arg, struct err *e)
{
	const struct dest to = { .host = host, .port = port };
	struct vm_fd_dial *d = mem_alloc(sizeof(*d));

	if (!d) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	d->loop = l;
	d->done = done;
	d->arg = arg;
	d->dial = backend_dial(b, &to, on_dialed, d, e);
	if (!d->dial) {
		mem_free(d);
		return NULL;
	}
	if (limit_ms)
		timer_arm(l, &d->limit, limit_ms, too_late, d);
	return d;
}

void vm_fd_dial_cancel(struct vm_fd_dial *d)
{
	backend_cancel(d->dial);
	timer_disarm(d->loop, &d->limit);
	mem_free(d);
}
