#ifndef PROXY_UDP_AUDIT_H
#define PROXY_UDP_AUDIT_H
/*
 * The audit lines of an association's destinations: one when a destination is
 * met first, and another when what becomes of its datagrams changes (a reload). Of each of two
 * kinds, allowed and not, UDP_AUDIT_LINES at once and then one every UDP_AUDIT_EVERY_MS, so that
 * nobody can fill the log, nor make it blind for good; what is beyond is only counted.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "proxy/audit.h"

struct decision;
struct proxy;

enum {
	UDP_AUDIT_LINES = 64,
	UDP_AUDIT_EVERY_MS = 10000,
	UDP_AUDIT_SEEN = 2 * UDP_AUDIT_LINES /* destinations that are remembered */
};

struct udp_audit {
	struct list seen; /* the first one was met last */
	size_t count;
	struct {
		unsigned used;     /* lines of the UDP_AUDIT_LINES, */
		uint64_t since_ms; /* one of which comes back every UDP_AUDIT_EVERY_MS from here */
	} lines[2];
	uint64_t unlisted; /* destinations, or changes of one, without a line */
};

void udp_audit_init(struct udp_audit *);
void udp_audit_free(struct udp_audit *);

struct udp_verdict {
	const char *host;
	uint16_t port;
	enum audit_action action;
	const struct err *why;           /* NULL: datagrams pass */
	const struct decision *decision; /* NULL: it did not come to one */
	const struct addr *address;      /* NULL: unknown */
};
/* Is a line due? It counts as written then. */
bool udp_audit_due(struct udp_audit *, const struct udp_verdict *, uint64_t now_ms);
/* Writes a line when one is due; `of` is the association's own record, not changed. */
void udp_audit_note(struct udp_audit *, struct proxy *, const struct audit_record *of,
		    const struct udp_verdict *);
#endif
