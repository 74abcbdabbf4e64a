#ifndef SSM_WINDOW_H
#define SSM_WINDOW_H
/*
 * The two memories of a channel: what we sent and nobody has acknowledged yet,
 * and what came ahead of its turn. Both are rings indexed by sequence number,
 * with a ceiling in messages and in bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	UNACKED_MAX = 4096,    /* messages */
	AHEAD_MAX = 65536,     /* messages; the agent may run 100 000 past a gap */
	SPARE_MAX = 256 * 1024 /* bytes of memory kept for the next messages */
};

struct sent { /* one message that may have to be sent again */
	struct sent *next_spare;
	uint64_t first_ms, last_ms; /* last_ms 0: (again) due at once */
	unsigned tries;             /* times handed to the websocket */
	size_t len;                 /* of its payload */
	size_t wire_len, room;
	uint8_t wire[]; /* room bytes */
};

struct unacked {
	struct sent *ring[UNACKED_MAX];
	struct sent *spare; /* messages that are done with, so that the next need no allocation */
	size_t spare_bytes;
	int64_t oldest, next; /* numbers [oldest, next) may be waiting */
	size_t bytes;         /* payload */
};

/* Room for one more message? Its number will be u->next. */
bool unacked_room(const struct unacked *);
/* A message to be filled in: room for that many bytes, which hold anything. To be added, or given
 * back. NULL: out of memory. */
struct sent *unacked_new(struct unacked *, size_t room, struct err *);
void unacked_give_back(struct unacked *, struct sent *); /* NULL allowed */
/* It has number u->next now; wire_len bytes of it are filled in. */
void unacked_add(struct unacked *, struct sent *, size_t wire_len, size_t payload_len);
struct sent *unacked_at(const struct unacked *, int64_t seq); /* NULL: acknowledged, or never was */
/* Forgets it; true if `oldest` moved. */
bool unacked_done(struct unacked *, int64_t seq);
void unacked_free(struct unacked *); /* spare ones too */

struct held { /* one message ahead of its turn */
	uint32_t payload_type;
	size_t len;
	uint8_t payload[];
};

struct ahead {
	struct held **ring; /* size entries, a power of two; grows */
	size_t size, count, bytes, bytes_max;
};

enum ahead_result { AHEAD_KEPT = 0, AHEAD_KNOWN, AHEAD_FULL };

void ahead_init(struct ahead *, size_t bytes_max);
/* expected <= seq. FULL also when memory is short: the sender will repeat it. */
enum ahead_result ahead_put(struct ahead *, int64_t expected, int64_t seq, uint32_t payload_type,
			    const uint8_t *p, size_t n);
struct held *ahead_take(struct ahead *, int64_t seq); /* yours: mem_free(); NULL: not there */
void ahead_free(struct ahead *);
#endif
