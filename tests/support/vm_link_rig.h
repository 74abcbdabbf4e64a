#ifndef TESTS_SUPPORT_VM_LINK_RIG_H
#define TESTS_SUPPORT_VM_LINK_RIG_H
/* Host and guest of one link (vm/link.h), each with an owner that writes down what it is told. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "stream/stream.h"
#include "vm/link.h"

enum { RIG_EVENTS = 64 /* of each kind the last ones are kept, at their number modulo this */ };

struct rig_answer {
	uint32_t id;
	struct stream *stream;
	struct addr to;
	size_t addresses;
	uint8_t cause; /* FAILED */
	char text[FRAME_TEXT_MAX + 1];
};

struct side {
	struct link *l;
	int kicks, hellos, welcomes, networks, metrics, logs, pongs, goodbyes, shutdowns;
	struct frame_hello hello;
	struct frame_welcome welcome;
	struct frame_network network;
	struct frame_metrics last_metrics;
	char log[RIG_EVENTS][FRAME_TEXT_MAX + 1], goodbye[FRAME_TEXT_MAX + 1];
	uint64_t token;
	struct rig_answer answer[RIG_EVENTS];
	int answers;
	/* of the guest: questions in their order */
	uint32_t asked[RIG_EVENTS];
	struct frame_addresses open;
	char name[FRAME_NAME_MAX + 1];
	int asks;
	uint32_t taken_back[RIG_EVENTS];
	int taken_backs;
	bool no_welcome;   /* the host does not answer HELLO */
	bool fail_at_once; /* the guest answers each question from its handler: refused */
	uint64_t out;      /* bytes pulled by rig_move() */
};

/* The owner of one stream. */
struct user {
	struct stream *s;
	size_t n, max_piece, calls; /* received */
	size_t wrote;
	size_t bad; /* bytes that were not what was to come */
	int eofs, closeds, writables;
	bool clean;       /* closed without a reason */
	bool credit_back; /* grants what it has received */
	bool close_on_data, abort_on_data, close_on_eof;
	bool write_on_writable; /* as much as goes */
	enum err_code why;
	char msg[320];
};

void side_init(struct side *, enum link_role, const struct link_opts *); /* NULL: all defaults */
bool side_try(struct side *, enum link_role);                            /* false: no memory */
void rig_free(struct side *host, struct side *guest);
void rig_greet(struct side *host, struct side *guest); /* HELLO and WELCOME */
/* What `from` has to say goes to the other, in pieces of `cut` bytes (0: as it is pulled), at most
 * `most` bytes or a little more. Returns how many. */
size_t rig_move(struct side *from, struct side *to, size_t cut, size_t most);
void rig_pump(struct side *host, struct side *guest); /* until both are silent */
/* An open stream, one end for each user; no credit yet. */
void rig_open(struct side *host, struct side *guest, struct user *a, struct user *b);
void user_attach(struct user *, struct stream *);
size_t user_write(struct user *, size_t n); /* n bytes of a pattern that the reader checks */
uint8_t rig_pattern(size_t at);             /* the byte at that place of a stream */
void rig_address(struct frame_addresses *, const char *text, uint16_t port);
uint32_t rig_ask_open(struct side *host); /* 192.0.2.7:80 */
uint32_t rig_ask_name(struct side *host, const char *name);

/* One frame, as a hostile peer would make it: what link_input() says. */
int rig_feed(struct side *, uint8_t type, uint32_t id, const void *p, size_t n, struct err *);
#endif
