#include "cmd/agent/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "stream/stream.h"
#include "vm/link.h"

enum {
	BLOCK = 64 * 1024,
	OUT = 4 * (FRAME_HEAD + LINK_PIECE),
	READS = 4, /* blocks in a turn: others are there too */
	WRITES = 4,
	OPENING_MS = 10000,
	LOOK_AGAIN_MS = 20
};

struct wire {
	struct ev *ev;
	struct link *link;
	int fd;
	struct ev_watch watch;
	struct ev_timer again;
	uint64_t since_ms;
	bool heard, dead; /* heard: an end is an end */
	void (*ended)(void *arg, const struct err *why);
	void *arg;
	size_t out_at, out_len;
	uint8_t in[BLOCK], out[OUT];
};

static void on_ready(void *arg, unsigned what);

static void end(struct wire *w, const struct err *why)
{
	if (w->dead)
		return;
	w->dead = true;
	ev_unwatch(w->ev, &w->watch);
	ev_disarm(w->ev, &w->again);
	w->ended(w->arg, why);
}

static void look_again(void *arg)
{
	struct wire *w = arg;
	struct err e;

	if (ev_watch(w->ev, &w->watch, w->fd, EV_READ, on_ready, w, &e) != 0)
		end(w, &e);
	else
		wire_pump(w);
}

/* The kernel tells of it in every turn, so it is not watched for a while. */
static void no_host(struct wire *w)
{
	if (w->heard || ev_now(w->ev) - w->since_ms >= OPENING_MS) {
		end(w, NULL);
		return;
	}
	ev_unwatch(w->ev, &w->watch);
	ev_arm(w->ev, &w->again, LOOK_AGAIN_MS, look_again, w);
}

/* Until the block is full or there is no more. -1: nothing, and *ended or errno tells why. */
static ssize_t fill(struct wire *w, bool *ended)
{
	size_t have = 0;

	while (have < BLOCK) {
		ssize_t n = read(w->fd, w->in + have, BLOCK - have);

		if (n > 0) {
			have += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		*ended = n == 0;
		return have ? (ssize_t)have : -1;
	}
	return (ssize_t)have;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

static void read_some(struct wire *w)
{
	for (int i = 0; i < READS && !w->dead; i++) {
		bool ended = false;
		ssize_t n = fill(w, &ended);
		struct err e;

		if (n < 0) {
			/* A socket whose peer went with bytes unread says so: it has gone. */
			if (ended || !would_block())
				no_host(w);
			return;
		}
		w->heard = true;
		if (link_input(w->link, w->in, (size_t)n, &e) != 0) {
			end(w, &e);
			return;
		}
		if (n < BLOCK)
			return;
	}
}

static void on_ready(void *arg, unsigned what)
{
	struct wire *w = arg;

	if (what & EV_WRITE)
		wire_pump(w);
	if (!w->dead && w->watch.on && what & (EV_READ | EV_GONE))
		read_some(w);
}

/* False: no room, or nobody to read it. */
static bool push(struct wire *w)
{
	while (w->out_len) {
		ssize_t n = write(w->fd, w->out + w->out_at, w->out_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false; /* if it is broken, reading tells */
		w->out_at += (size_t)n;
		w->out_len -= (size_t)n;
	}
	return true;
}

static void want(struct wire *w)
{
	if (w->watch.on)
		ev_want(w->ev, &w->watch, wire_idle(w) ? EV_READ : EV_READ | EV_WRITE);
}

void wire_pump(struct wire *w)
{
	for (int i = 0; i < WRITES && push(w); i++) {
		w->out_at = 0;
		w->out_len = link_pull(w->link, w->out, OUT);
		if (!w->out_len)
			break;
	}
	want(w);
}

/* A frame, behind nothing. What the pipe does not take of it waits here. */
static void push_frame(struct wire *w, const uint8_t *p, size_t n)
{
	ssize_t done;

	do
		done = write(w->fd, p, n);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		done = 0; /* if it is broken, reading tells */
	w->out_at = 0;
	w->out_len = n - (size_t)done;
	if (!w->out_len)
		return;
	memcpy(w->out, p + done, w->out_len);
	want(w);
}

size_t wire_send(struct wire *w, struct stream *s, uint8_t *p, size_t n)
{
	size_t sent = 0;

	while (sent < n && !w->dead && !w->out_len) {
		size_t part = link_direct(s, p + sent, n - sent);

		if (part == 0)
			break;
		push_frame(w, p + sent - FRAME_HEAD, FRAME_HEAD + part);
		sent += part;
	}
	return sent < n ? sent + stream_write(s, p + sent, n - sent) : n;
}

/* A port's end may be none; a socket's always is. */
static bool is_port(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
}

bool wire_idle(const struct wire *w)
{
	return !w->out_len && !link_pending(w->link);
}

int wire_new(struct wire **out, struct ev *ev, struct link *link, int fd,
	     void (*ended)(void *arg, const struct err *why), void *arg, struct err *e)
{
	struct wire *w = mem_alloc(sizeof(*w));

	if (!w)
		return err_set(e, ERR_NOMEM, "link");
	*w = (struct wire){ .ev = ev, .link = link, .fd = fd, .ended = ended, .arg = arg };
	w->since_ms = ev_now(ev);
	w->heard = !is_port(fd);
	if (ev_watch(ev, &w->watch, fd, EV_READ, on_ready, w, e) != 0) {
		mem_free(w);
		return -1;
	}
	*out = w;
	return 0;
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	ev_unwatch(w->ev, &w->watch);
	ev_disarm(w->ev, &w->again);
	close(w->fd);
	mem_free(w);
}
