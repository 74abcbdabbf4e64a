#ifndef LOCALAWS_GATEWAY_H
#define LOCALAWS_GATEWAY_H
/*
 * A client's leg: one websocket at the message gateway, from its upgrade on.
 * The first text message must hold the session's token; after that, every
 * binary message is the session's. A leg frees itself when its socket is
 * closed; it tells its session, if it still has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct leg;
struct stream;
struct world;

struct leg_opts {
	const char *session_id; /* from the URL */
	const char *ws_key;     /* Sec-WebSocket-Key */
	const uint8_t *early;   /* bytes that came behind the request */
	size_t early_len;
};
/* Takes the stream and answers the upgrade. -1: out of memory; the stream is still yours. */
int leg_start(struct world *, struct stream *, const struct leg_opts *);

/* For the session it belongs to. */
void leg_send(struct leg *, const uint8_t *p, size_t n); /* one binary message */
bool leg_room(const struct leg *);                       /* should more be sent now? */
void leg_read_on(struct leg *);                          /* the session is no longer full */
/* The session does not use it any more: what waits is still sent, then a close. */
void leg_orphan(struct leg *);
/* Cuts every leg at once, without a close frame: for the end of the program. */
void legs_abort(struct world *);
#endif
