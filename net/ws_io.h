#ifndef NET_WS_IO_H
#define NET_WS_IO_H
/*
 * The connection below a websocket: a socket, or TLS over one by OpenSSL,
 * which works on the descriptor itself. Nothing here blocks; what could not be
 * done waits for the descriptor's readiness.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

struct tls_trust;
struct ws_out;

struct ws_io { /* zeroed: none */
	struct loop *loop;
	struct loop_watch watch;
	SSL *ssl;                /* NULL: plain */
	bool open;               /* TLS: the handshake is over */
	bool readable, writable; /* as far as is known; an edge watch */
	bool hup;                /* no further edge will tell of the end */
	bool broken;             /* nothing can be said any more */
	bool ended;              /* `how` is to be told behind the last bytes */
	struct err how;
};

/* Takes fd, also when it fails. trust: NULL for plain; host: the name or address literal that the
 * certificate must be for (SNI and ALPN http/1.1 are sent). fn(arg, ready) is the watch's; it
 * calls ws_io_ready() first. */
MUST_CHECK int ws_io_open(struct ws_io *, struct loop *, int fd, struct tls_trust *trust,
			  const char *host, watch_fn *fn, void *arg, struct err *);
void ws_io_ready(struct ws_io *, unsigned ready);
void ws_io_want(struct ws_io *, bool read, bool write);
/* 1: done (at once when plain), 0: later, -1: *e (ERR_TLS with the reason, or how it ended). */
MUST_CHECK int ws_io_handshake(struct ws_io *, struct err *);
/* Bytes read; 0: nothing more now; -1: the end. *e says how (ERR_CLOSED for a clean one). */
MUST_CHECK long ws_io_read(struct ws_io *, uint8_t *to, size_t n, struct err *);
/* The same bytes come again with the next read. */
MUST_CHECK long ws_io_peek(struct ws_io *, uint8_t *to, size_t n, struct err *);
/* Writes what can be written, and takes it off the queue. -1: *e. */
MUST_CHECK int ws_io_write(struct ws_io *, struct ws_out *, struct err *);
void ws_io_close(struct ws_io *); /* allowed at any time */
/* Gives the descriptor of a plain connection away. */
int ws_io_release(struct ws_io *);
/* `to` takes the connection over, and reports to fn(arg) from then on. */
void ws_io_move(struct ws_io *from, struct ws_io *to, watch_fn *fn, void *arg);
#endif
