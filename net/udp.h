#ifndef NET_UDP_H
#define NET_UDP_H
/*
 * A UDP socket on the loop. It is not connected, and nothing is queued: what is
 * read goes from the loop's shared buffer to its owner, what the kernel does
 * not take when it is sent is lost, as datagrams may be.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct loop;
struct udp;

enum {
	UDP_FRONT = 24,   /* bytes in front of each datagram that its receiver may write to */
	UDP_MAX = 65511,  /* longer ones (only IPv6 has them) are dropped, never cut */
	UDP_PER_TURN = 32 /* a power of two; read at most before others have their turn */
};

struct udp_handler {
	/* n may be 0. p is good until return. */
	void (*received)(void *arg, const struct addr *from, uint8_t *p, size_t n);
	/* Reading fails again and again; nothing more will come. Once. */
	void (*broken)(void *arg, const struct err *why);
};

/* Binds to this address; port 0: one that the system chooses. An IPv6 socket carries IPv6 alone.
 * For clients: it leaves the program its last descriptors. NULL: *e tells. */
struct udp *udp_open(struct loop *, const struct addr *at, const struct udp_handler *, void *arg,
		     struct err *);
/* From its own handlers too. NULL is allowed. */
void udp_close(struct udp *);
const struct addr *udp_addr(const struct udp *); /* with the port */
/* 0, or errno: EAGAIN, EMSGSIZE, ENETUNREACH, ... An ICMP error about an earlier datagram is no
 * reason to fail this one. */
MUST_CHECK int udp_send(struct udp *, const struct addr *to, const void *p, size_t n);
uint64_t udp_overlong(const struct udp *); /* datagrams dropped since they were too long */
#endif
