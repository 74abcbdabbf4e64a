#ifndef SSM_POOL_H
#define SSM_POOL_H
/*
 * The sessions of one instance, by host:port, and the dials that wait for them.
 *
 *     dial -> waiting (of its target) -> a session -> stream -> proof -> done
 *
 * A target is a host:port with its sessions. A dial takes the usable session
 * with the fewest streams; if there is none, because none is there yet, or a
 * reader holds it up, or its websocket is being renewed, or the agent has not taken
 * anything for some seconds, another is opened, as far as `sessions` per target and
 * `sessions_total` allow. One whose websocket does not come back (it is tried for up to an hour,
 * for the streams on it) leaves its place to another, so that a target can have twice as many for
 * a while. When the total is used up the session that has been idle longest makes
 * room, otherwise the dial waits, until its limit.
 *
 * Proof: the agent says nothing when it has connected. A target that has
 * carried data before is taken at its word at once; another waits, from the
 * moment the agent has our SYN, for max(2 round trips, 100 ms), ended at once
 * by data or by a refusal.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/ssm/session.h"
#include "base/err.h"

struct cJSON;
struct pool;
struct pool_dial;
struct stream;

struct pool_opts {
	const struct session_env *env; /* outlives the pool */
	unsigned sessions, sessions_total;
	unsigned session_idle_ms;
};

struct pool_handler {
	void (*session_up)(void *arg);
	/* A session failed before it was active (StartSession, connection, handshake); the dials
	 * that waited for it hear of it later. aws_code: see session_aws_code(). */
	void (*session_failed)(void *arg, const struct err *why, const char *aws_code);
	void (*changed)(void *arg); /* pool_lost() may have changed */
};

/* stream == NULL: *why tells. Once, from the loop. The stream is yours, without handler;
 * attach one before this returns. */
typedef void pool_done_fn(void *arg, struct stream *, const char *session_id,
			  const struct err *why);

struct pool *pool_new(const struct pool_opts *, const struct pool_handler *, void *arg,
		      struct err *);
void pool_discard(struct pool *); /* nothing was asked of it, and no loop has run since */
/* NULL: *e tells and done() never comes. */
struct pool_dial *pool_dial(struct pool *, const char *host, uint16_t port, unsigned limit_ms,
			    pool_done_fn *done, void *arg, struct err *e);
void pool_cancel(struct pool_dial *); /* then done() never comes */
/* A session for that target, before anyone dials: session_up() or _failed() follows. */
MUST_CHECK int pool_open(struct pool *, const char *host, uint16_t port, struct err *);
/* "HOST:PORT": keep a session for it. Before the first pool_warm_up(). */
MUST_CHECK int pool_warm(struct pool *, const char *host_port, struct err *);
/* Does anybody use it, or wait for it? */
bool pool_in_use(const struct pool *);
/* Ends every session; the next dial, or pool_warm_up(), opens others. */
void pool_rest(struct pool *);
void pool_warm_up(struct pool *); /* now, and from now on. Idempotent. */
/* Every session that is alive has lost its websocket, and there is at least one. */
bool pool_lost(const struct pool *);
/* Would a dial to a new target have to wait, because other hosts use all sessions? */
bool pool_is_full(const struct pool *, const char *host, uint16_t port);
bool pool_alive(const struct pool *);                            /* some session is active */
void pool_describe(const struct pool *, struct cJSON *sessions); /* an array */
/* Fails what waits, ends all sessions (AWS is told, at most for 3 s), then frees
 * the pool and calls closed(). */
void pool_close(struct pool *, void (*closed)(void *arg), void *arg);
#endif
