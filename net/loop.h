#ifndef NET_LOOP_H
#define NET_LOOP_H
/*
 * The event loop: timers, posts, descriptors, signals, work on the thread
 * pool. Everything hangs off a `struct loop` that is passed in; there is one
 * per worker thread, and no object may be used from another loop's thread.
 *
 * Timers, posts and watches are intrusive: they live zeroed in their owner's
 * struct, so that arming cannot fail and disarming takes effect at once. An
 * owner disarms what it has before it frees itself.
 *
 * Linux: an epoll set is the outer wait and libuv is polled inside it
 * (net/poller_epoll.c); elsewhere each watch is a uv_poll (net/poller_uv.c).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

struct loop;
typedef void loop_fn(void *arg);

MUST_CHECK int loop_new(struct loop **, struct err *);
void loop_free(struct loop *);       /* after its users have closed; NULL allowed */
void loop_run(struct loop *);        /* until loop_stop() */
void loop_stop(struct loop *);       /* from any callback of this loop */
uint64_t loop_now_ms(struct loop *); /* monotonic, cached once per turn */
const struct clock *loop_clock(struct loop *);

struct loop_timer {
	uint64_t at_ms;
	size_t slot; /* place in the heap + 1; 0: not armed */
	loop_fn *fn;
	void *arg;
};
void timer_arm(struct loop *, struct loop_timer *, uint64_t in_ms, loop_fn *,
	       void *arg); /* re-arms */
void timer_disarm(struct loop *, struct loop_timer *);
static inline bool timer_armed(const struct loop_timer *t)
{
	return t->slot != 0;
}

/* fn(arg) once, on a later turn; posting a posted one changes nothing. */
struct loop_post {
	struct list node;
	loop_fn *fn;
	void *arg;
};
void loop_post(struct loop *, struct loop_post *, loop_fn *, void *arg);
void loop_unpost(struct loop_post *);

/* Level-triggered readiness of a descriptor. Hang-up and error are reported
 * as both readable and writable (reading or writing then tells the cause). */
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
typedef void watch_fn(void *arg, unsigned ready);
struct loop_watch {
	int fd;
	unsigned events;
	bool added;
	watch_fn *fn;
	void *arg;
	void *impl; /* the poller's own */
};
/* Watches fd for events (0 is allowed: nothing for now). -1: the system refused. */
MUST_CHECK int watch_add(struct loop *, struct loop_watch *, int fd, unsigned events, watch_fn *,
			 void *arg, struct err *);
void watch_set(struct loop *, struct loop_watch *, unsigned events);
void watch_del(struct loop *,
	       struct loop_watch *); /* before the fd is closed; allowed when not added */

/* fn(arg) on the loop for every arrival of the signal. Freed with signal_close(). */
struct loop_signal;
struct loop_signal *signal_open(struct loop *, int signum, loop_fn *, void *arg, struct err *);
void signal_close(struct loop_signal *);

/* run(arg) on the thread pool, then done(arg, cancelled) on the loop, once.
 * run() must own all that it touches. A job that has begun cannot be stopped:
 * after work_cancel() done() still comes, with cancelled = true. The pool has
 * 32 threads (set before its first use), so that slow look-ups do not queue. */
struct loop_work;
typedef void work_done_fn(void *arg, bool cancelled);
struct loop_work *work_start(struct loop *, loop_fn *run, work_done_fn *done, void *arg,
			     struct err *);
void work_cancel(struct loop_work *);

/* For net/ alone: the libuv loop behind it. */
struct uv_loop_s;
struct uv_loop_s *loop_uv(struct loop *);
#endif
