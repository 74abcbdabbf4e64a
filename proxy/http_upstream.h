#ifndef PROXY_HTTP_UPSTREAM_H
#define PROXY_HTTP_UPSTREAM_H
/* The server's side of a plain HTTP session: a stream, what was read from it, and what it is for.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "routing/host.h"
#include "routing/router.h"

struct attempt;
struct stream;

enum { UPSTREAM_MAX = 64 * 1024 }; /* bytes held */

enum upstream_event {
	UPSTREAM_BYTES = 0, /* more in `in`, but no line ended */
	UPSTREAM_LINES,     /* more in `in` */
	UPSTREAM_WRITABLE,
	UPSTREAM_END /* eof is set, and why if it broke */
};
/* From the event loop only. */
typedef void upstream_fn(void *arg, enum upstream_event);

struct upstream {              /* lives until its stream's closed() */
	struct stream *stream; /* NULL: gone, its last bytes are in `in` */
	struct buf in;
	size_t credit;
	bool eof;
	struct err why; /* how it broke; code ERR_NONE: it did not */
	char host[HOST_MAX];
	uint16_t port;
	struct route route;
	char *address, *session; /* for the audit log */
	upstream_fn *event;      /* NULL: let go */
	void *arg;
};

/* Takes the stream, also when it fails, that the attempt has led to. */
struct upstream *upstream_new(struct stream *, const struct attempt *, upstream_fn *, void *arg,
			      struct err *);
/* No event comes any more. broken: with a reset. */
void upstream_let_go(struct upstream *, bool broken);
/* The stream goes to another owner; the rest is freed. */
struct stream *upstream_release(struct upstream *);
/* Lets the server send as much as there is room for. */
void upstream_credit(struct upstream *);
/* Alive, with nothing unread, and to where the attempt's decision leads? NULL is not. */
bool upstream_fits(const struct upstream *, const struct attempt *);
#endif
