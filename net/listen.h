#ifndef NET_LISTEN_H
#define NET_LISTEN_H
/*
 * A listening socket in two steps, for those who serve one address by several
 * loops: bind it (and more like it, where the kernel spreads connections over
 * them), then let each loop serve one. net/tcp.h has both steps in one.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/tcp.h"

/* Plain data: may be handed to another thread. fd -1: none. */
struct listen_bound {
	int fd;
	struct addr addr; /* with the port chosen for port 0 */
	dev_t dev;        /* of the Unix path that we made; ino 0: none */
	ino_t ino;
	bool given; /* somebody else made it (net/activation.h): there is one, and its path stays */
};

/* Binds and listens, as listen_open() does; another listener at the address is an error, also one
 * that shares its port with its like. mode: of a Unix path; nobody of ours looks whether
 * one is alive while another binds (EWOULDBLOCK in e->sys: somebody does). */
MUST_CHECK int listen_bind(struct listen_bound *, const struct addr *, mode_t mode, struct err *);
/* One more socket at the address of `first`, which listens already and keeps listening.
 * Connections are spread over all of them by the kernel. ERR_UNSUPPORTED: not on this system,
 * or not for this kind of address. */
MUST_CHECK int listen_bind_more(const struct listen_bound *first, struct listen_bound *more,
				struct err *);
/* Takes the socket, also when it fails: its fd is -1 then. On the loop's thread, or before that
 * runs. */
struct listen_socket *listen_serve(struct loop *, struct listen_bound *, accepted_fn *, void *arg,
				   struct err *);
/* See listen_is_gone(). */
bool listen_path_is_gone(const struct listen_bound *);
void listen_drop(struct listen_bound *); /* closes; removes its Unix path */
#endif
