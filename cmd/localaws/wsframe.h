#ifndef LOCALAWS_WSFRAME_H
#define LOCALAWS_WSFRAME_H
/*
 * Websocket frames as a server reads and writes them (RFC 6455, 5). Pure:
 * bytes in, a step out; nothing is consumed on MORE. Fragments are put
 * together by the caller (gateway.c), who also sees the control frames that
 * may stand between them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum wsframe_op {
	WSFRAME_CONTINUE = 0,
	WSFRAME_TEXT = 1,
	WSFRAME_BINARY = 2,
	WSFRAME_CLOSE = 8,
	WSFRAME_PING = 9,
	WSFRAME_PONG = 10,
};
enum wsframe_step { WSFRAME_BAD = -1, WSFRAME_MORE = 0, WSFRAME_DONE = 1 };
enum { WSFRAME_HEAD_MAX = 14, WSFRAME_CONTROL_MAX = 125 };

struct wsframe {
	enum wsframe_op op;
	bool fin;
	uint8_t mask[4];
	const uint8_t *payload; /* still masked, in the caller's bytes */
	size_t len;
	size_t used; /* bytes of the whole frame */
};

/* A client's frame: it must be masked (5.1), without reserved bits, a control
 * frame whole and short (5.5), a length in its shortest form (5.2) and at most
 * `max`. DONE when all of it is there. */
enum wsframe_step wsframe_decode(const uint8_t *p, size_t n, size_t max, struct wsframe *,
				 struct err *);
void wsframe_unmask(const struct wsframe *, uint8_t *out); /* len bytes */
/* A server's frame head (unmasked); returns its length. */
size_t wsframe_head(enum wsframe_op, bool fin, size_t len, uint8_t out[static WSFRAME_HEAD_MAX]);
/* Sec-WebSocket-Accept (4.2.2); 28 characters and a NUL. */
void wsframe_accept(const char *key, size_t n, char out[static 29]);
#endif
