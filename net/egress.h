#ifndef NET_EGRESS_H
#define NET_EGRESS_H
/*
 * The way out through a proxy in front of this host, HTTP (CONNECT, for http:// and ws:// too) or
 * SOCKS5: to AWS by those that HTTPS_PROXY or HTTP_PROXY name and NO_PROXY does not except, for
 * clients by --upstream-proxy. Whoever dials gets a connected descriptor, and the proxy resolves
 * the far end's name.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/dialer.h"

struct egress;
struct egress_dial;
struct loop;

/* Is there one of our own listeners at this address? From the loop. */
typedef bool egress_own_fn(void *arg, const struct addr *);

struct egress_opts {
	struct loop *loop;
	/* Copied. URLs as in net/http_connect.h; NULL: none. */
	const char *https_proxy, *http_proxy, *no_proxy;
	const char *https_name, *http_name; /* the variables they come from, for messages */
	/* A proxy that is this very program would wait for itself: it is passed by, with a
	 * warning. NULL: nothing is. */
	egress_own_fn *own;
	void *own_arg;
	bool strict; /* it is not passed by: the dial fails */
};
/* One for each loop. ERR_CONFIG: a URL that is none. */
struct egress *egress_new(const struct egress_opts *, struct err *);
void egress_free(struct egress *); /* ends its tunnels; after all dials; NULL allowed */

/* Who makes the connections, instead of net/dialer.c: where the way out is not this host's own (the
 * VM's). What only this host can reach still goes straight: see egress_stays_here(). */
struct egress_way {
	/* As net_dial(), with a TCP socket that curl takes (net/tcp_pair.h); *to may be of length
	 * 0. */
	void *(*dial)(void *arg, const char *host, uint16_t port, unsigned limit_ms,
		      net_dialed_fn *, void *done_arg, struct err *);
	void (*cancel)(void *dial);
	/* How long a dial of now may take to begin, besides its limit. */
	unsigned (*patience_ms)(void *arg);
	void *arg;
	/* Whoever makes these connections reads along: what is not TLS up to the far end is refused
	 * (ERR_CONFIG), with these words for where it would go and what to do. NULL: it may go. */
	const char *no_clear;
};
/* Of dials from now on, those to a proxy too; copied. */
void egress_set_way(struct egress *, const struct egress_way *);
/* Instance metadata, containers' credentials, loopback: addresses and names that mean something
 * else, or nothing, elsewhere. */
bool egress_stays_here(const char *host);
/* Of whoever limits something that begins with a dial; egress NULL: 0. */
unsigned egress_patience_ms(const struct egress *);

struct egress_target {
	bool tls; /* https, wss: HTTPS_PROXY counts; otherwise HTTP_PROXY */
	const char *host;
	uint16_t port;
	const char *ca_file; /* whom an https:// proxy is checked against; NULL: the system's */
	unsigned limit_ms;
	bool for_client; /* as in net_dial_opts */
};
/* "proxy.example:3128": of an egress with one proxy (its https_proxy). */
const char *egress_proxy_name(const struct egress *);
/* The proxy that such a dial would take ("proxy.example:3128"); NULL: straight. */
const char *egress_proxy_for(struct egress *, const struct egress_target *);
/* As net_dial(). egress NULL: straight. */
struct egress_dial *egress_dial(struct loop *, struct egress *, const struct egress_target *,
				net_dialed_fn *, void *arg, struct err *);
void egress_cancel(struct egress_dial *); /* then done() never comes */
#endif
