/*
 * The back end's half of vhost-user (QEMU's docs/interop/vhost-user.rst), as much of it as a vsock
 * device needs: no log, no IOMMU, no indirect descriptors, no event index, which are not offered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/vsock/vsock.h"

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24
};
enum { HEAD = 12, PAYLOAD_MAX = 1024, VERSION = 1, REPLY = 4, NO_FD = 0x100 };
enum { DESC_SIZE = 16, DESC_NEXT = 1, DESC_WRITE = 2, NO_INTERRUPT = 1 };
#define VIRTIO_F_VERSION_1    (UINT64_C(1) << 32)
#define HAS_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define PROTOCOL_CONFIG       (UINT64_C(1) << 9)

struct message {
	uint32_t request, flags, size;
	uint8_t payload[PAYLOAD_MAX];
	int fd[REGIONS_MAX];
	unsigned fds;
};

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t u64_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

void vhost_init(struct vhost *h, int fd, uint64_t cid)
{
	memset(h, 0, sizeof(*h));
	h->fd = fd;
	h->cid = cid;
	for (unsigned i = 0; i < RINGS; i++)
		h->ring[i].kick = h->ring[i].call = -1;
}

/* --- messages --- */

static bool read_all(int fd, void *to, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = read(fd, (uint8_t *)to + at, n - at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

static void take_fds(struct message *m, struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return;
	m->fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(m->fd, CMSG_DATA(c), m->fds * sizeof(int));
}

static bool receive(int fd, struct message *m)
{
	union {
		char room[CMSG_SPACE(REGIONS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec head = { .iov_base = m, .iov_len = HEAD };
	struct msghdr h = { .msg_iov = &head, .msg_iovlen = 1 };
	ssize_t n;

	m->fds = 0;
	h.msg_control = &control;
	h.msg_controllen = sizeof(control);
	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	if (n != HEAD)
		die("vhost-user: half a header");
	take_fds(m, &h);
	if (m->size > sizeof(m->payload))
		die("vhost-user: message %u of %u bytes", m->request, m->size);
	return read_all(fd, m->payload, m->size);
}

static void reply(struct vhost *h, struct message *m, size_t n)
{
	m->flags = VERSION | REPLY;
	m->size = (uint32_t)n;
	if (write(h->fd, m, HEAD + n) != (ssize_t)(HEAD + n))
		die("vhost-user: answer to %u: %s", m->request, strerror(errno));
}

static void reply_u64(struct vhost *h, struct message *m, uint64_t v)
{
	memcpy(m->payload, &v, sizeof(v));
	reply(h, m, sizeof(v));
}

/* --- memory --- */

static uint8_t *of_qemu(const struct vhost *h, uint64_t va)
{
	for (unsigned i = 0; i < h->regions; i++)
		if (va >= h->region[i].va && va - h->region[i].va < h->region[i].size)
			return h->region[i].at + (va - h->region[i].va);
	return NULL;
}

static uint8_t *of_guest(const struct vhost *h, uint64_t at, uint64_t n)
{
	for (unsigned i = 0; i < h->regions; i++) {
		const struct region *r = &h->region[i];

		if (at >= r->guest && at - r->guest < r->size && n <= r->size - (at - r->guest))
			return r->at + (at - r->guest);
	}
	die("the guest names memory that it has not: %llx+%llx", (unsigned long long)at,
	    (unsigned long long)n);
}

static void place_ring(struct vhost *h, struct vring *r)
{
	if (!r->desc_va)
		return;
	r->desc = of_qemu(h, r->desc_va);
	r->avail = of_qemu(h, r->avail_va);
	r->done = of_qemu(h, r->used_va);
}

static void set_memory(struct vhost *h, const struct message *m)
{
	uint32_t count = u32_at(m->payload);

	if (count > REGIONS_MAX || count != m->fds || m->size < 8 + 32 * count)
		die("vhost-user: %u regions, %u descriptors", count, m->fds);
	for (unsigned i = 0; i < h->regions; i++)
		munmap(h->region[i].map, h->region[i].map_size);
	h->regions = count;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *p = m->payload + 8 + 32 * i;
		struct region *r = &h->region[i];
		uint64_t offset = u64_at(p + 24);

		r->guest = u64_at(p);
		r->size = u64_at(p + 8);
		r->va = u64_at(p + 16);
		r->map_size = r->size + offset;
		r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[i], 0);
		if (r->map == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		r->at = (uint8_t *)r->map + offset;
		close(m->fd[i]);
	}
	for (unsigned i = 0; i < RINGS; i++)
		place_ring(h, &h->ring[i]);
}

/* --- rings --- */

static struct vring *ring_of(struct vhost *h, const struct message *m)
{
	uint32_t i = u32_at(m->payload) & 0xff;

	if (i >= RINGS)
		die("vhost-user: ring %u", i);
	return &h->ring[i];
}

static void set_address(struct vhost *h, const struct message *m)
{
	struct vring *r = ring_of(h, m);

	r->desc_va = u64_at(m->payload + 8);
	r->used_va = u64_at(m->payload + 16);
	r->avail_va = u64_at(m->payload + 24);
	place_ring(h, r);
	if (!r->desc || !r->avail || !r->done)
		die("vhost-user: a ring lies in no region");
}

static void set_eventfd(int *slot, const struct message *m)
{
	if (*slot >= 0)
		close(*slot);
	*slot = (u32_at(m->payload) & NO_FD) || !m->fds ? -1 : m->fd[0];
}

static void set_base(struct vring *r, uint32_t at)
{
	r->next = r->used = (uint16_t)at;
}

static void give_base(struct vhost *h, struct message *m)
{
	struct vring *r = ring_of(h, m);
	uint32_t at = r->next;

	r->up = false;
	memcpy(m->payload + 4, &at, sizeof(at));
	reply(h, m, 8);
}

/* struct virtio_vsock_config is the guest's CID alone. */
static void give_config(struct vhost *h, struct message *m)
{
	uint32_t from = u32_at(m->payload), n = u32_at(m->payload + 4);

	if (from > sizeof(h->cid) || n > sizeof(h->cid) - from)
		die("vhost-user: configuration %u+%u", from, n);
	memcpy(m->payload + HEAD, (uint8_t *)&h->cid + from, n);
	reply(h, m, HEAD + n);
}

static void set_vring(struct vhost *h, struct message *m)
{
	struct vring *r = ring_of(h, m);

	switch (m->request) {
	case SET_VRING_NUM: r->size = u32_at(m->payload + 4); break;
	case SET_VRING_ADDR: set_address(h, m); break;
	case SET_VRING_BASE: set_base(r, u32_at(m->payload + 4)); break;
	case SET_VRING_KICK: /* from now on it runs */
		set_eventfd(&r->kick, m);
		r->up = true;
		break;
	default: set_eventfd(&r->call, m);
	}
}

bool vhost_message(struct vhost *h)
{
	struct message m;

	if (!receive(h->fd, &m))
		return false;
	switch (m.request) {
	case GET_FEATURES: reply_u64(h, &m, VIRTIO_F_VERSION_1 | HAS_PROTOCOL_FEATURES); break;
	case GET_PROTOCOL_FEATURES: reply_u64(h, &m, PROTOCOL_CONFIG); break;
	case GET_CONFIG: give_config(h, &m); break;
	case SET_MEM_TABLE: set_memory(h, &m); break;
	case GET_VRING_BASE: give_base(h, &m); break;
	case SET_VRING_NUM:
	case SET_VRING_ADDR:
	case SET_VRING_BASE:
	case SET_VRING_KICK:
	case SET_VRING_CALL: set_vring(h, &m); break;
	case SET_VRING_ERR:
		for (unsigned i = 0; i < m.fds; i++)
			close(m.fd[i]);
		break;
	case SET_FEATURES:
	case SET_PROTOCOL_FEATURES:
	case SET_OWNER:
	case SET_VRING_ENABLE: break;
	default: die("vhost-user: message %u", m.request);
	}
	return true;
}

bool chain_next(struct vhost *h, unsigned ring, struct chain *c)
{
	struct vring *r = &h->ring[ring];
	uint16_t index;
	uint8_t flags;

	if (!r->up || !r->desc ||
	    __atomic_load_n((uint16_t *)(void *)(r->avail + 2), __ATOMIC_ACQUIRE) == r->next)
		return false;
	memcpy(&c->head, r->avail + 4 + 2 * (r->next % r->size), sizeof(c->head));
	index = c->head;
	c->pieces = 0;
	c->total = 0;
	do {
		const uint8_t *d = r->desc + (size_t)DESC_SIZE * index;
		uint32_t n = u32_at(d + 8);

		flags = d[12];
		if (c->pieces == CHAIN_MAX || index >= r->size)
			die("a chain without an end");
		if (!(flags & DESC_WRITE) != (ring == FROM_GUEST))
			die("a buffer of the wrong direction");
		c->piece[c->pieces].iov_base = of_guest(h, u64_at(d), n);
		c->piece[c->pieces++].iov_len = n;
		c->total += n;
		memcpy(&index, d + 14, sizeof(index));
	} while (flags & DESC_NEXT);
	return true;
}

void chain_done(struct vhost *h, unsigned ring, const struct chain *c, size_t written)
{
	struct vring *r = &h->ring[ring];
	uint32_t entry[2] = { c->head, (uint32_t)written };

	memcpy(r->done + 4 + sizeof(entry) * (r->used % r->size), entry, sizeof(entry));
	r->used++;
	r->next++;
	__atomic_store_n((uint16_t *)(void *)(r->done + 2), r->used, __ATOMIC_RELEASE);
	r->owes_call = true;
}

void vhost_call(struct vhost *h)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < RINGS; i++) {
		struct vring *r = &h->ring[i];

		if (!r->owes_call || !r->up || r->call < 0)
			continue;
		r->owes_call = false;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!(r->avail[0] & NO_INTERRUPT) && write(r->call, &one, sizeof(one)) < 0)
			die("eventfd: %s", strerror(errno));
	}
}
