#ifndef VM_CONN_H
#define VM_CONN_H
/*
 * The host's end of the link to one running guest, on the loop: the descriptor, the HELLO that
 * must come first and bear the nonce of this boot, pings, and dials.
 *
 * A dial: a name is resolved in the guest, every address is judged here (dest->allow, and what no
 * rule can open: vm/guard.h), and the guest connects to those that passed, and to nothing else.
 */
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/err.h"
#include "vm/frame.h"

struct loop;
struct stream;
struct vm_conn;
struct vm_dial;

struct vm_conn_opts {
	struct loop *loop;
	uint8_t nonce[FRAME_NONCE];
	unsigned hello_ms;   /* for the HELLO; 0: 60 s */
	unsigned network_ms; /* then for an address; 0: 30 s. Dials wait for it */
	unsigned ping_ms;    /* 0: 10 s */
	unsigned silent_ms;  /* nothing at all came for so long: the guest hangs; 0: 20 s */
	bool alone;          /* the NAT is this VM's own (slirp): it has no siblings to be opened,
				and its network is known, whatever the guest says */
	const char *capture; /* file that all bytes of the link are appended to, for tests; NULL:
				none */
};
struct vm_conn_handler {
	void (*hello)(void *arg, const struct frame_hello *);     /* it is our guest */
	void (*network)(void *arg, const struct frame_network *); /* it has (lost) its address */
	void (*metrics)(void *arg, const struct frame_metrics *);
	/* The link has ended, for whatever reason: once, the last call. The vm_conn is still there
	 * until vm_conn_free(); all its streams and dials have been told. */
	void (*lost)(void *arg, const struct err *why);
};

/* Takes fd, also when it fails. */
struct vm_conn *vm_conn_new(int fd, const struct vm_conn_opts *, const struct vm_conn_handler *,
			    void *arg, struct err *);
/* Asks the guest to power off; lost() follows when it has closed its end. */
void vm_conn_shutdown(struct vm_conn *);
/* Ends it: streams and dials get *why from the loop, lost() does not come. The memory lives on
 * until the last stream has gone. NULL allowed. */
void vm_conn_free(struct vm_conn *, const struct err *why);
const struct frame_network *vm_conn_network(const struct vm_conn *); /* NULL: none yet */
size_t vm_conn_streams(const struct vm_conn *);
void vm_conn_describe(const struct vm_conn *, struct cJSON *into);

/* Who is served. Clients leave a part of the link's streams to AWS, a quarter and at most 64:
 * whatever they do, credentials and sessions can be had. What is over is ERR_LIMIT. */
enum vm_user { VM_USER_CLIENT = 0, VM_USER_AWS };

typedef void vm_dialed_fn(void *arg, const struct dialed *, const struct err *why);
/* Once, from the loop. limit_ms: for all of it. NULL: *e tells. dest is copied, but allow_arg. */
struct vm_dial *vm_conn_dial(struct vm_conn *c, enum vm_user, const struct dest *to,
			     unsigned limit_ms, vm_dialed_fn *done, void *arg, struct err *e);
void vm_dial_cancel(struct vm_dial *);
#endif
