/*
 * virtio-vsock's streams (virtio 1.2, 5.10) and their credit. What the guest sent and the Unix
 * socket has not taken stays within `held`, and that is what the guest was told it may send.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/vsock/vsock.h"

enum {
	HEAD = 44,
	HOST_CID = 2,
	STREAM = 1,
	HELD_MAX = 256 * 1024,
	REFUSALS_MAX = 64,
	PACKET_MAX = 64 * 1024
};
enum op { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };
enum { NO_RECEIVE = 1, NO_SEND = 2 };

struct head {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};
struct conn {
	struct conn *next;
	uint32_t guest_port, host_port;
	int fd;
	uint8_t held[HELD_MAX]; /* a ring */
	size_t at, count;
	uint32_t forwarded, told;                   /* to the Unix socket; known to the guest */
	uint32_t guest_room, guest_forwarded, sent; /* the guest's side of it */
	bool owes_response, owes_credit, owes_end, owes_reset;
	bool guest_ended; /* sends no more: what is held still goes out */
	bool over;
};
struct refusal {
	uint32_t guest_port, host_port;
};
struct vsock {
	struct vhost *h;
	struct options o;
	struct conn *conns;
	struct refusal refusal[REFUSALS_MAX];
	unsigned refusals;
};

struct vsock *vsock_new(struct vhost *h, const struct options *o)
{
	struct vsock *v = calloc(1, sizeof(*v));

	if (!v)
		die("no memory");
	v->h = h;
	v->o = *o;
	return v;
}

/* --- to the guest --- */

static void gather(const struct chain *c, size_t from, uint8_t *to, size_t n)
{
	for (int i = 0; i < c->pieces && n > 0; i++) {
		size_t here = c->piece[i].iov_len;

		if (from >= here) {
			from -= here;
			continue;
		}
		here = here - from < n ? here - from : n;
		memcpy(to, (const uint8_t *)c->piece[i].iov_base + from, here);
		to += here;
		n -= here;
		from = 0;
	}
}

static void scatter(const struct chain *c, const uint8_t *p, size_t n)
{
	for (int i = 0; i < c->pieces && n > 0; i++) {
		size_t here = c->piece[i].iov_len < n ? c->piece[i].iov_len : n;

		memcpy(c->piece[i].iov_base, p, here);
		p += here;
		n -= here;
	}
}

/* Completes the header, and writes it and the n bytes behind it into the guest's next buffer. */
static void put(struct vsock *v, struct conn *k, struct head *h, uint8_t *bytes, uint32_t n,
		const struct chain *c)
{
	if (c->total < HEAD + n)
		die("a buffer without room for a header");
	h->src_cid = HOST_CID;
	h->dst_cid = v->h->cid;
	h->src_port = k->host_port;
	h->dst_port = k->guest_port;
	h->len = n;
	h->type = STREAM;
	h->buf_alloc = HELD_MAX;
	h->fwd_cnt = k->told = k->forwarded;
	memcpy(bytes, h, HEAD);
	scatter(c, bytes, HEAD + n);
	chain_done(v->h, TO_GUEST, c, HEAD + n);
}

/* false: the guest has no buffer there; it will tell when it has. */
static bool tell(struct vsock *v, struct conn *k, enum op op, uint32_t flags)
{
	struct head h = { .op = (uint16_t)op, .flags = flags };
	uint8_t bytes[HEAD];
	struct chain c;

	if (!chain_next(v->h, TO_GUEST, &c))
		return false;
	put(v, k, &h, bytes, 0, &c);
	return true;
}

static bool tell_refusals(struct vsock *v)
{
	while (v->refusals > 0) {
		const struct refusal *r = &v->refusal[v->refusals - 1];
		struct conn nobody = { .guest_port = r->guest_port, .host_port = r->host_port };

		if (!tell(v, &nobody, RST, 0))
			return false;
		v->refusals--;
	}
	return true;
}

static bool tell_owed(struct vsock *v, struct conn *k)
{
	if (k->owes_response && tell(v, k, RESPONSE, 0))
		k->owes_response = false;
	if (k->owes_reset) {
		k->over = !k->owes_response && tell(v, k, RST, 0);
		return false;
	}
	if (k->owes_credit && tell(v, k, CREDIT_UPDATE, 0))
		k->owes_credit = false;
	if (k->owes_end && tell(v, k, SHUTDOWN, NO_RECEIVE | NO_SEND))
		k->owes_end = false;
	return !k->owes_response;
}

static size_t credit(const struct conn *k)
{
	uint32_t under_way = k->sent - k->guest_forwarded;

	if (under_way > k->guest_room)
		return 0;
	return k->guest_room - under_way;
}

static void unix_ended(struct conn *k)
{
	close(k->fd);
	k->fd = -1;
	k->count = 0;
	k->owes_end = !k->guest_ended;
	k->owes_reset = k->guest_ended;
}

/* One packet's worth, read to where the guest will find it. false: nothing more for now. */
static bool pass_on(struct vsock *v, struct conn *k)
{
	struct head h = { .op = RW };
	uint8_t bytes[HEAD + PACKET_MAX];
	struct chain c;
	size_t room = credit(k);
	ssize_t n;

	if (k->fd < 0 || room == 0 || !chain_next(v->h, TO_GUEST, &c) || c.total <= HEAD)
		return false;
	room = room < c.total - HEAD ? room : c.total - HEAD;
	n = read(k->fd, bytes + HEAD, room < PACKET_MAX ? room : PACKET_MAX);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		unix_ended(k);
		return true; /* there is that to tell */
	}
	k->sent += (uint32_t)n;
	put(v, k, &h, bytes, (uint32_t)n, &c);
	return true;
}

/* --- from the guest --- */

static struct conn *find(struct vsock *v, const struct head *h)
{
	for (struct conn *k = v->conns; k; k = k->next)
		if (k->guest_port == h->src_port && k->host_port == h->dst_port && !k->over)
			return k;
	return NULL;
}

static void refuse(struct vsock *v, const struct head *h)
{
	if (v->refusals < REFUSALS_MAX)
		v->refusal[v->refusals++] = (struct refusal){ h->src_port, h->dst_port };
}

static int dial(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(to.sun_path))
		die("socket to %s", path);
	memcpy(to.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* As vfkit does: it is accepted first, and ends at once when nobody listens at the path. */
static void begin(struct vsock *v, const struct head *h)
{
	struct conn *k;

	if (h->dst_port != v->o.port || v->o.late > 0) {
		v->o.late -= v->o.late > 0;
		refuse(v, h);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		die("no memory");
	k->guest_port = h->src_port;
	k->host_port = h->dst_port;
	k->owes_response = true;
	k->fd = dial(v->o.path);
	k->owes_end = k->fd < 0;
	k->next = v->conns;
	v->conns = k;
}

static void keep(struct conn *k, const struct chain *c, uint32_t n)
{
	size_t from = HEAD;

	if (n > HELD_MAX - k->count)
		die("the guest sends more than it was granted");
	while (n > 0) {
		size_t end = (k->at + k->count) % HELD_MAX;
		size_t here = n < HELD_MAX - end ? n : HELD_MAX - end;

		gather(c, from, k->held + end, here);
		k->count += here;
		from += here;
		n -= (uint32_t)here;
	}
}

static void hear(struct conn *k, const struct head *h, const struct chain *c)
{
	k->guest_room = h->buf_alloc;
	k->guest_forwarded = h->fwd_cnt;
	if (h->op == RW && k->fd >= 0)
		keep(k, c, h->len);
	else if (h->op == RST)
		k->over = true;
	else if (h->op == SHUTDOWN && (h->flags & NO_SEND))
		k->guest_ended = true;
	else if (h->op == CREDIT_REQUEST)
		k->owes_credit = true;
}

static void take(struct vsock *v, const struct chain *c)
{
	struct head h;
	struct conn *k;

	if (c->total < HEAD)
		die("half a packet");
	gather(c, 0, (uint8_t *)&h, HEAD);
	if (h.src_cid != v->h->cid || h.dst_cid != HOST_CID || h.len > c->total - HEAD)
		die("packet from %llu to %llu of %u bytes", (unsigned long long)h.src_cid,
		    (unsigned long long)h.dst_cid, h.len);
	k = find(v, &h);
	if (k && h.op != REQUEST) {
		hear(k, &h, c);
	} else if (h.op == REQUEST && h.type == STREAM && !k) {
		begin(v, &h);
		k = find(v, &h);
		if (k)
			hear(k, &h, c);
	} else if (h.op != RST) {
		refuse(v, &h);
	}
}

static void drain(struct conn *k)
{
	while (k->count > 0 && k->fd >= 0) {
		size_t n = k->count < HELD_MAX - k->at ? k->count : HELD_MAX - k->at;
		ssize_t done = send(k->fd, k->held + k->at, n, MSG_NOSIGNAL);

		if (done < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (done < 0) {
			unix_ended(k);
			return;
		}
		k->at = (k->at + (size_t)done) % HELD_MAX;
		k->count -= (size_t)done;
		k->forwarded += (uint32_t)done;
	}
	if (k->forwarded - k->told > HELD_MAX / 4)
		k->owes_credit = true;
	if (k->guest_ended && k->count == 0)
		k->owes_reset = true;
}

/* --- both --- */

static void sweep(struct vsock *v)
{
	for (struct conn **p = &v->conns; *p;) {
		struct conn *k = *p;

		if (!k->over) {
			p = &k->next;
			continue;
		}
		*p = k->next;
		if (k->fd >= 0)
			close(k->fd);
		free(k);
	}
}

void vsock_work(struct vsock *v)
{
	struct chain c;

	while (chain_next(v->h, FROM_GUEST, &c)) {
		take(v, &c);
		chain_done(v->h, FROM_GUEST, &c, 0);
	}
	if (tell_refusals(v)) {
		for (struct conn *k = v->conns; k; k = k->next) {
			drain(k);
			while (tell_owed(v, k) && pass_on(v, k))
				;
		}
	}
	sweep(v);
}

size_t vsock_poll(struct vsock *v, struct pollfd *to, size_t room)
{
	struct chain c;
	bool buffers = chain_next(v->h, TO_GUEST, &c);
	size_t n = 0;

	for (const struct conn *k = v->conns; k && n < room; k = k->next) {
		short want = k->count > 0 ? POLLOUT : 0;

		if (k->fd < 0)
			continue;
		if (buffers && credit(k) > 0 && !k->owes_response)
			want |= POLLIN;
		if (want)
			to[n++] = (struct pollfd){ .fd = k->fd, .events = want };
	}
	return n;
}
