#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H
/*
 * What one listener does with the clients it accepts: SOCKS5, SOCKS4/4a, HTTP
 * CONNECT and plain HTTP proxying, told apart by the first byte; rules before
 * any look-up or dial; one audit line for each attempt.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "routing/policy.h"
#include "routing/router.h"

struct addr;
struct audit;
struct auth;
struct auth_users;
struct backend;
struct handover;
struct learn;
struct limits_listener;
struct loop;
struct proxy;

/* Of one loop's clients, for `awsocks status`. That loop's thread alone writes them. */
struct proxy_counts {
	atomic_uint_least64_t accepted;    /* clients taken in */
	atomic_uint_least64_t turned_away; /* clients closed unserved */
	/* Audit lines, by action: a client may have many or none. */
	atomic_uint_least64_t allowed, blocked, refused;
};

/* All that is pointed to must live until proxy_close() has called back. */
struct proxy_opts {
	struct loop *loop;
	const char *listener; /* its name, for the audit log */
	/* The rules of now. Used only until the call that asked returns, so that
	 * a reload may swap them; what outlives it is copied. */
	const struct router *(*router)(void *arg);
	/* The backend of a route; NULL: there is none, *e says why. Never asked for `block`. */
	struct backend *(*backend)(void *arg, const struct route *, struct err *e);
	void *arg;
	struct policy policy;
	/* The host guard (net/host_guard.h). NULL, these three: none. */
	bool (*allow)(void *arg, const struct addr *, struct err *); /* before it is dialled */
	/* The same where the deciding rule says allow-host. NULL: all are allowed. */
	bool (*allow_opened)(void *arg, const struct addr *, struct err *);
	/* What the client named, normalised, where the far side resolves. NULL: all are allowed. */
	bool (*allow_name)(void *arg, const char *host, struct err *);
	/* allow and allow_opened of a listener that is not guarded, on vm-direct: who may reach
	 * this host from here may still not come round to it out of the VM. NULL: all are allowed.
	 */
	bool (*allow_vm)(void *arg, const struct addr *, struct err *);
	bool (*allow_vm_opened)(void *arg, const struct addr *, struct err *);
	void *allow_arg; /* of all these */
	/* Tunnels carry TLS only, whose first message asks for the name that the request asked for
	 * (or for none, where that was an address). */
	bool check_sni;
	struct audit *audit; /* NULL: none */
	struct learn *learn; /* NULL: nothing is learned */
	/* Who may use it (proxy/auth.h); NULL: whoever connects. A reference of the proxy's own is
	 * taken. SOCKS4, which has no passwords, is refused then. */
	struct auth_users *users;
	struct auth *auth; /* of this loop; with users */
	/* How many are served (proxy/limits.h); NULL: as many as come. Whoever accepts has entered
	 * it for each client that is given to proxy_accept() or proxy_turn_away(). */
	struct limits_listener *limits;
	/* A client's place and descriptors have become free: ended(arg). NULL: nobody cares. It may
	 * come from inside any call of this proxy: only listen_resume() and the like, please. */
	void (*ended)(void *arg);
	/* One listener may be served by several loops, with a proxy on each. Routes other than
	 * `direct` and `block` belong to one of them, and this takes their clients there
	 * (proxy/handover.h) before anything is dialled. NULL: this one serves all routes. */
	void (*hand_over)(void *arg, struct handover *);
	/* The audit ids are id_first + id_step, id_first + 2 * id_step, ...; 0: 1, 2, 3 ... */
	uint64_t id_first, id_step;
	struct proxy_counts *counts; /* NULL: nobody asks */
	atomic_size_t *connected;    /* counts the clients of now, here too; written by this loop's
				      * thread alone; NULL: nowhere else */
	bool no_udp; /* direct goes through a proxy, which UDP would pass by: it is refused */
	/* Limits; 0 takes the default. */
	unsigned handshake_ms; /* until the request is whole: 10 s */
	unsigned idle_ms;      /* a kept-alive HTTP connection between requests: 120 s */
	unsigned exchange_ms;  /* an HTTP exchange in which nothing moves: 15 min */
	/* A tunnel in which no byte moves for so long is broken, an eighth later at most; 0: never.
	 */
	unsigned still_ms;
};

MUST_CHECK int proxy_new(struct proxy **, const struct proxy_opts *, struct err *);
/* Takes fd, a connected and non-blocking socket, and the place that limits_enter() gave it. A peer
 * that has its share is turned away. peer is borrowed until return. */
void proxy_accept(struct proxy *, int fd, const struct addr *peer);
/* Closes fd unserved, gives its place back, and says so in the audit log. */
void proxy_turn_away(struct proxy *, int fd, const struct addr *peer, const char *why);
/* Ends what has not got anywhere yet, gives running relays and exchanges
 * grace_ms, then breaks them, then calls closed() once, from the loop; the
 * proxy is gone then. Call it once. */
void proxy_close(struct proxy *, unsigned grace_ms, void (*closed)(void *arg), void *arg);
size_t proxy_clients(const struct proxy *); /* connected now */
/* Others from now on, for a proxy that has some; who is in stays. */
void proxy_set_users(struct proxy *, struct auth_users *);
#endif
