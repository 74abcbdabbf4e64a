#ifndef NET_LOOP_H
#define NET_LOOP_H
/*
 * The event loop: timers, posts, descriptors, signals, work on the thread
 * pool. Everything hangs off a `struct loop` that is passed in; there is one
 * per worker thread, and no object may be used from another loop's thread.
 * loop_send() is the one way from thread to thread.
 *
 * Timers, posts and watches are intrusive: they live zeroed in their owner's
 * struct, so that arming cannot fail and disarming takes effect at once. An
 * owner disarms what it has before it frees itself.
 *
 * Linux: an epoll set is the outer wait and libuv is polled inside it
 * (net/poller_epoll.c); elsewhere each watch is a uv_poll (net/poller_uvpoll.c).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

struct loop;
typedef void loop_fn(void *arg);

/* Also ignores SIGPIPE in the process, unless someone handles it. Sets an environment variable:
 * loops are made before other threads run. */
MUST_CHECK int loop_new(struct loop **, struct err *);
/* After its users have closed; NULL allowed. Posts and mail that are left still run, work that
 * has begun on the pool is waited for, at most LOOP_WORK_MS. By any thread, when loop_run() has
 * returned in its own. false: work goes on (the system's resolver can take minutes). The loop
 * stays for it, and the process has to end by _exit(): exit() waits for the pool, too. */
enum { LOOP_WORK_MS = 2000 };
bool loop_free(struct loop *);
void loop_run(struct loop *);        /* until loop_stop(), the running turn is finished */
void loop_stop(struct loop *);       /* from any callback of this loop */
uint64_t loop_now_ms(struct loop *); /* monotonic, cached once per turn */
const struct clock *loop_clock(struct loop *);
/* Both times as they were when this turn began: reading them costs nothing. Lives as long as the
 * loop. */
const struct clock *loop_turn_clock(struct loop *);

/* Timers run in order of their time, equal ones in the order of arming; one armed from a
 * callback runs on a later turn at the earliest. */
struct loop_timer {
	uint64_t at_ms, order;
	struct loop_timer *child, *next,
		*prev; /* pairing heap: prev is the parent of a first child */
	bool armed;
	uint8_t group;
	loop_fn *fn;
	void *arg;
};
void timer_arm(struct loop *, struct loop_timer *, uint64_t in_ms, loop_fn *,
	       void *arg); /* re-arms */
void timer_disarm(struct loop *, struct loop_timer *);
static inline bool timer_armed(const struct loop_timer *t)
{
	return t->armed;
}

/* fn(arg) once, never from within the call; posting a posted one changes nothing. A turn ends with
 * three rounds of posts, and each runs those that were there when it began:
 *
 *     loop_post()        what has to be done
 *     loop_post_last()   what gathers the work of a turn: one write for all of it
 *     loop_post_more()   work that would go on for long: behind everybody's, piece by piece
 */
struct loop_post {
	struct list node;
	uint8_t group;
	loop_fn *fn;
	void *arg;
};
void loop_post(struct loop *, struct loop_post *, loop_fn *, void *arg);
void loop_post_last(struct loop *, struct loop_post *, loop_fn *, void *arg);
void loop_post_more(struct loop *, struct loop_post *, loop_fn *, void *arg);
void loop_unpost(struct loop_post *);

/* fn(arg) once on loop `to`, from any thread, without a lock. Mail arrives in the order of sending
 * and cannot be called back: node and arg belong to fn from here on (fn may free or send it
 * again). Nothing is lost: what comes after loop_run() has returned waits for the next one, and
 * loop_free() runs what is left; so the senders end before loop_free() is called. */
struct loop_mail {
	struct loop_mail *next;
	loop_fn *fn;
	void *arg;
};
void loop_send(struct loop *to, struct loop_mail *, loop_fn *, void *arg);

/* Groups share the loop's time: when several have something to do, each has one ready descriptor
 * served a turn, so that whoever keeps one group busy does not make another wait for all of its
 * own. What is armed, posted, watched or looked up belongs to the group that was entered then, and
 * so does all that follows from it. Group 0 is that of everything else; others are never given
 * back. Where the system's poller has none (macOS) all are one. */
unsigned loop_group_new(struct loop *); /* 0: there are too many, or no memory */
/* The group that was entered before. */
unsigned loop_group_enter(struct loop *, unsigned group);
/* Has more than one group had something to do lately? Who would do much at once then does little.
 */
bool loop_is_contended(const struct loop *);

/* Level-triggered readiness of a descriptor. Hang-up and error are reported
 * as both readable and writable (reading or writing then tells the cause), and
 * WATCH_HUP is added to them and to the end of the peer's direction.
 *
 * WATCH_EDGE among the events of watch_add() is a promise of the owner: it
 * remembers what was reported until the system said EAGAIN (or took or gave
 * less than asked for). Readiness may then be reported only once, also while it
 * is not asked for, which saves system calls. watch_set() is still due. */
enum { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_HUP = 4, WATCH_EDGE = 8 };
typedef void watch_fn(void *arg, unsigned ready);
struct loop_watch {
	int fd;
	unsigned events;
	bool added;
	bool edge;
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
/* Deletes the watch and closes its fd, which no other process may hold: one system call less.
 * Allowed when not added and fd >= 0. fd becomes -1. */
void watch_close(struct loop *, struct loop_watch *);
/* `to` takes over the descriptor that `from` watches, with its edge promise; cannot fail. */
void watch_move(struct loop *, struct loop_watch *from, struct loop_watch *to, unsigned events,
		watch_fn *, void *arg);

/* fn(arg) on the loop for every arrival of the signal, which one loop alone may have open.
 * Freed with signal_close(); the signal is ignored from then on. */
struct loop_signal;
struct loop_signal *signal_open(struct loop *, int signum, loop_fn *, void *arg, struct err *);
void signal_close(struct loop_signal *);
/* The same, but the signal does from then on what it does by default. NULL allowed. */
void signal_release(struct loop_signal *);

/* run(arg) on the thread pool, then done(arg, cancelled) on the loop, once.
 * run() must own all that it touches. A job that has begun cannot be stopped:
 * after work_cancel() done() still comes, with cancelled = true. The pool has
 * 32 threads (set before its first use), so that slow look-ups do not queue. */
struct loop_work;
typedef void work_done_fn(void *arg, bool cancelled);
struct loop_work *work_start(struct loop *, loop_fn *run, work_done_fn *done, void *arg,
			     struct err *);
void work_cancel(struct loop_work *);

/* The last few descriptors are kept for the program itself: its control socket, look-ups, files
 * that are opened again. Whatever serves clients takes a new descriptor for which this is false
 * as EMFILE. (The system gives the lowest free number, so the number tells how many are in use.) */
bool loop_may_use_fd(const struct loop *, int fd);

/* How many loops this process can run side by side: 1..64. */
size_t loop_cores(void);

/* For net/ alone: the libuv loop behind it. */
struct uv_loop_s;
struct uv_loop_s *loop_uv(struct loop *);
#endif
