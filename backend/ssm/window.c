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

struct sent *unacked_new(struct unacked *u, size_t room, struct err *e)
{
	struct sent *s;

	while ((s = u->spare) != NULL) {
		u->spare = s->next_spare;
		u->spare_bytes -= s->room;
		if (s->room >= room)
			break;
		mem_free(s);
	}
	if (!s) {
		s = mem_alloc(sizeof(*s) + room);
		if (!s) {
			(void)err_set(e, ERR_NOMEM, "message of %zu bytes", room);
			return NULL;
		}
		s->room = room;
	}
	s->first_ms = s->last_ms = 0;
	s->tries = 0;
	return s;
}

void unacked_give_back(struct unacked *u, struct sent *s)
{
	if (!s || u->spare_bytes + s->room > SPARE_MAX) {
		mem_free(s);
		return;
	}
	s->next_spare = u->spare;
	u->spare = s;
	u->spare_bytes += s->room;
}

void unacked_add(struct unacked *u, struct sent *s, size_t wire_len, size_t payload_len)
{
	s->len = payload_len;
	s->wire_len = wire_len;
	*sent_slot(u, u->next++) = s;
	u->bytes += payload_len;
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
	unacked_give_back(u, s);
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
	while (u->spare) {
		struct sent *s = u->spare;

		u->spare = s->next_spare;
		mem_free(s);
	}
	u->spare_bytes = 0;
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
