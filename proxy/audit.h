#ifndef PROXY_AUDIT_H
#define PROXY_AUDIT_H
/*
 * The audit log: one JSON object a line for every connection attempt and every
 * plain HTTP request, allowed or not. No URLs, headers or credentials.
 *
 * docs/AUDIT.md describes each member; a test holds that table against what is written.
 *
 * action: "allow" (a rule let it go; error says if it failed), "block" (a rule
 * said block), "refuse" (not let in, malformed, too slow, without the right password, against the
 * host guard, or UDP for a route that cannot carry it).
 *
 * A UDP association ("socks5-udp") has several lines of one id: one for each destination when it
 * is met first and whenever what becomes of its datagrams changes, at most 64 that pass and 64 that
 * do not, without bytes; and at its end one without host, with the bytes of all (the
 * datagrams' data) and how many datagrams were dropped, if any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/audit_file.h"

struct audit;

enum audit_action { AUDIT_ALLOW = 0, AUDIT_BLOCK, AUDIT_REFUSE };
enum audit_mark { AUDIT_PLAIN = 0, AUDIT_BYPASS, AUDIT_FALLBACK };

struct audit_record { /* zeroed is empty; texts are owned, NULL where unknown */
	uint64_t id;
	int64_t wall_ms;      /* when it began */
	uint64_t mono_ms;     /* the same, for the duration */
	const char *listener; /* borrowed */
	const char *proto;    /* static: socks5, socks5-udp, socks4, connect, http */
	char *peer, *host, *rule, *route, *address, *session, *error;
	bool has_peer_id; /* a Unix socket: the kernel told who it is */
	long uid, pid;
	/* exe: the path of the program behind a Unix socket; inside the fence, where that cannot be
	 * read, the process's short name, which has no '/'. user: who gave its password, or tried
	 * to. Both owned; NULL where unknown. */
	char *exe, *user;
	uint16_t port;
	enum audit_action action;
	enum audit_mark mark;
	uint64_t up, down;
	uint64_t dropped; /* datagrams */
	/* Not in the line: what the rules decided where `route` is another (a bypass, a fallback),
	 * and whether learn.h has noted it. */
	char *first_route;
	bool learned;
};
/* Copies text into one of the record's; what does not fit in memory is left out. */
void audit_text(char **field, const char *text);
void audit_record_free(struct audit_record *);

MUST_CHECK int audit_open(struct audit **, const struct audit_opts *, struct err *);
/* After the file was renamed (SIGHUP). When it fails the old file stays in use. */
MUST_CHECK int audit_reopen(struct audit *, struct err *);
const char *audit_path(const struct audit *);
struct audit_counts audit_counts(struct audit *);
void audit_close(struct audit *); /* NULL is allowed */
/* A line that cannot be written is lost; that is logged once until it works
 * again. Never blocks on a pipe. From any thread. NULL: no audit log. */
void audit_write(struct audit *, const struct audit_record *);
#endif
