#ifndef SSM_SSH_POOL_H
#define SSM_SSH_POOL_H
/*
 * The masters of one instance, and the dials that wait for them.
 *
 *     dial -> waiting -> the ready master with the fewest streams -> channel -> done
 *
 * One master serves every host. Another is opened, as far as `masters` allows, when a dial comes
 * while each that is ready has streams and carries near what one session can (the agent
 * sends at most 1 KiB a ms): on a session of its own if it is that direction which is busy,
 * otherwise on one that is there, where the document allows several connections. So does one that
 * follows a master which has died. One whose session is away (session_away()) gets no dials and
 * leaves its place to another, so that there can be twice as many for a while. Those without
 * streams for `idle_ms` end.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/ssm/ssh_master.h"
#include "base/err.h"

struct cJSON;
struct ssh_pool;
struct ssh_pool_dial;
struct stream;

struct ssh_pool_opts {
	struct ssh_env *env; /* outlives the pool */
	unsigned masters;
	unsigned idle_ms;
	unsigned busy_rate; /* bytes a second, each way; 0: 400,000 */
};

/* As struct pool_handler. */
struct ssh_pool_handler {
	void (*up)(void *arg);
	void (*failed)(void *arg, const struct err *why, const char *aws_code);
	void (*changed)(void *arg);
};

/* stream == NULL: *why tells. Once, from the loop. The stream is yours, without handler; attach one
 * before this returns. */
typedef void ssh_pool_done_fn(void *arg, struct stream *, const char *session_id,
			      const struct err *why);

struct ssh_pool *ssh_pool_new(const struct ssh_pool_opts *, const struct ssh_pool_handler *,
			      void *arg, struct err *);
void ssh_pool_discard(struct ssh_pool *); /* one that was never used; NULL allowed */
/* NULL: *e tells and done() never comes. */
struct ssh_pool_dial *ssh_pool_dial(struct ssh_pool *, const char *host, uint16_t port,
				    unsigned limit_ms, ssh_pool_done_fn *, void *arg,
				    struct err *e);
void ssh_pool_cancel(struct ssh_pool_dial *); /* then done() never comes */
/* A master before anyone dials: up() or failed() follows. */
MUST_CHECK int ssh_pool_open(struct ssh_pool *, struct err *);
bool ssh_pool_alive(const struct ssh_pool *); /* one is ready */
/* None is there and the last try has failed: it is not the time for another. */
bool ssh_pool_pauses(const struct ssh_pool *);
bool ssh_pool_lost(const struct ssh_pool *);   /* all that are ready have lost their websocket */
bool ssh_pool_in_use(const struct ssh_pool *); /* as of a pool */
void ssh_pool_rest(struct ssh_pool *);         /* the same */
void ssh_pool_describe(const struct ssh_pool *, struct cJSON *sessions); /* an array */
/* Fails what waits, ends all (AWS is told, at most for 3 s), frees the pool, calls closed(). */
void ssh_pool_close(struct ssh_pool *, void (*closed)(void *arg), void *arg);
#endif
