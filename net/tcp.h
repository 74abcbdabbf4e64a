#ifndef NET_TCP_H
#define NET_TCP_H
/*
 * A connected stream socket (TCP or Unix) as a stream, and listening sockets.
 * Reads go through one buffer shared by all streams of a loop, so an idle
 * stream holds no buffer; writes take what the kernel takes.
 */
#include <sys/types.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/loop.h"

struct stream;
struct listen_socket;

/* Takes fd (also when it fails: it is closed then); makes it non-blocking and
 * sets TCP_NODELAY where it is TCP. NULL: *e tells. */
struct stream *tcp_stream_new(struct loop *, int fd, struct err *);
/* The same for a descriptor that listen_open() or net_dial() gave: it needs no preparation. */
struct stream *tcp_stream_adopt(struct loop *, int fd, struct err *);

/* fd is the callee's, already non-blocking and close-on-exec. */
typedef void accepted_fn(void *arg, int fd, const struct addr *peer);

/* The addresses of both ends of such a stream. */
MUST_CHECK int tcp_stream_ends(struct stream *, struct addr *local, struct addr *peer,
			       struct err *);

/* Two connected sockets (Unix), as net_dial() and listen_open() give them. */
MUST_CHECK int tcp_make_pair(int fd[static 2], struct err *);

/* Binds and listens. A Unix path must be free, or hold a dead socket (which is
 * replaced); a live one is an error; its mode is 0600. When descriptors run out, accepting
 * pauses for 100 ms at a time instead of spinning. NULL: *e tells, with e->sys EADDRNOTAVAIL
 * when this host has not got the address (yet). */
struct listen_socket *listen_open(struct loop *, const struct addr *, accepted_fn *, void *arg,
				  struct err *);
/* The same with another mode for a Unix path. */
struct listen_socket *listen_open_mode(struct loop *, const struct addr *, mode_t mode,
				       accepted_fn *, void *arg, struct err *);
/* Asked before each connection is taken out of the backlog, with the arg of listen_open(). */
struct listen_gate {
	bool (*enter)(void *arg); /* false: it stays there, and accepting pauses as above */
	void (*leave)(void *arg); /* entered, but there was none to take */
};
void listen_set_gate(struct listen_socket *, const struct listen_gate *);
/* Something has become free (a descriptor, a place behind the gate): a pause ends now. Allowed at
 * any time, also from the callbacks of others. false: it did not pause, or finds no room still. */
bool listen_resume(struct listen_socket *);
void listen_close(struct listen_socket *); /* removes its Unix path */
/* Its Unix path was removed, or is another socket's now: nobody can connect any more. */
bool listen_is_gone(const struct listen_socket *);
const struct addr *listen_addr(const struct listen_socket *); /* with the port chosen for port 0 */

/* For net/dialer.c: as tcp_stream_adopt(), of an edge watch (watch_move()) that has reported `seen`
 * so far. NULL: out of memory, and the watch and its fd are still the caller's. */
struct stream *tcp_stream_from_watch(struct loop *, struct loop_watch *, unsigned seen,
				     struct err *);

/* For net/relay.c: is it such a stream, and whole? */
bool tcp_stream_movable(struct stream *);
/* As stream_release_fd(), but the watch goes along (watch_move()), and so does what is known of
 * the socket. Only when movable. */
struct tcp_seen {
	bool readable, writable, hup;
	bool eof;  /* of the peer; told */
	bool shut; /* by us */
};
void tcp_stream_move(struct stream *, struct loop_watch *to, unsigned events, watch_fn *, void *arg,
		     struct tcp_seen *);
#endif
