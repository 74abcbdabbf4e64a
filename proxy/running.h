#ifndef PROXY_RUNNING_H
#define PROXY_RUNNING_H
/*
 * A client whose relay runs: no more than the relay and the audit record that
 * is written when it ends.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct audit_record;
struct member;
struct proxy;
struct running;
struct stream;

struct running *running_new(struct proxy *, struct err *);
void running_free(struct running *); /* of one that was not started */
/* Takes the streams and the record's contents, and sends `early` to the remote
 * first. -1: all of them are still yours. */
MUST_CHECK int running_start(struct running *, struct stream *client, struct stream *remote,
			     const uint8_t *early, size_t n, struct audit_record *, struct err *);
/* Goes on in the place of a member that ends. */
void running_take_place(struct running *, struct member *);

/* Breaks a stream whose end nobody needs to hear of. */
void proxy_abandon(struct stream *);
#endif
