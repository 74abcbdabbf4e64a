#ifndef CMD_AWSOCKS_WORKER_H
#define CMD_AWSOCKS_WORKER_H
/*
 * A worker: one loop, the way straight out (`direct`, host guard), and a seat
 * at every listener. Worker 0 is the main thread, and alone has what there is
 * once in a process: AWS, the control socket, signals, the files that are
 * watched. The others are threads, made when all listeners are open.
 *
 * What threads share is read only (options, listeners), atomic (rules, limits,
 * counters) or one system call (the audit log). All else goes by mail: clients
 * whose route worker 0 has, connections that it accepted for others, the stop.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "net/loop.h"
#include "proxy/proxy.h"

struct addr;
struct app;
struct app_listener;
struct auth;
struct auth_users;
struct backend;
struct egress;
struct host_guard;
struct listen_bound;
struct listen_socket;

enum { WORKERS_MAX = 64 };

struct worker {
	struct app *app;
	unsigned index;
	struct loop *loop;
	struct backend *direct;
	struct host_guard *guard; /* of the guarded listeners */
	struct egress *upstream;  /* the proxy that `direct` goes through; NULL: none */
	struct auth *auth;        /* of the listeners with users */
	struct list seats;
	pthread_t thread;
	bool running; /* as a thread of its own */
	/* ending */
	size_t pending; /* seats and the like that are still closing */
	loop_fn *closed;
	void *closed_arg;
	unsigned grace_ms;
	struct loop_mail stop, quiet, ended;
	bool has_ended; /* worker 0's to read and write */
	/* Counters: each has one thread that writes it, any may read. */
	atomic_size_t connected;
	atomic_uint_least64_t accepted;    /* clients that it was the first to serve */
	atomic_uint_least64_t handed_over; /* of them: gone to worker 0 */
	uint64_t sent;                     /* connections that worker 0 accepted for it */
	atomic_uint_least64_t received;    /* of them */
	/* Places in the limits (seat.c) */
	atomic_bool waits;     /* a listener found none; written by its own thread alone */
	atomic_bool woken;     /* `wake` is on its way */
	struct seat *due;      /* whose turn it is; NULL: nobody's */
	uint64_t due_until_ms; /* until then the others wait for it */
	struct loop_mail wake;
	size_t woke; /* the worker that got the last place given away, */
	bool passed; /* and whether that was the last place at all */
};

/* A listener's place at a worker. */
struct seat {
	struct list node; /* of the worker's seats */
	struct worker *worker;
	struct app_listener *listener;
	struct listen_socket *socket; /* NULL: none (yet), or another accepts for it */
	struct proxy *proxy;          /* NULL: closed */
	struct proxy_counts counts;
	unsigned group; /* of the loop's: its clients share it with those of other listeners */
};

/* Of main's thread, before any other runs. */
MUST_CHECK int worker_new(struct worker **, struct app *, unsigned index, struct err *);
MUST_CHECK int worker_start(struct worker *, struct err *);
/* The end of one that is not worker 0, asked for by worker 0: tells app_closed_one() when it hands
 * nothing over any more, and app_worker_ended() when it is through. */
void worker_stop(struct worker *, unsigned grace_ms);
void worker_join(struct worker *); /* after app_worker_ended() */
/* No more connections are accepted. On its own thread, as all below. */
void worker_close_sockets(struct worker *);
/* Its seats end, with grace_ms for what runs; then closed(). */
void worker_close_seats(struct worker *, unsigned grace_ms, loop_fn *closed, void *arg);
bool worker_free(struct worker *); /* NULL allowed; after worker_join(). false: see loop_free() */

/* seat.c */
MUST_CHECK int seat_open(struct seat *, struct worker *, struct app_listener *, struct err *);
/* Accepts from the socket, which is taken also when it fails; on the seat's own thread or before
 * that runs. */
MUST_CHECK int seat_serve(struct seat *, struct listen_bound *, struct err *);
/* The same for a seat whose thread runs: done there. -1: out of memory, and the socket is gone. */
MUST_CHECK int seat_send_socket(struct seat *, struct listen_bound *, struct err *);
/* Other users for its proxy, which must have some; its worker's passwords are forgotten. Done on
 * its thread. -1: out of memory. */
MUST_CHECK int seat_send_users(struct seat *, struct auth_users *, struct err *);
#endif
