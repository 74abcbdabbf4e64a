#ifndef PROXY_PROXY_IMPL_H
#define PROXY_PROXY_IMPL_H
/* Shared by the files of proxy/ alone: the proxy and the members of its list. */
#include "base/list.h"
#include "net/loop.h"
#include "proxy/proxy.h"

struct audit_record;
struct limits_peer;

/* Something that lives on behalf of a client: the client while it is being
 * served, the relay afterwards. */
struct member;
struct member_ops {
	/* The proxy stops. now: break off; otherwise only what has not got
	 * anywhere yet ends. May end and free the member at once. */
	void (*stop)(struct member *, bool now);
	/* For those that opts.still_ms is for, NULL for others: a number that grows whenever
	 * something moves, and what to do when it has not grown for too long. */
	uint64_t (*moved)(struct member *);
	void (*still)(struct member *);
};

struct member {
	struct list node;
	const struct member_ops *ops;
	uint64_t moved; /* when it was last looked at, */
	unsigned still; /* and how many looks have found the same */
	bool begun;     /* opts.still_ms counts from now on */
	bool placed;    /* has a place in opts.limits, to be given back with it */
	struct limits_peer *peer;
};

struct proxy {
	struct proxy_opts opts;
	struct list members;
	size_t count;
	uint64_t last_id;
	uint64_t said_ms;    /* when the log was told of a shortage; 0: never */
	uint64_t guessed_ms; /* the same of whoever is wrong too often */
	bool closing;
	struct loop_timer grace;
	struct loop_timer sweep; /* armed while there is opts.still_ms and a member for it */
	struct loop_post post;
	void (*closed)(void *arg);
	void *closed_arg;
};

void member_add(struct proxy *, struct member *, const struct member_ops *);
/* One to whom opts.still_ms applies has begun to move. */
void member_begins(struct proxy *, struct member *);
/* Gives the place back. The last one lets the proxy end. */
void member_del(struct proxy *, struct member *);
/* The place of one that ends goes to the one that carries on for the same client. */
void member_move_place(struct member *from, struct member *to);

uint64_t proxy_next_id(struct proxy *);
/* Its `exe`, when its pid is known. */
void record_program(struct audit_record *);
/* Writes the record to the audit log and the log, and frees its texts. */
void proxy_record(struct proxy *, struct audit_record *);
#endif
