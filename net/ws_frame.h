#ifndef NET_WS_FRAME_H
#define NET_WS_FRAME_H
/*
 * Frames of a websocket client (RFC 6455, 5.2) on their way out: whole
 * messages in one masked frame each, packed into blocks of the size of one TLS
 * record, so that many small messages leave in one write. Pure: no I/O.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

enum ws_opcode {
	WS_CONTINUATION = 0,
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

/* Blocks that are not in use, kept for the next bytes: sending then allocates
 * nothing. One for all queues of a loop; they are wiped when they come here. */
struct ws_blocks {
	struct list spare;
	size_t count;
};
enum { WS_SPARE_MAX = 32 };
void ws_blocks_init(struct ws_blocks *);
void ws_blocks_free(struct ws_blocks *);

/* Bytes waiting to be written. */
struct ws_out {
	struct list blocks;
	struct ws_blocks *from; /* must outlive the queue */
	size_t len;             /* bytes in all blocks */
	uint64_t total;         /* bytes ever added */
};
void ws_out_init(struct ws_out *, struct ws_blocks *);
void ws_out_free(struct ws_out *);
/* A whole frame, or nothing when it fails (ERR_NOMEM). */
MUST_CHECK int ws_out_add(struct ws_out *, struct ws_keys *, enum ws_opcode, const void *p,
			  size_t n, struct err *);
/* Bytes as they are: the request that comes before all frames. */
MUST_CHECK int ws_out_add_raw(struct ws_out *, const void *p, size_t n, struct err *);
/* The first pieces, at most max of them, each of at most WS_BLOCK bytes; how many. Valid until
 * the next call but this one. */
struct iovec;
size_t ws_out_pieces(const struct ws_out *, struct iovec *out, size_t max);
void ws_out_sent(struct ws_out *, size_t n); /* the first n <= len bytes have left */
#endif
