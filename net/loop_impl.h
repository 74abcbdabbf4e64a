#ifndef NET_LOOP_IMPL_H
#define NET_LOOP_IMPL_H
/*
 * The inside of the loop, for net/ alone.
 *
 * A poller is what differs between systems: it waits, tells watches what is
 * ready, and lets libuv run. loop.c does the rest.
 */
#include <stdatomic.h>

#include <uv.h>

#include "net/loop.h"

struct poller;
struct resolver;
struct spawner;

/* In the order in which a turn ends with them: loop_post(), _last(), _more(). */
enum loop_round { LOOP_POSTS, LOOP_LAST, LOOP_MORE, LOOP_ROUNDS };

struct loop {
	uv_loop_t uv;
	struct poller *poller;
	struct loop_timer *timers; /* root of the pairing heap */
	struct list posts[LOOP_ROUNDS];
	uint64_t now_ms, armed;
	int64_t wall_ms;
	bool time_passes;        /* now_ms and wall_ms are of before the wait: read them anew */
	struct clock turn_clock; /* tells now_ms and wall_ms */
	_Atomic(struct loop_mail *) mail; /* the last that came first */
	uv_async_t bell;
	size_t working; /* jobs on the pool */
	bool stop;
	uint8_t group;   /* that was entered */
	int fds;         /* descriptors that clients may use */
	uint8_t *shared; /* LOOP_SHARED bytes */
	void *bulk;      /* of sock_relay_*.c: its pool of empty pipes, or its larger buffer */
	void (*bulk_free)(void *);
	struct spawner *spawner;   /* starts the children; NULL: this process does */
	struct resolver *resolver; /* resolve.c's; NULL until a name is looked up */
};

/* One buffer for everyone's reads: what is in it is gone when the callback of
 * the reader returns to the loop. */
enum { LOOP_SHARED = 64 * 1024 };

MUST_CHECK int poller_new(struct loop *, struct poller **, struct err *);
/* Two steps: the poller's uv handles are closed with the loop's own, then its memory freed. */
void poller_close(struct poller *);
void poller_free(struct poller *);
/* Waits at most wait_ms (-1: for ever), then calls the watches that are ready
 * and runs libuv once. After the wait, and before any callback, the loop's time is renewed, or
 * time_passes is set. */
void poller_turn(struct poller *, int wait_ms);
MUST_CHECK int poller_add(struct poller *, struct loop_watch *, struct err *);
void poller_set(struct poller *, struct loop_watch *); /* w->events has changed */
void poller_del(struct poller *, struct loop_watch *, bool closing);
void poller_move(struct poller *, struct loop_watch *from, struct loop_watch *to);

/* 0: none, or this poller has no groups. */
unsigned poller_group_new(struct poller *);
bool poller_is_contended(const struct poller *);

void loop_renew_time(struct loop *);

/* loop_timer.c: those that are due. */
void timers_run(struct loop *);

/* resolve.c: cancels what is under way; frees, once the pool has finished it. NULL is fine. */
void resolver_close(struct loop *);
void resolver_free(struct loop *);

/* loop_mail.c */
MUST_CHECK int mail_open(struct loop *, struct err *);
size_t mail_run(struct loop *); /* how many */
void mail_close(struct loop *); /* the bell; what is in the box stays */
#endif
