#ifndef LOCALAWS_SEQMAP_H
#define LOCALAWS_SEQMAP_H
/*
 * Kept messages found by sequence number: the agent's list of what is not
 * acknowledged, and its list of what came too early. A chained hash table
 * whose entries are the caller's; it grows with their count. The real agent
 * scans its lists, which is the same to a client but costs more.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct seq_entry {
	struct list node; /* in the caller's order; the map does not touch it */
	struct seq_entry *chain;
	int64_t seq;
	uint64_t at_ms; /* when it was sent last */
	size_t len;
	uint8_t bytes[]; /* a whole message */
};
struct seqmap {
	struct seq_entry **slot;
	size_t size, count;
	size_t bytes; /* sum of len */
};

/* A copy of the message, in no map. NULL: out of memory. */
struct seq_entry *seq_entry_new(int64_t seq, const void *p, size_t n);
/* Puts e in; the number must not be there yet. -1: out of memory, e is still yours. */
MUST_CHECK int seqmap_put(struct seqmap *, struct seq_entry *e);
struct seq_entry *seqmap_get(const struct seqmap *, int64_t seq);
/* Takes it out; NULL when it is not there. It is the caller's to mem_free(). */
struct seq_entry *seqmap_take(struct seqmap *, int64_t seq);
void seqmap_free(struct seqmap *); /* and all entries */
#endif
