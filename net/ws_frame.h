#ifndef NET_WS_FRAME_H
#define NET_WS_FRAME_H
/*
 * Frames of a websocket client (RFC 6455, 5.2): whole messages in one masked
 * frame each, packed into blocks of the size of one TLS record, so that many
 * small messages leave in one write. Pure: no I/O.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

enum ws_opcode {
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10,
};
enum { WS_HEAD_MAX = 14, WS_CONTROL_MAX = 125, WS_BLOCK = 16 * 1024 };

/* The head of a final masked frame of n payload bytes; returns its length. */
size_t ws_frame_head(uint8_t out[static WS_HEAD_MAX], enum ws_opcode, const uint8_t key[static 4],
		     size_t n);
/* to[i] = from[i] XOR key[(at + i) % 4]; `at` is the offset in the payload of
 * from[0]. `to` and `from` are the same or do not overlap. */
void ws_mask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t key[static 4], size_t at);

/* Masking keys must not be foreseeable (RFC 6455, 10.3): from the system's
 * CSPRNG, fetched many at a time. */
struct ws_keys {
	uint8_t pool[1024];
	size_t left; /* 0: empty, as when zeroed */
};
void ws_key(struct ws_keys *, uint8_t out[static 4]);

/* Frames waiting to be written. */
struct ws_out {
	struct list blocks;
	size_t len;     /* bytes in all blocks */
	uint64_t total; /* bytes ever added */
	size_t pre;     /* bytes that the writer wants to own before each piece */
};
void ws_out_init(struct ws_out *, size_t pre);
void ws_out_free(struct ws_out *); /* wipes */
/* A whole frame, or nothing when it fails (ERR_NOMEM). */
MUST_CHECK int ws_out_add(struct ws_out *, struct ws_keys *, enum ws_opcode, const void *p,
			  size_t n, struct err *);
/* The first piece: whole frames, *n <= WS_BLOCK bytes or one longer frame, with
 * `pre` writable bytes before it; NULL when empty. Valid until the next call but this one. */
uint8_t *ws_out_piece(struct ws_out *, size_t *n);
void ws_out_drop_piece(struct ws_out *);
#endif
