#ifndef NET_WS_PARSE_H
#define NET_WS_PARSE_H
/*
 * What a websocket server sends (RFC 6455, 5), taken apart: bytes in, whole
 * messages and control frames out. A message that is whole in the caller's
 * bytes is given where it stands; one that comes in pieces, or is long, is
 * put together here, up to a ceiling. Strict: what the RFC forbids ends it.
 * Pure: no I/O.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/ws_frame.h"

enum {
	WS_IN_PLACE = 32 * 1024, /* a longer frame is copied as it comes */
	/* Fewer bytes than this may be left over by ws_parse(); the caller gives them again. */
	WS_LEFT_MAX = WS_IN_PLACE + WS_HEAD_MAX,
};
enum ws_got {
	WS_GOT_BAD = -1,
	WS_GOT_MORE = 0,
	WS_GOT_MESSAGE, /* op: WS_TEXT (valid UTF-8) or WS_BINARY */
	WS_GOT_CONTROL, /* op: WS_PING, WS_PONG or WS_CLOSE (valid code and reason) */
};
struct ws_event {
	enum ws_opcode op;
	const uint8_t *p; /* until the next call */
	size_t n;
};
struct ws_parser {
	size_t message_max;
	struct buf message; /* the one under way */
	uint64_t left;      /* bytes of the current frame that belong to it and have not come */
	bool copying;       /* inside of such a frame */
	bool open;          /* a message is under way */
	bool told;          /* `message` was given out */
	bool text, last;    /* the message is text; the current frame is its last */
	int close_code;     /* after BAD: what the peer should be told */
};

void ws_parser_init(struct ws_parser *, size_t message_max);
void ws_parser_free(struct ws_parser *); /* wipes */
/* One event out of the n bytes at p, of which *used are done with. MORE: all that is whole was
 * told; the bytes behind *used are to be given again with more behind them. BAD: *e tells
 * (ERR_PROTO, ERR_LIMIT, ERR_NOMEM), and nothing more can be understood. */
enum ws_got ws_parse(struct ws_parser *, const uint8_t *p, size_t n, size_t *used,
		     struct ws_event *, struct err *);
bool ws_utf8_valid(const uint8_t *p, size_t n); /* RFC 3629: shortest forms, no surrogates */
#endif
