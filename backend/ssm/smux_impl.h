#ifndef SSM_SMUX_IMPL_H
#define SSM_SMUX_IMPL_H
/* Shared by smux*.c. Everyone else includes smux.h. */
#include "backend/ssm/smux.h"
#include "backend/ssm/smux_frame.h"
#include "base/buf.h"
#include "base/list.h"
#include "stream/stream_impl.h"

enum { SMUX_BUCKETS = 256 }; /* streams by id */

struct smux_stream {
	struct stream stream;
	struct smux *mux;
	uint32_t id;
	struct smux_stream *next; /* in its bucket */
	struct list node, ready, todo, undecided;
	struct buf in, out;
	size_t credit;
	uint64_t moved_ms, full_ms;
	int64_t syn_seq;
	struct err why;
	/* towards the far end */
	bool syn_due, fin_due, fin_sent, shut;
	/* from the far end */
	bool got_data, remote_fin, full;
	/* towards the owner */
	bool want_write, eof_told, closing, broken, owner_gone;
};

struct smux {
	struct smux_opts o;
	const struct smux_handler *handler;
	void *arg;
	struct smux_parser parser;
	struct smux_stream *bucket[SMUX_BUCKETS];
	struct list streams, ready, todo, undecided;
	size_t count, ghosts, full;
	unsigned failures; /* flags whose FIN has not come yet */
	uint32_t next_id;
	bool nop_due, dead, holding;
	uint64_t up, down;
	uint64_t due_ms;   /* when smux_tick() has to look at the streams */
	uint64_t asked_ms; /* something went out, nothing came since; 0: no */
	int64_t probe_seq;
};

/* smux_stream.c: the stream contract. */
extern const struct stream_ops smux_stream_ops;

/* smux.c */
struct smux_stream **smux_slot(struct smux *, uint32_t id); /* *it is NULL: there is none */
/* Frees it, if all are done with it. */
void smux_release(struct smux_stream *);
void smux_owner_left(struct smux_stream *); /* its owner has heard the last call */
uint64_t smux_now_ms(const struct smux *);
void smux_want_run(struct smux_stream *);  /* its owner is to be told something */
void smux_want_send(struct smux_stream *); /* it has something for the far end */
void smux_set_full(struct smux_stream *, bool full);
void smux_mind_due(struct smux_stream *); /* shut, closing, full or eof_told is set */
/* Nothing more will be sent but a FIN, if the far end knows the stream at all. */
void smux_finish_sending(struct smux_stream *);
void smux_break_stream(struct smux_stream *, const struct err *why); /* NULL: a clean end */
#endif
