/*
 * The queue is a list of blocks. A frame may span several; its bytes are
 * masked as they are copied in, once. A block is handed to the writer whole
 * and freed, so bytes are never moved behind each other's back.
 */
#include "net/ws_frame.h"

#include <string.h>

#include "base/mem.h"
#include "base/random.h"

struct block {
	struct list node;
	size_t used;
	uint8_t mem[]; /* pre bytes, then WS_BLOCK */
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

/* Empty blocks for n more bytes behind the last one, all or none. */
static int add_room(struct ws_out *o, size_t n, struct list *fresh, struct err *e)
{
	size_t room = list_empty(&o->blocks) ? 0 : WS_BLOCK - last(o)->used;
	struct block *b;

	list_init(fresh);
	while (room < n) {
		b = mem_alloc(sizeof(*b) + o->pre + WS_BLOCK);
		if (!b) {
			while (!list_empty(fresh))
				mem_free(CONTAINER_OF(list_pop(fresh), struct block, node));
			return err_set(e, ERR_NOMEM, "websocket queue");
		}
		list_add_tail(fresh, &b->node);
		room += WS_BLOCK;
	}
	return 0;
}

/* Copies into the last block and on into fresh ones; masks when key is given. */
static void put(struct ws_out *o, struct list *fresh, const uint8_t *p, size_t n,
		const uint8_t *key)
{
	size_t at = 0, part;
	struct block *b;

	while (at < n) {
		if (list_empty(&o->blocks) || last(o)->used == WS_BLOCK)
			list_add_tail(&o->blocks, list_pop(fresh));
		b = last(o);
		part = n - at < WS_BLOCK - b->used ? n - at : WS_BLOCK - b->used;
		if (key)
			ws_mask(b->mem + o->pre + b->used, p + at, part, key, at);
		else
			memcpy(b->mem + o->pre + b->used, p + at, part);
		b->used += part;
		at += part;
	}
	o->len += n;
	o->total += n;
}

int ws_out_add(struct ws_out *o, struct ws_keys *keys, enum ws_opcode op, const void *p, size_t n,
	       struct err *e)
{
	uint8_t head[WS_HEAD_MAX], key[4];
	struct list fresh;
	size_t head_len;

	ws_key(keys, key);
	head_len = ws_frame_head(head, op, key, n);
	if (add_room(o, head_len + n, &fresh, e) != 0)
		return -1;
	put(o, &fresh, head, head_len, NULL);
	put(o, &fresh, p, n, key);
	return 0;
}
