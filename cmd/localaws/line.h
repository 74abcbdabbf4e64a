#ifndef LOCALAWS_LINE_H
#define LOCALAWS_LINE_H
/*
 * One direction between a client and its agent, where messages may be lost,
 * repeated, put out of order and delayed. With no fault set, line_send()
 * passes a message on at once; otherwise it keeps copies, bounded.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cmd/localaws/faults.h"
#include "cmd/localaws/seqmap.h"
#include "net/loop.h"

struct world;
typedef void line_fn(void *arg, const uint8_t *p, size_t n);

enum { LINE_KEPT_MAX = 256 * 1024 * 1024, LINE_LATE_MS = 20 };

struct line {
	struct world *w;
	enum fault_id lose, repeat, reorder, delay; /* FAULT_COUNT: never */
	line_fn *out;
	void *arg;
	struct list late; /* struct seq_entry, at_ms: due */
	size_t late_bytes;
	struct loop_timer late_timer;
	struct seq_entry *held; /* overtaken by the next one, or by LINE_LATE_MS */
	struct loop_timer held_timer;
};

/* The faults are those of the direction; see enum fault_id. */
void line_init(struct line *, struct world *, line_fn *out, void *arg);
void line_send(struct line *, const uint8_t *p, size_t n);
void line_free(struct line *);
#endif
