#ifndef NET_SOCK_RELAY_H
#define NET_SOCK_RELAY_H
/*
 * How bytes get from one socket to another; private to net/. relay.c decides
 * when, flow.c has the plain way (recv into the loop's shared buffer, send
 * at once), and the file of the platform the way for bulk:
 * sock_relay_splice.c, or sock_relay_copy.c which knows no better one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* A direction. It holds memory or a pipe only while it holds bytes. */
struct flow {
	uint8_t *kept; /* what was read and not taken */
	uint32_t kept_at, kept_len;
	int pipe[2];      /* -1: none */
	uint32_t in_pipe; /* bytes */
	bool full;        /* the last read filled the buffer: bulk */
	uint64_t moved;
};

/* One end as the system last described it. */
struct sock_end {
	int fd;
	bool readable, writable;
	bool hup; /* the end is near: no further edge will tell of it */
};

enum flow_step {
	FLOW_MOVED = 0, /* something happened: go on while the turn lasts */
	FLOW_BLOCKED,   /* until `from` is readable or `to` writable */
	FLOW_EOF,       /* the source has ended, and nothing is held */
	FLOW_IN_BROKEN, /* errno tells; ENOMEM: bytes were lost */
	FLOW_OUT_BROKEN
};

enum { FLOW_BULK_MAX = 512 * 1024 }; /* bytes that one step moves at most */

void flow_init(struct flow *);
void flow_free(struct loop *, struct flow *);
static inline bool flow_holds(const struct flow *f)
{
	return f->kept_len || f->in_pipe;
}
/* One read and one write at most. */
enum flow_step flow_step(struct loop *, struct flow *, struct sock_end *from, struct sock_end *to);
/* Keeps a copy of bytes that came before the flow began. -1: out of memory. */
int flow_keep(struct flow *, const uint8_t *p, size_t n);

/* Of flow.c, for the platform's file: one read into buf (size >= LOOP_SHARED), one write. */
enum flow_step flow_copy(struct flow *, struct sock_end *from, struct sock_end *to, uint8_t *buf,
			 size_t size);

/* Of the platform's file. Called when the reads have become large; nothing is held. */
enum flow_step flow_bulk(struct loop *, struct flow *, struct sock_end *from, struct sock_end *to);
/* Moves what the pipe holds on. */
enum flow_step flow_drain(struct loop *, struct flow *, struct sock_end *to);
void flow_bulk_free(struct loop *, struct flow *);
#endif
