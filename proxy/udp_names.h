#ifndef PROXY_UDP_NAMES_H
#define PROXY_UDP_NAMES_H
/*
 * The names that an association sends to: looked up once, remembered for
 * a short time, and the datagrams that wait meanwhile. All of it is bounded: names, look-ups
 * under way, and waiting datagrams by number and bytes (the oldest goes).
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "net/addr.h"
#include "routing/host.h"

struct loop;
struct net_resolve;

enum {
	UDP_NAMES_MAX = 64,
	UDP_LOOKUPS_MAX = 8,
	UDP_WAITING_MAX = 64,
	UDP_WAITING_BYTES = 256 * 1024,
	UDP_NAME_ADDRS = 4,      /* further addresses of a name are left out */
	UDP_NAME_MS = 30 * 1000, /* how long a result counts, */
	UDP_NO_NAME_MS = 5000    /* and a failure */
};

struct udp_names;

struct udp_name {
	struct list node; /* the last one was used last */
	struct udp_names *of;
	struct net_resolve *look_up; /* under way */
	uint64_t until_ms;
	size_t count; /* 0: the look-up failed, `why` tells */
	size_t pick;  /* the owner's: which address works */
	struct addr addr[UDP_NAME_ADDRS];
	struct err why;
	uint16_t port;
	char host[HOST_MAX];
};

/* A datagram's turn has come: its name is known now, or known not to be. From the loop. Must not
 * free the names. */
typedef void udp_name_ready_fn(void *arg, const char *host, uint16_t port, const uint8_t *p,
			       size_t n);

struct udp_names {
	struct loop *loop;
	udp_name_ready_fn *ready;
	void *arg;
	struct list names, waiting;
	size_t count, look_ups, waiting_count, waiting_bytes;
	uint64_t dropped; /* of those that waited */
};

void udp_names_init(struct udp_names *, struct loop *, udp_name_ready_fn *, void *arg);
void udp_names_free(struct udp_names *);
/* What is known of it now; NULL: nothing (any more). Until the next call. */
struct udp_name *udp_names_find(struct udp_names *, const char *host, uint16_t port);
/* Keeps a copy of the datagram until the name is known, and has it looked up. -1: it is lost
 * (ERR_LIMIT, ERR_NOMEM). */
MUST_CHECK int udp_names_wait(struct udp_names *, const char *host, uint16_t port, const uint8_t *p,
			      size_t n, struct err *);
#endif
