#ifndef SSM_SSH_MUX_IMPL_H
#define SSM_SSH_MUX_IMPL_H
/* What ssh_mux.c and ssh_channel.c share. Everyone else includes ssh_mux.h. */
#include "backend/ssm/ssh_mux.h"
#include "backend/ssm/ssh_wire.h"
#include "base/buf.h"
#include "base/list.h"
#include "net/loop.h"
#include "stream/stream_impl.h"

enum { SSH_BUCKETS = 256 }; /* channels by number */

struct ssh_channel {
	struct stream stream;
	struct ssh_mux *mux;
	struct ssh_channel *next;      /* in its bucket */
	struct list node, ready, todo; /* all; something for sshd; something for the owner */
	uint32_t id, peer;
	uint16_t port;
	char *host; /* until the open has left */
	struct buf in, out;
	size_t credit;
	uint32_t send_window, send_packet;
	uint32_t recv_window, consumed; /* what sshd may still send; what it may send again */
	struct err why;
	struct loop_timer linger;
	ssh_dialed_fn *done; /* until it has been called */
	void *done_arg;
	/* towards sshd */
	bool open_sent, opened, shut, eof_sent, close_due, close_sent;
	unsigned replies_due; /* REQUEST_FAILED */
	/* from sshd */
	bool remote_eof, remote_close;
	/* towards the owner */
	bool want_write, eof_told, closing, broken, owner_gone;
	bool off_wire; /* sshd does not know it (any more) */
};

struct ssh_mux {
	struct ssh_mux_opts o;
	const struct ssh_mux_handler *handler;
	void *arg;
	struct stream *link; /* NULL: closed */
	struct buf in, out;  /* of the link */
	struct ssh_channel *bucket[SSH_BUCKETS];
	struct list channels, ready, todo;
	size_t count; /* channels in memory */
	size_t owned; /* that have an owner */
	struct loop_post post;
	uint32_t next_id;
	enum { SSH_HELLO = 0, SSH_ASKED, SSH_SERVING, SSH_OVER } phase;
	struct err why;
	uint32_t stranger; /* number of a channel to be refused */
	bool refuse_due, ended_told, closing;
	uint64_t up, down;
};

/* ssh_channel.c: one channel; the stream contract. */
struct ssh_channel *ssh_channel_new(struct ssh_mux *, const char *host, uint16_t port,
				    struct err *);
/* A message from sshd for it. -1: ERR_PROTO, the link is lost. */
MUST_CHECK int ssh_channel_input(struct ssh_channel *, const struct ssh_msg *, struct err *);
/* Tells the owner what there is to tell. It may be freed. */
void ssh_channel_run(struct ssh_channel *);
/* Its next packet for sshd into `to`; 0: none now. */
size_t ssh_channel_pull(struct ssh_channel *, uint8_t *to, size_t max);
bool ssh_channel_has_more(const struct ssh_channel *);
/* The link is gone. */
void ssh_channel_break(struct ssh_channel *, const struct err *why);
void ssh_channel_release(struct ssh_channel *); /* if nobody needs it any more */

/* ssh_mux.c */
void ssh_want_run(struct ssh_channel *);
void ssh_want_send(struct ssh_channel *);
void ssh_kick(struct ssh_mux *);
void ssh_disown(struct ssh_channel *); /* its owner has had the last call */
#endif
