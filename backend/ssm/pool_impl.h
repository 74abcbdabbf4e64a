#ifndef SSM_POOL_IMPL_H
#define SSM_POOL_IMPL_H
/* Shared by the files of the pool (pool*.c). */
#include "backend/ssm/pool.h"
#include "base/list.h"
#include "net/loop.h"

struct target {
	struct pool *pool;
	struct list node;
	struct list members;      /* struct member.node */
	struct list waiting;      /* struct pool_dial.node */
	struct loop_timer reopen; /* armed: no session is asked for, the last try failed */
	unsigned reopen_ms;
	struct err why;
	bool proven; /* it has carried data */
	bool warm;   /* pool_warm() */
	uint16_t port;
	char host[256];
};

struct member { /* a session in its target */
	struct list node, all;
	struct list dials; /* waiting for proof */
	struct target *target;
	struct session *session;
	struct loop_timer idle;
	uint64_t used_ms;
	uint64_t moved; /* session_moved() at the last look */
	unsigned busy;  /* looks in a row that found it so */
	bool leaving;   /* counted no more */
};

struct pool_dial {
	struct list node; /* target's waiting, member's dials, or pool's finished */
	struct pool *pool;
	struct target *target; /* NULL when finished */
	struct member *member; /* NULL when waiting or finished */
	struct stream *stream;
	struct loop_timer limit, proof;
	pool_done_fn *done;
	void *arg;
	bool acked, retried;
	struct err why;
	char session_id[API_ID_MAX];
};

struct pool {
	struct pool_opts o;
	struct loop *loop;
	const struct pool_handler *handler;
	void *arg;
	struct list targets, members, finished;
	struct loop_post assign, deliver;
	struct loop_timer close_limit, look;
	uint64_t looked_ms;
	unsigned count; /* members that are not leaving */
	bool closing, warming;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* pool.c */
void pool_assign(void *pool);         /* look at every target, now */
void pool_want_assign(struct pool *); /* the same, on a later turn */
void pool_maybe_closed(struct pool *);

/* pool_target.c */
struct target *pool_target_of(struct pool *, const char *host, uint16_t port, struct err *e);
void pool_drop_if_unused(struct target *);
/* No session is asked for of itself for a while. */
void pool_pause_opening(struct target *, const struct err *why);
bool pool_has_other(const struct target *);     /* a session that stays, whatever its state */
bool pool_one_is_coming(const struct target *); /* that is not active yet, and not away */
/* How many more it may have. Those that are away (session_away()) leave their places to others, but
 * not more of them than `sessions` counts. */
unsigned pool_places(const struct target *);

/* pool_member.c */
/* A new session for it, which counts at once. NULL: *e tells. */
struct member *pool_add_member(struct target *, struct err *e);
bool pool_is_idle(const struct member *);
void pool_leave(struct member *); /* it counts no more, and gets no streams */
void pool_start_stream(struct pool_dial *, struct member *);

/* pool_dial.c */
/* It is over, and told of on a later turn. why NULL: it has its stream. */
void pool_finish(struct pool_dial *, const struct err *why);
void pool_deliver_later(struct pool *);

/* pool_warm.c */
bool pool_keeps_warm(const struct member *); /* the last one of a warm target */
void pool_keep_warm(struct target *);        /* opens one, if it should have one and has none */

/* pool_rate.c */
/* Where the target's next stream should go; NULL: nowhere now. slow_too: even to one that is
 * behind. */
struct member *pool_best_member(const struct target *, bool slow_too);
void pool_look_later(struct pool *); /* a stream runs: its session's rate is of interest */
#endif
