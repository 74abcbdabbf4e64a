#ifndef PROXY_ATTEMPT_H
#define PROXY_ATTEMPT_H
/*
 * One attempt to reach a destination for a client: normalise the host, let
 * the rules decide, then dial, wait or go another way as the policy says
 * (routing/policy.h). What happened is noted in the audit record.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "routing/host.h"
#include "routing/router.h"

struct audit_record;
struct dial;
struct proxy;
struct stream;

/* remote is the callee's; NULL: *why tells. Once, from the loop. */
typedef void attempted_fn(void *arg, struct stream *remote, const struct err *why);

struct attempt { /* zeroed: nothing under way */
	struct proxy *proxy;
	struct audit_record *rec;
	struct host host;
	uint16_t port;
	struct decision decision; /* without its texts: they go with the router */
	struct route route;       /* taken now: the decision's, a bypass or a fallback */
	bool guarded_off;         /* the host guard has refused an address of it */
	struct dial *dial;
	attempted_fn *done;
	void *arg;
};

enum attempt_step {
	ATTEMPT_REFUSED = -1, /* *e says why (malformed: ERR_PROTO; blocked: ERR_DENIED) */
	ATTEMPT_HERE = 0,
	ATTEMPT_ELSEWHERE /* another loop has that route: proxy_opts.hand_over */
};
/* No I/O: n bytes of host as the client sent them. rec is borrowed until the end. */
MUST_CHECK enum attempt_step attempt_decide(struct attempt *, struct proxy *,
					    struct audit_record *rec, const char *host, size_t n,
					    uint16_t port, struct err *);
/* Dials what was decided. -1: *e tells and done() never comes. */
MUST_CHECK int attempt_dial(struct attempt *, attempted_fn *, void *arg, struct err *);
/* What the client sent as a host, as far as it can be shown. */
void attempt_show_host(const char *host, size_t n, char text[static HOST_MAX]);
/* Fills *e with which rule or default blocks, for a decision that does. */
void attempt_blocked(const struct decision *, struct err *);
void attempt_cancel(struct attempt *); /* then done() never comes; allowed at any time */
#endif
