#ifndef SSM_SSH_POOL_IMPL_H
#define SSM_SSH_POOL_IMPL_H
/* Shared by the files of the pool of masters (ssh_pool*.c). */
#include "backend/ssm/ssh_pool.h"
#include "base/list.h"
#include "net/loop.h"

struct member {
	struct list node;
	struct list dials; /* struct ssh_pool_dial.node */
	struct ssh_pool *pool;
	struct ssh_master *master;
	struct loop_timer idle;
	uint64_t up, down; /* at the last sample */
	bool busy;         /* it carried much since the one before */
	bool busy_down;    /* towards us: which the agent limits for each session */
	bool was_ready, leaving;
};

struct ssh_pool_dial {
	struct list node; /* waiting, a member's dials, or finished */
	struct ssh_pool *pool;
	struct member *member;
	struct ssh_dial *dial;
	struct loop_timer limit;
	ssh_pool_done_fn *done;
	void *arg;
	struct err why;
	uint16_t port;
	bool retried;
	char host[256];
};

struct ssh_pool {
	struct ssh_pool_opts o;
	struct loop *loop;
	const struct ssh_pool_handler *handler;
	void *arg;
	struct list members, waiting, finished;
	struct loop_post assign, deliver;
	struct loop_timer sample, reopen, close_limit;
	unsigned count; /* members that are not leaving */
	unsigned reopen_ms;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ssh_pool.c */
void ssh_pool_assign(void *pool);             /* what waits goes to masters, now */
void ssh_pool_want_assign(struct ssh_pool *); /* the same, on a later turn */
void ssh_pool_maybe_closed(struct ssh_pool *);

/* ssh_pool_member.c */
MUST_CHECK int ssh_pool_add_member(struct ssh_pool *, bool share, struct err *);
struct member *ssh_pool_best_member(const struct ssh_pool *); /* NULL: none is ready */
bool ssh_pool_one_is_coming(const struct ssh_pool *);
/* The best is busy: those who come later should find another. */
void ssh_pool_open_another(struct ssh_pool *, const struct member *best);
void ssh_pool_watch_rate(struct member *); /* it has a stream now */

/* ssh_pool_dial.c */
void ssh_pool_start_dial(struct ssh_pool_dial *, struct member *);
void ssh_pool_fail_dial(struct ssh_pool_dial *, const struct err *why);
void ssh_pool_deliver_later(struct ssh_pool *);
#endif
