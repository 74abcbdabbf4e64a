#ifndef PROXY_LEARN_H
#define PROXY_LEARN_H
/*
 * --learn: which destinations clients asked for, and what became of it. learn_rules.h makes
 * a rule file of it. Bounded: at most LEARN_MOST entries, each of its own listener, host, port,
 * and route or refusal; what comes beyond is only counted. From any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct audit_record;
struct learn;

enum { LEARN_MOST = 2048, LEARN_LISTENERS = 64, LEARN_BY = 160 };
enum learn_verdict { LEARN_ALLOWED = 0, LEARN_DENIED };

struct learned {
	char *host; /* canonical, as the rules saw it */
	uint16_t port;
	enum learn_verdict verdict;
	unsigned listener; /* index of learn_taken.listener */
	/* The route that the rules decided, whatever way it went. LEARN_DENIED: the rule, or what
	 * else refused it. */
	char by[LEARN_BY];
	uint64_t count;   /* requests */
	uint64_t reached; /* of them: connected */
};

MUST_CHECK int learn_new(struct learn **, struct err *);
void learn_free(struct learn *); /* NULL allowed */
/* An attempt that is over, or has been connected. Each is noted once (record->learned), and only
 * if it came to a decision. NULL: nothing is learned. */
void learn_note(struct learn *, struct audit_record *);
/* Grows with what is learned: to see whether there is something new. */
uint64_t learn_version(struct learn *);

/* A copy of all, to work on without holding anybody up. */
struct learn_taken {
	struct learned *item; /* host is owned */
	size_t count;
	char listener[LEARN_LISTENERS][64];
	size_t listeners;
	uint64_t requests, beyond; /* in all; of them: without an entry, as there was no room */
	uint64_t version;
};
MUST_CHECK int learn_take(struct learn *, struct learn_taken *, struct err *);
void learn_taken_free(struct learn_taken *);
#endif
