#ifndef NET_DIALER_H
#define NET_DIALER_H
/*
 * The one place that makes outgoing connections: names are resolved on the
 * thread pool, IPv6 and IPv4 raced (RFC 8305: the system's order, which puts
 * IPv6 first where it is usable, families alternating, 250 ms between
 * attempts), the cause of failure kept.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct loop;
struct net_dial;
struct stream;

struct net_dial_opts {
	unsigned limit_ms; /* for all of it; 0: 30 s */
	/* Asked for each address before it is tried; false refuses it, and *e says
	 * why. NULL: all are allowed. */
	bool (*allow)(void *arg, const struct addr *, struct err *e);
	void *allow_arg;
	bool for_client; /* leaves the program its last descriptors: loop_may_use_fd() */
};

/* fd >= 0: connected, non-blocking, the callee's, *to is its address. -1: *why
 * tells. Once, from the loop. */
typedef void net_dialed_fn(void *arg, int fd, const struct addr *to, const struct err *why);

/* host: a name or an address literal. NULL: *e tells and done() never comes. */
struct net_dial *net_dial(struct loop *, const char *host, uint16_t port,
			  const struct net_dial_opts *, net_dialed_fn *, void *arg, struct err *e);
/* To a known address (Unix too). */
struct net_dial *net_dial_addr(struct loop *, const struct addr *, const struct net_dial_opts *,
			       net_dialed_fn *, void *arg, struct err *e);
/* To the first that answers, tried in this order; 0 < n <= DIAL_MAX, copied. `host` stands in
 * messages; NULL: the address does. */
enum { DIAL_MAX = 16 };
struct net_dial *net_dial_addrs(struct loop *, const struct addr *, size_t n, const char *host,
				const struct net_dial_opts *, net_dialed_fn *, void *arg,
				struct err *e);
/* As net_dial(), with a stream (net/tcp.h) as its result, which costs less than making one of
 * the descriptor. */
typedef void net_dialed_stream_fn(void *arg, struct stream *, const struct addr *to,
				  const struct err *why);
struct net_dial *net_dial_stream(struct loop *, const char *host, uint16_t port,
				 const struct net_dial_opts *, net_dialed_stream_fn *, void *arg,
				 struct err *e);
void net_dial_cancel(struct net_dial *); /* then done() never comes */
#endif
