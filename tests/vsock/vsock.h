#ifndef TESTS_VSOCK_H
#define TESTS_VSOCK_H
/*
 * vsockback: a virtio-vsock device for QEMU without the kernel's vhost-vsock, for tests: what
 * Virtualization.framework and vfkit are for a guest on a Mac. QEMU speaks vhost-user to it over a
 * Unix socket and shares the guest's memory; a guest's connection to (CID 2, PORT) becomes one to a
 * Unix socket of the host.
 *
 *     guest's AF_VSOCK <=rings in shared memory=> conn.c <=> Unix socket
 *     QEMU             <------ vhost-user ------> vhost.c
 *
 * One thread, one poll(2). Whatever breaks the protocol ends it with a message: it judges too.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum { TO_GUEST = 0, FROM_GUEST = 1, RINGS = 2, CHAIN_MAX = 64, REGIONS_MAX = 8 };

struct vring {
	unsigned size;
	uint16_t next;                       /* of the available ring: not yet taken */
	uint16_t used;                       /* how many were given back */
	uint64_t desc_va, avail_va, used_va; /* where they are in QEMU */
	uint8_t *desc, *avail, *done;        /* where they are here; NULL: not known */
	int kick, call;                      /* eventfds; -1 */
	bool up, owes_call;
};
struct region {
	uint64_t guest, va, size; /* guest-physical; QEMU's */
	uint8_t *at;
	void *map;
	size_t map_size;
};
struct vhost {
	int fd; /* to QEMU */
	uint64_t cid;
	struct region region[REGIONS_MAX];
	unsigned regions;
	struct vring ring[RINGS];
};
/* The buffers of one descriptor chain, translated. */
struct chain {
	struct iovec piece[CHAIN_MAX];
	int pieces;
	size_t total;
	uint16_t head;
};

void vhost_init(struct vhost *, int fd, uint64_t cid);
bool vhost_message(struct vhost *); /* waits for one and does it; false: QEMU has gone */
/* The next chain of this ring; it stays the next one until chain_done(). false: none. */
bool chain_next(struct vhost *, unsigned ring, struct chain *);
void chain_done(struct vhost *, unsigned ring, const struct chain *, size_t written);
void vhost_call(struct vhost *); /* interrupts the guest where it is owed */

struct options {
	uint32_t port;
	const char *path;
	unsigned late; /* so many connections are refused first: a port that is not open yet */
};
struct vsock;
struct pollfd;
struct vsock *vsock_new(struct vhost *, const struct options *);
/* Fills at most `room` entries; vsock_work() is given them back, whatever poll() said. */
size_t vsock_poll(struct vsock *, struct pollfd *, size_t room);
void vsock_work(struct vsock *);
#endif
