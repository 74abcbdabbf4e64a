#include "cmd/localaws/seqmap.h"

#include <string.h>

#include "base/mem.h"

enum { FIRST_SIZE = 64 };

struct seq_entry *seq_entry_new(int64_t seq, const void *p, size_t n)
{
	struct seq_entry *e = mem_alloc(sizeof(*e) + n);

	if (!e)
		return NULL;
	e->seq = seq;
	e->len = n;
	if (n)
		memcpy(e->bytes, p, n);
	return e;
}

static struct seq_entry **slot_of(struct seq_entry **slot, size_t size, int64_t seq)
{
	return &slot[(uint64_t)seq & (size - 1)];
}

static int grow(struct seqmap *m)
{
	size_t size = m->size ? m->size * 2 : FIRST_SIZE;
	struct seq_entry **slot = mem_alloc(size * sizeof(struct seq_entry *));

	if (!slot)
		return -1;
	for (size_t i = 0; i < m->size; i++)
		while (m->slot[i]) {
			struct seq_entry *e = m->slot[i], **to = slot_of(slot, size, e->seq);

			m->slot[i] = e->chain;
			e->chain = *to;
			*to = e;
		}
	mem_free(m->slot);
	m->slot = slot;
	m->size = size;
	return 0;
}

int seqmap_put(struct seqmap *m, struct seq_entry *e)
{
	struct seq_entry **to;

	if (m->count >= m->size && grow(m) != 0)
		return -1;
	to = slot_of(m->slot, m->size, e->seq);
	e->chain = *to;
	*to = e;
	m->count++;
	m->bytes += e->len;
	return 0;
}

struct seq_entry *seqmap_get(const struct seqmap *m, int64_t seq)
{
	struct seq_entry *e = m->size ? *slot_of(m->slot, m->size, seq) : NULL;

	while (e && e->seq != seq)
		e = e->chain;
	return e;
}

struct seq_entry *seqmap_take(struct seqmap *m, int64_t seq)
{
	struct seq_entry **at, *e;

	if (!m->size)
		return NULL;
	for (at = slot_of(m->slot, m->size, seq); *at && (*at)->seq != seq;)
		at = &(*at)->chain;
	e = *at;
	if (!e)
		return NULL;
	*at = e->chain;
	e->chain = NULL;
	m->count--;
	m->bytes -= e->len;
	return e;
}

void seqmap_free(struct seqmap *m)
{
	for (size_t i = 0; i < m->size; i++)
		while (m->slot[i]) {
			struct seq_entry *e = m->slot[i];

			m->slot[i] = e->chain;
			mem_free(e);
		}
	mem_free(m->slot);
	*m = (struct seqmap){ 0 };
}
