#ifndef VM_CONN_IMPL_H
#define VM_CONN_IMPL_H
/* The inside of the host's end of the link, for vm/conn*.c alone. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/loop.h"
#include "vm/conn.h"
#include "vm/link.h"

enum {
	CONN_PIECE = 64 * 1024, /* of one read or write */
	/* What a stream may have on its way to us, and all of them together. An emulated VM answers
	 * after milliseconds, so a window of 256 KiB would be what limits a stream, and where the
	 * machine has much else to do one of 1 MiB would. */
	CONN_WINDOW = 2 * 1024 * 1024,
	CONN_BUDGET = 64 * 1024 * 1024,
	CONN_DIALS_MAX = 1024, /* under way, those that wait for the network included */
	CONN_RESERVE = 64      /* of dials and of streams, at most: AWS's */
};

struct vm_conn {
	struct loop *loop;
	struct vm_conn_opts opts;
	const struct vm_conn_handler *handler;
	void *arg;
	struct link *link;
	struct loop_watch watch;
	struct loop_post turn, more, end;
	struct loop_timer setup; /* for the HELLO, then for an address */
	struct loop_timer ping, silence;
	struct list dials;
	size_t dial_count;

	uint8_t *in, *out; /* CONN_PIECE each */
	size_t out_at, out_len;
	bool deaf; /* it takes nothing any more; what it had said is still read */
	int capture;

	bool welcomed, up;
	char agent[64];
	struct frame_network network; /* the last that was up */
	bool has_network;
	struct frame_metrics metrics;
	bool has_metrics;
	uint64_t bytes_out, bytes_in; /* of the link, frames and all */

	uint64_t heard_ms, pinged_ms, ping_token;
	bool pinging;
	unsigned rtt_ms;
	unsigned logged; /* lines of the guest since the last ping */

	bool ended, told, freed;
	struct err why;
};

/* vm/conn.c */

/* Ends the link; everybody is told on a later turn. The first cause counts. */
void conn_fail(struct vm_conn *, const struct err *why);
/* There is something to send. */
void conn_kick(struct vm_conn *);

/* vm/conn_io.c */
MUST_CHECK int conn_io_open(struct vm_conn *, int fd, struct err *);
void conn_io_close(struct vm_conn *);
/* What the pipe holds goes into the link, at most a turn's worth. */
void conn_read(struct vm_conn *);
/* What the link has to send goes into the pipe, as far as that takes it. */
void conn_flush(struct vm_conn *);

/* vm/conn_guest.c: what the guest says */
extern const struct link_handler conn_link_handler;
void conn_wait_hello(struct vm_conn *);
void conn_timers_stop(struct vm_conn *);

/* vm/conn_dial.c */
void conn_answered(struct vm_conn *, uint32_t id, const struct link_answer *);
void conn_dials_begin(struct vm_conn *); /* those that waited for the network */
/* All are told. From the loop. */
void conn_dials_fail(struct vm_conn *, const struct err *why);
#endif
