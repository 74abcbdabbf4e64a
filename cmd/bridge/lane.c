#include "cmd/bridge/lane.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/mem.h"

enum {
	BUFFER = 64 * 1024,
	SMALL = 4096, /* PIPE_BUF: what a pipe that is writable takes without blocking */
	STEPS = 8     /* of one turn */
};

struct lane_shared {
	struct sock_pipes *pipes;
	uint8_t buffer[BUFFER];
};

int lane_shared_new(struct lane_shared **out, struct err *e)
{
	*out = mem_alloc(sizeof(**out));
	return *out ? 0 : err_set(e, ERR_NOMEM, "buffer");
}

void lane_shared_free(struct lane_shared *s)
{
	if (s)
		lane_pipes_free(s->pipes);
	mem_free(s);
}

void lane_init(struct lane *f, enum lane_kind kind)
{
	*f = (struct lane){ .kind = kind, .pipe = { -1, -1 } };
}

void lane_free(struct lane_shared *s, struct lane *f)
{
	lane_bulk_free(&s->pipes, f);
	mem_free(f->kept);
	f->kept = NULL;
	f->kept_len = 0;
}

/* Bytes taken; 0: none now. -1: broken. */
static ssize_t put(struct lane *f, int to, const uint8_t *p, size_t n)
{
	ssize_t done;

	if (f->kind == LANE_TO_STDIO && n > SMALL)
		n = SMALL;
	do
		done = write(to, p, n);
	while (done < 0 && errno == EINTR);
	if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (done > 0)
		f->moved += (uint64_t)done;
	return done;
}

static int keep(struct lane *f, const uint8_t *p, size_t n)
{
	f->kept = mem_alloc(n);
	if (!f->kept) {
		errno = ENOMEM;
		return -1;
	}
	memcpy(f->kept, p, n);
	f->kept_at = 0;
	f->kept_len = (uint32_t)n;
	return 0;
}

static enum lane_step put_kept(struct lane *f, int to)
{
	ssize_t n = put(f, to, f->kept + f->kept_at, f->kept_len);

	if (n < 0)
		return LANE_BROKEN;
	f->kept_at += (uint32_t)n;
	f->kept_len -= (uint32_t)n;
	if (f->kept_len)
		return LANE_WANTS_OUT;
	mem_free(f->kept);
	f->kept = NULL;
	return LANE_MORE;
}

/* One read, one write. */
static enum lane_step copy(struct lane_shared *s, struct lane *f, int from, int to)
{
	ssize_t got, gone;

	do
		got = read(from, s->buffer, BUFFER);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? LANE_WANTS_IN : LANE_BROKEN;
	if (got == 0) {
		f->eof = true;
		return LANE_ENDED;
	}
	f->full = got == BUFFER;
	gone = put(f, to, s->buffer, (size_t)got);
	if (gone < 0 || (gone < got && keep(f, s->buffer + gone, (size_t)(got - gone)) != 0))
		return LANE_BROKEN;
	if (gone < got)
		return LANE_WANTS_OUT;
	/* A short read has emptied the source; and what may block is asked about first. */
	return f->full && f->kind == LANE_SOCKETS ? LANE_MORE : LANE_WANTS_IN;
}

static enum lane_step step(struct lane_shared *s, struct lane *f, int from, int to)
{
	enum lane_step st;

	if (f->in_pipe)
		return lane_drain(&s->pipes, f, to);
	if (f->kept_len)
		return put_kept(f, to);
	if (f->eof)
		return LANE_ENDED;
	if (f->full && f->kind == LANE_SOCKETS && lane_bulk(&s->pipes, f, from, to, &st) == 0)
		return st;
	return copy(s, f, from, to);
}

enum lane_step lane_run(struct lane_shared *s, struct lane *f, int from, int to)
{
	enum lane_step st = LANE_MORE;

	for (int i = 0; i < STEPS && st == LANE_MORE; i++) {
		st = step(s, f, from, to);
		/* poll(2) has to be asked anew before each piece */
		if (f->kind != LANE_SOCKETS && st == LANE_MORE)
			return f->eof ? LANE_ENDED : LANE_WANTS_IN;
	}
	return st;
}
