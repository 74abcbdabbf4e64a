#ifndef NET_EGRESS_IMPL_H
#define NET_EGRESS_IMPL_H
/* Shared by egress.c and egress_tunnel.c. */
#include "base/list.h"
#include "net/egress.h"
#include "net/http_connect.h"
#include "net/ws_frame.h"
#include "net/ws_io.h"

struct tls_trust;

struct egress_proxy {
	char *name; /* the variable; NULL: there is no such proxy */
	struct http_connect_proxy to;
	bool complained; /* that it is ourselves */
};

struct egress {
	struct loop *loop;
	struct egress_proxy https, http;
	char *no_proxy;
	egress_own_fn *own;
	void *own_arg;
	bool strict;
	struct egress_way way;   /* dial NULL: none */
	struct tls_trust *trust; /* of the last https:// proxy; NULL: none yet */
	struct ws_blocks blocks;
	struct list tunnels;
};

/* egress_tunnel.c: TLS to a proxy (`io`, taken, also when it fails) behind a descriptor that looks
 * like a connection: *fd is the caller's. */
MUST_CHECK int egress_tunnel_new(struct egress *, struct ws_io *io, int *fd, struct err *);
void egress_tunnels_close(struct egress *);
#endif
