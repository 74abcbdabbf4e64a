#ifndef CMD_AGENT_RELAY_H
#define CMD_AGENT_RELAY_H
/*
 * One stream of the link, one TCP socket. The socket is read while the link takes what it gives; of
 * the stream no more is taken than one frame beyond what the socket takes, so that a peer that does
 * not read costs its own window and nobody else's. Ends are passed on one by one, breaks as a
 * reset.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cmd/bridge/ev.h"
#include "vm/link.h"

struct stream;
struct wire;

enum {
	RELAY_BLOCK = 32 * 1024,
	RELAY_DRAINS = 128 /* whose stream has gone, and whose socket does not take the rest yet */
};

struct relays { /* of an agent */
	struct ev *ev;
	struct list all, draining; /* draining: oldest first; over RELAY_DRAINS that one is reset */
	size_t drains;
	uint64_t up, down; /* bytes to and from the outside */
	struct wire *wire; /* what the streams are of; NULL: none that is known */
	uint8_t block[FRAME_HEAD + LINK_PIECE];
	uint8_t *spare; /* of RELAY_BLOCK; NULL: none */
};
void relays_init(struct relays *, struct ev *); /* without a wire: the owner sets it */
void relays_end(struct relays *); /* all are reset; their streams close with the next link_run() */
/* Both are the relay's now. When there is no memory both are reset. */
void relay_start(struct relays *, int fd, struct stream *);
/* So that who waits for it knows that it was no clean end. */
void relay_close_reset(int fd);
#endif
