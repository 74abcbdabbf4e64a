/*
 * The queue is a list of blocks of whole frames. A block is handed to the
 * writer as it is and freed; a frame is never cut in two, because lws puts pongs of
 * its own between two pieces, where they would land inside it. A frame that
 * is longer than a block gets one of its own size. Bytes are masked as they are
 * copied in, once.
 */
#include "net/ws_frame.h"

#include <string.h>

#include "base/mem.h"
#include "base/random.h"

struct block {
	struct list node;
	size_t used, size;
	uint8_t mem[]; /* pre bytes, then size */
};

size_t ws_frame_head(uint8_t out[static WS_HEAD_MAX], enum ws_opcode op,
		     const uint8_t key[static 4], size_t n)
{
	size_t at = 2, bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;

	out[0] = (uint8_t)(0x80 | op);
	out[1] = (uint8_t)(0x80 | (bytes == 0 ? n : bytes == 2 ? 126 : 127));
	while (bytes--)
		out[at++] = (uint8_t)((uint64_t)n >> (8 * bytes));
	memcpy(out + at, key, 4);
	return at + 4;
}

void ws_mask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t key[static 4], size_t at)
{
	uint8_t turned[8];
	uint64_t mask, word;
	size_t i;

	for (i = 0; i < 8; i++)
		turned[i] = key[(at + i) % 4];
	memcpy(&mask, turned, 8);
	for (i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, from + i, 8);
		word ^= mask;
		memcpy(to + i, &word, 8);
	}
	for (; i < n; i++)
		to[i] = from[i] ^ turned[i % 8];
}

void ws_key(struct ws_keys *k, uint8_t out[static 4])
{
	if (k->left < 4) {
		random_bytes(k->pool, sizeof(k->pool));
		k->left = sizeof(k->pool);
	}
	k->left -= 4;
	memcpy(out, k->pool + k->left, 4);
}

void ws_out_init(struct ws_out *o, size_t pre)
{
	*o = (struct ws_out){ .pre = pre };
	list_init(&o->blocks);
}

static struct block *first(struct ws_out *o)
{
	return CONTAINER_OF(o->blocks.next, struct block, node);
}

static struct block *last(struct ws_out *o)
{
	return CONTAINER_OF(o->blocks.prev, struct block, node);
}

static void block_free(struct ws_out *o, struct block *b)
{
	list_del(&b->node);
	o->len -= b->used;
	mem_wipe(b->mem + o->pre, b->used);
	mem_free(b);
}

void ws_out_drop_piece(struct ws_out *o)
{
	block_free(o, first(o));
}

void ws_out_free(struct ws_out *o)
{
	while (!list_empty(&o->blocks))
		ws_out_drop_piece(o);
}

uint8_t *ws_out_piece(struct ws_out *o, size_t *n)
{
	if (list_empty(&o->blocks))
		return NULL;
	*n = first(o)->used;
	return first(o)->mem + o->pre;
}

/* A block with room for a frame of n bytes: the last one, or a new one. */
static struct block *room_for(struct ws_out *o, size_t n, struct err *e)
{
	size_t size = n > WS_BLOCK ? n : WS_BLOCK;
	struct block *b;

	if (!list_empty(&o->blocks) && last(o)->size - last(o)->used >= n)
		return last(o);
	b = mem_alloc(sizeof(*b) + o->pre + size);
	if (!b) {
		(void)err_set(e, ERR_NOMEM, "websocket queue");
		return NULL;
	}
	b->size = size;
	list_add_tail(&o->blocks, &b->node);
	return b;
}

int ws_out_add(struct ws_out *o, struct ws_keys *keys, enum ws_opcode op, const void *p, size_t n,
	       struct err *e)
{
	uint8_t head[WS_HEAD_MAX], key[4], *to;
	struct block *b;
	size_t head_len;

	ws_key(keys, key);
	head_len = ws_frame_head(head, op, key, n);
	b = room_for(o, head_len + n, e);
	if (!b)
		return -1;
	to = b->mem + o->pre + b->used;
	memcpy(to, head, head_len);
	ws_mask(to + head_len, p, n, key, 0);
	b->used += head_len + n;
	o->len += head_len + n;
	o->total += head_len + n;
	return 0;
}
