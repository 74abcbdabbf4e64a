#ifndef CMD_AGENT_RESOLVER_H
#define CMD_AGENT_RESOLVER_H
/*
 * getaddrinfo() for a loop: a few threads and a queue with a ceiling. A look-up that is not
 * answered within its limit fails; its thread, which nobody can call back, is then one more than
 * those that are counted, until it returns. No more are made than 32 in all.
 */
#include <stdint.h>

#include "base/err.h"
#include "cmd/bridge/ev.h"
#include "vm/frame.h"

struct resolver;

struct resolved {
	struct frame_addresses to; /* count 0: failed */
	struct frame_failed why;
};
/* resolved() comes from the loop. */
MUST_CHECK int resolver_new(struct resolver **, struct ev *, unsigned limit_ms,
			    void (*resolved)(void *arg, uint32_t id, const struct resolved *),
			    void *arg, struct err *);
/* ERR_LIMIT: too many at once; ERR_NOMEM. */
MUST_CHECK int resolver_ask(struct resolver *, uint32_t id, const char *name, struct err *);
void resolver_forget(struct resolver *, uint32_t id); /* its answer does not come */
/* Its threads end when they return; NULL is allowed. */
void resolver_free(struct resolver *);
#endif
