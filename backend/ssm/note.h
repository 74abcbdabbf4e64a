#ifndef SSM_NOTE_H
#define SSM_NOTE_H
/*
 * A note of an instance that we have started and mean to stop: a small file named by its id, locked
 * by who wrote it for as long as that process lives. One that nobody has locked was left behind by
 * an awsocks that was killed, and the next may take it over.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { NOTE_PATH = 1200 };

struct note { /* zeroed: none */
	bool held;
	int fd;
	char path[NOTE_PATH];
};

enum note_state {
	NOTE_NONE = 0,
	NOTE_HELD, /* its awsocks runs */
	NOTE_LEFT, /* it does not */
};

/* Writes it in dir (made when it is not there): started at wall_ms. */
MUST_CHECK int note_make(struct note *, const char *dir, const char *id, int64_t wall_ms,
			 struct err *);
/* Takes over one that was left; *started_ms: when (0: it does not say). false: there is none. */
bool note_take(struct note *, const char *dir, const char *id, int64_t *started_ms);
enum note_state note_look(const char *dir, const char *id);
void note_remove(struct note *); /* it is done; nothing when there is none */
void note_leave(struct note *);  /* for the next one */
#endif
