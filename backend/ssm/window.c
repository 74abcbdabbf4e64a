#include "backend/ssm/window.h"

#include <string.h>

#include "base/mem.h"

enum { AHEAD_FIRST = 256 };

bool unacked_room(const struct unacked *u)
{
	return u->next - u->oldest < UNACKED_MAX;
}

static struct sent **sent_slot(struct unacked *u, int64_t seq)
{
	return &u->ring[(uint64_t)seq % UNACKED_MAX];
}

struct sent *unacked_add(struct unacked *u, const uint8_t *wire, size_t wire_len,
			 size_t payload_len, struct err *e)
{
	struct sent *s = mem_alloc(sizeof(*s) + wire_len);

	if (!s) {
		(void)err_set(e, ERR_NOMEM, "message of %zu bytes", payload_len);
		return NULL;
	}
	s->len = payload_len;
	s->wire_len = wire_len;
	memcpy(s->wire, wire, wire_len);
	*sent_slot(u, u->next++) = s;
	u->bytes += payload_len;
	return s;
}

struct sent *unacked_at(const struct unacked *u, int64_t seq)
{
	if (seq < u->oldest || seq >= u->next)
		return NULL;
	return u->ring[(uint64_t)seq % UNACKED_MAX];
}

bool unacked_done(struct unacked *u, int64_t seq)
{
	struct sent *s = unacked_at(u, seq);
	int64_t before = u->oldest;

	if (!s)
		return false;
	u->bytes -= s->len;
	mem_free(s);
	*sent_slot(u, seq) = NULL;
	while (u->oldest < u->next && !*sent_slot(u, u->oldest))
		u->oldest++;
	return u->oldest != before;
}

void unacked_free(struct unacked *u)
{
	for (int64_t seq = u->oldest; seq < u->next; seq++) {
		mem_free(*sent_slot(u, seq));
		*sent_slot(u, seq) = NULL;
	}
	u->oldest = u->next;
	u->bytes = 0;
}

void ahead_init(struct ahead *a, size_t bytes_max)
{
	*a = (struct ahead){ .bytes_max = bytes_max };
}

/* A bigger ring; every entry keeps its number, so that its place is known again. */
static bool ahead_grow(struct ahead *a, int64_t expected, size_t need)
{
	size_t size = a->size ? a->size : AHEAD_FIRST;
	struct held **ring;

	while (size <= need)
		size *= 2;
	ring = mem_alloc(size * sizeof(*ring));
	if (!ring)
		return false;
	for (size_t i = 0; i < a->size; i++) {
		uint64_t seq = (uint64_t)expected + i;

		ring[seq % size] = a->ring[seq % a->size];
	}
	mem_free(a->ring);
	a->ring = ring;
	a->size = size;
	return true;
}

enum ahead_result ahead_put(struct ahead *a, int64_t expected, int64_t seq, uint32_t payload_type,
			    const uint8_t *p, size_t n)
{
	uint64_t distance = (uint64_t)(seq - expected);
	struct held *h, **slot;

	if (distance >= AHEAD_MAX || n > a->bytes_max || a->bytes > a->bytes_max - n)
		return AHEAD_FULL;
	if (distance >= a->size && !ahead_grow(a, expected, (size_t)distance))
		return AHEAD_FULL;
	slot = &a->ring[(uint64_t)seq % a->size];
	if (*slot)
		return AHEAD_KNOWN;
	h = mem_alloc(sizeof(*h) + n);
	if (!h)
		return AHEAD_FULL;
	h->payload_type = payload_type;
	h->len = n;
	if (n)
		memcpy(h->payload, p, n);
	*slot = h;
	a->count++;
	a->bytes += n;
	return AHEAD_KEPT;
}

struct held *ahead_take(struct ahead *a, int64_t seq)
{
	struct held **slot, *h;

	if (a->count == 0)
		return NULL;
	slot = &a->ring[(uint64_t)seq % a->size];
	h = *slot;
	if (!h)
		return NULL;
	*slot = NULL;
	a->count--;
	a->bytes -= h->len;
	return h;
}

void ahead_free(struct ahead *a)
{
	for (size_t i = 0; i < a->size; i++)
		mem_free(a->ring[i]);
	mem_free(a->ring);
	ahead_init(a, a->bytes_max);
}
