#ifndef VM_LINK_IMPL_H
#define VM_LINK_IMPL_H
/*
 * Shared by link*.c. Everyone else includes link.h.
 *
 * A question and the stream that may come of it are one struct: it has an id while frames of it can
 * still come or go, and an owner once it is a stream. Its memory goes when it has neither, and only
 * where no handler is under way: at the end of link_run() and where no owner ever was.
 */
#include "base/buf.h"
#include "base/list.h"
#include "stream/stream_impl.h"
#include "vm/link.h"

enum {
	LINK_BUCKETS = 1024,
	LINK_SPARES = 8,          /* buffers kept for the next stream that sends */
	LINK_LOG_MAX = 16 * 1024, /* bytes of LOG frames that wait */
	LINK_OPENED_MAX = 24      /* payload of OPENED */
};

enum link_kind { LINK_RESOLVE = 0, LINK_OPEN, LINK_STREAM };

struct link_stream {
	struct stream stream;
	struct link *link;
	uint32_t id;
	enum link_kind kind;
	struct link_stream *next; /* in its bucket */
	struct list node, control, ready, todo, orphan;

	/* to the far end */
	struct buf out;
	uint32_t may_send; /* what it has granted */
	size_t low;        /* with want_write: tell when so much or less waits */
	/* A question or an answer that waits; OPENED, which may stand before data, has its own. */
	uint8_t say; /* type, 0: nothing */
	uint8_t cause;
	struct buf said;
	uint8_t opened[LINK_OPENED_MAX], opened_n;

	/* from the far end */
	struct buf in;
	size_t credit;     /* its owner's */
	uint32_t limit;    /* what it has of our budget: may_recv + in + owed */
	uint32_t may_recv; /* what was granted and has not come */
	uint32_t owed;     /* consumed, and not granted again */

	bool has_id, taken_back;
	bool window_due, stop_due, reset_due;
	bool sent_eof; /* our direction has ended: EOF went out, or STOP came */
	bool got_eof;  /* the far end's has: EOF came, or STOP is on its way */
	bool stopped;  /* STOP came */
	/* Told to end: by the owner; at once, with why; or when the rest has been delivered. */
	bool shut, closing, broken, finished;
	bool owner_gone; /* has heard closed(), or there never was one */
	bool want_write, eof_told;
	struct err why;
};

struct link {
	struct link_opts o;
	const struct link_handler *handler;
	void *arg;
	struct link_stream *bucket[LINK_BUCKETS];
	struct list streams;      /* all */
	struct list control;      /* have something to say beside data */
	struct list fresh, ready; /* have data: had none a turn ago, or had */
	struct list todo;         /* are to be told something */
	struct list orphans;      /* closed, and not sent yet; oldest first */
	struct buf spare[LINK_SPARES];
	size_t spares;

	size_t count, ids, orphan_count;
	uint32_t initial;        /* window of each new stream, ours */
	uint32_t peer_initial;   /* the peer's */
	uint32_t peer_max;       /* streams that it takes */
	size_t extra, out_extra; /* beyond initial of each; at most budget / 2 */
	size_t held;
	uint32_t last_id; /* newest that was asked */
	bool wrapped;     /* ids have begun anew */

	/* the link itself */
	bool helloed, welcomed; /* HELLO, WELCOME: sent or received */
	bool dead, failed, running;
	bool peer_left; /* GOODBYE came */
	bool pinged;    /* some PING went out */
	bool hello_due, welcome_due, network_due, metrics_due, ping_due, pong_due, shutdown_due;
	bool goodbye_due, mute; /* mute: after GOODBYE */
	struct frame_hello hello;
	struct frame_welcome welcome;
	struct frame_network network;
	struct frame_metrics metrics;
	uint64_t ping, pong;
	struct buf log; /* whole LOG frames */
	unsigned log_lost;
	char goodbye[FRAME_TEXT_MAX + 1];

	/* the frame that is coming in */
	uint8_t head[FRAME_HEAD];
	unsigned head_n;
	struct frame_head frame;
	bool in_frame;
	uint32_t left;                   /* of DATA */
	struct link_stream *into;        /* DATA goes there; NULL: nowhere */
	uint8_t body[FRAME_CONTROL_MAX]; /* of any other, as far as it has come */
	size_t body_n;
};

/* link.c */
struct link_stream *link_find(const struct link *, uint32_t id); /* NULL: there is none */
struct link_stream *link_add(struct link *, uint32_t id, enum link_kind);
void link_drop_id(struct link_stream *); /* no frame of it will come or go */
void link_release(struct link_stream *); /* frees it if all are done with it */
void link_want_run(struct link_stream *);
void link_want_control(struct link_stream *);
void link_want_send(struct link_stream *);
bool link_sendable(const struct link_stream *);
void link_kick(struct link *);
/* Both directions are over, at once: the far end is told if it must be, why is kept. */
void link_break_stream(struct link_stream *, const struct err *why, bool tell);
void link_end_if_over(struct link_stream *); /* after sent_eof or got_eof was set */
void link_drop_out(struct link_stream *);
void link_drop_in(struct link_stream *);
void link_count_out(struct link_stream *, size_t before); /* buf_len(&out) was before */
void link_spare(struct link_stream *); /* empties out, and keeps its memory for others */
/* Nothing more will come: what it has of the budget is what it holds. */
void link_trim(struct link_stream *);

/* link_stream.c */
extern const struct stream_ops link_stream_ops;

/* Whole frames but DATA, link->frame with the payload p. link_host.c, link_guest.c: of the link and
 * of questions; link_take.c: of streams. */
typedef int link_take_fn(struct link *, const uint8_t *p, size_t n, struct err *);
link_take_fn link_take_hello, link_take_network, link_take_metrics, link_take_log, link_take_answer;
link_take_fn link_take_welcome, link_take_question, link_take_shutdown;
link_take_fn link_take_ping, link_take_pong, link_take_goodbye, link_take_stream;
/* Whom DATA of link->frame is for: link->into. */
MUST_CHECK int link_take_data(struct link *, struct err *);
/* Was there ever such a question? Then what comes of it late is nothing. */
bool link_was_asked(const struct link *, uint32_t id);
void link_set_asked(struct link *, uint32_t id);
void link_become_stream(struct link_stream *);

/* link_run.c */
size_t link_deliver(struct link_stream *, const uint8_t *p, size_t n);
#endif
