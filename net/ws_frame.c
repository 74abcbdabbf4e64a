/*
 * The queue is a list of blocks, filled one after another without regard to
 * where frames begin: the bytes that wait are one run. Bytes are masked as they
 * are copied in, once.
 */
#include "net/ws_frame.h"

#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/random.h"

struct block {
	struct list node;
	size_t start, end; /* what waits in it */
	uint8_t mem[WS_BLOCK];
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

void ws_blocks_init(struct ws_blocks *b)
{
	*b = (struct ws_blocks){ 0 };
	list_init(&b->spare);
}

void ws_blocks_free(struct ws_blocks *b)
{
	while (!list_empty(&b->spare))
		mem_free(CONTAINER_OF(list_pop(&b->spare), struct block, node));
	b->count = 0;
}

static struct block *take(struct ws_blocks *b)
{
	struct block *block;

	if (list_empty(&b->spare))
		return mem_alloc(sizeof(*block));
	b->count--;
	block = CONTAINER_OF(list_pop(&b->spare), struct block, node);
	block->start = block->end = 0;
	return block;
}

static void give_back(struct ws_blocks *b, struct block *block)
{
	mem_wipe(block->mem, block->end); /* there was a token in it, or somebody's data */
	if (b->count == WS_SPARE_MAX) {
		mem_free(block);
		return;
	}
	b->count++;
	list_add_tail(&b->spare, &block->node);
}

void ws_out_init(struct ws_out *o, struct ws_blocks *from)
{
	*o = (struct ws_out){ .from = from };
	list_init(&o->blocks);
}

static struct block *first(const struct ws_out *o)
{
	return CONTAINER_OF(o->blocks.next, struct block, node);
}

static struct block *last(const struct ws_out *o)
{
	return CONTAINER_OF(o->blocks.prev, struct block, node);
}

void ws_out_sent(struct ws_out *o, size_t n)
{
	o->len -= n;
	while (n) {
		struct block *b = first(o);
		size_t part = b->end - b->start < n ? b->end - b->start : n;

		b->start += part;
		n -= part;
		if (b->start == b->end) {
			list_del(&b->node);
			give_back(o->from, b);
		}
	}
}

void ws_out_free(struct ws_out *o)
{
	ws_out_sent(o, o->len);
}

size_t ws_out_pieces(const struct ws_out *o, struct iovec *out, size_t max)
{
	size_t n = 0;

	for (struct list *it = o->blocks.next; it != &o->blocks && n < max; it = it->next, n++) {
		struct block *b = CONTAINER_OF(it, struct block, node);

		out[n] = (struct iovec){ b->mem + b->start, b->end - b->start };
	}
	return n;
}

/* Room for n bytes, all of it or none: empty blocks at the end, the first of which `*at` is. */
static int make_room(struct ws_out *o, size_t n, struct block **at, struct err *e)
{
	size_t room = list_empty(&o->blocks) ? 0 : WS_BLOCK - last(o)->end;
	struct list fresh;

	*at = room ? last(o) : NULL;
	if (room >= n)
		return 0;
	list_init(&fresh);
	while (room < n) {
		struct block *b = take(o->from);

		if (!b) {
			while (!list_empty(&fresh))
				give_back(o->from,
					  CONTAINER_OF(list_pop(&fresh), struct block, node));
			return err_set(e, ERR_NOMEM, "websocket queue");
		}
		list_add_tail(&fresh, &b->node);
		room += WS_BLOCK;
	}
	if (!*at)
		*at = CONTAINER_OF(fresh.next, struct block, node);
	while (!list_empty(&fresh))
		list_add_tail(&o->blocks, list_pop(&fresh));
	return 0;
}

/* Copies into the room that was made; key: masked with it, as payload from its first byte. */
static void put(struct ws_out *o, struct block **at, const uint8_t *p, size_t n, const uint8_t *key)
{
	size_t done = 0;

	o->len += n;
	o->total += n;
	while (done < n) {
		struct block *b = *at;
		size_t part = WS_BLOCK - b->end < n - done ? WS_BLOCK - b->end : n - done;

		if (key)
			ws_mask(b->mem + b->end, p + done, part, key, done);
		else
			memcpy(b->mem + b->end, p + done, part);
		b->end += part;
		done += part;
		if (b->end == WS_BLOCK)
			*at = CONTAINER_OF(b->node.next, struct block, node);
	}
}

int ws_out_add(struct ws_out *o, struct ws_keys *keys, enum ws_opcode op, const void *p, size_t n,
	       struct err *e)
{
	uint8_t head[WS_HEAD_MAX], key[4];
	struct block *at;
	size_t head_len;

	ws_key(keys, key);
	head_len = ws_frame_head(head, op, key, n);
	if (make_room(o, head_len + n, &at, e) != 0)
		return -1;
	put(o, &at, head, head_len, NULL);
	put(o, &at, p, n, key);
	return 0;
}

int ws_out_add_raw(struct ws_out *o, const void *p, size_t n, struct err *e)
{
	struct block *at;

	if (make_room(o, n, &at, e) != 0)
		return -1;
	put(o, &at, p, n, NULL);
	return 0;
}
