#ifndef PROXY_HANDOVER_H
#define PROXY_HANDOVER_H
/*
 * A client on its way from one loop to another, because the route that its
 * request takes belongs to that one. It is made when the request is whole and
 * before anything of it has had an effect: the other side parses the same
 * bytes again and decides again, by the rules it finds.
 *
 * Its place in the limits travels along. Each must reach proxy_take_over(), also
 * when that proxy is about to close.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/addr.h"
#include "net/loop.h"
#include "proxy/limits.h"

struct limits_peer;
struct proxy;

struct handover {
	struct loop_mail mail; /* for whoever carries it, like `to` */
	void *to;
	int fd;
	bool greeted; /* SOCKS5: the method is agreed, the request comes next */
	char peer[ADDR_TEXT];
	bool has_peer_id;
	long uid, pid;
	uint8_t peer_key[LIMITS_KEY];
	char *user;  /* who has logged in; NULL: nobody */
	bool placed; /* as in struct member */
	struct limits_peer *share;
	struct buf in;   /* what was read and not used */
	struct buf out;  /* ours, and not yet written */
	int64_t wall_ms; /* when the attempt began */
	uint64_t mono_ms;
};

/* Takes and frees it, and serves the client. On the proxy's loop. */
void proxy_take_over(struct proxy *, struct handover *);
#endif
