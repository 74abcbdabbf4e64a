#ifndef CMD_AGENT_DIAL_H
#define CMD_AGENT_DIAL_H
/*
 * Dials on behalf of the host: each address is asked of the guard, those that pass are tried in
 * their order, the next one 250 ms after the last or as soon as that has failed (RFC 8305, 5). The
 * first to answer wins. When none does, the cause that says most is told.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "cmd/bridge/ev.h"
#include "vm/frame.h"

struct dials {
	struct ev *ev;
	struct list all;
	const struct frame_network *network; /* for the guard */
	bool allow_loopback;
	unsigned limit_ms;
	uint32_t ever, failed;
	void (*connected)(void *arg, uint32_t id, int fd, const struct addr *);
	void (*unreached)(void *arg, uint32_t id, const struct frame_failed *);
	void *arg;
};
/* One of the two follows, maybe at once. */
void dial_start(struct dials *, uint32_t id, const struct frame_addresses *);
void dial_cancel(struct dials *, uint32_t id); /* of none: nothing */
void dials_cancel_all(struct dials *);
#endif
