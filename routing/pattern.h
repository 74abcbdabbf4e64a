#ifndef ROUTING_PATTERN_H
#define ROUTING_PATTERN_H
/*
 * What a rule matches: one pattern, as people write it.
 *
 *   example.com        that name           *.example.com  its subdomains, and itself
 *   .example.com       its subdomains      db-?.*.corp    glob: * any run, ? one character
 *   10.0.0.0/8 ::1     literal addresses   re:build[0-9]+ POSIX extended, the whole name
 *   *                  everything
 *
 * and behind any of them optionally :443 or :8000-8099 ([::1]:443 for IPv6).
 * Names, globs and expressions match names only, addresses and networks match
 * literal destinations only (nothing is resolved to decide); `*` alone matches both.
 * Patterns are normalised as hosts are (routing/host.h).
 */
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "routing/host.h"

enum pattern_kind {
	PATTERN_ANY = 0,
	PATTERN_HOST,   /* text: a canonical name or address */
	PATTERN_SUFFIX, /* text: what follows the dot */
	PATTERN_GLOB,   /* text: lower case */
	PATTERN_NET,
	PATTERN_REGEX
};

struct port_range {
	uint16_t lo, hi;
};

struct pattern {
	enum pattern_kind kind;
	bool apex; /* SUFFIX: the name itself too */
	char *text;
	struct host_addr net; /* NET */
	unsigned prefix;
	regex_t *regex; /* REGEX */
	struct port_range port;
};

/* A destination, prepared once for many patterns. */
struct subject {
	const char *host; /* normalised; borrowed */
	bool is_address;
	struct host_addr addr;
	uint16_t port;
};
void subject_init(struct subject *, const char *host, uint16_t port);

/* ERR_CONFIG: what is wrong and what to write instead. On failure nothing is to be freed. */
MUST_CHECK int pattern_parse(struct pattern *, const char *text, struct err *);
void pattern_free(struct pattern *);
bool pattern_matches(const struct pattern *, const struct subject *);
/* "443", "8000-8099". */
MUST_CHECK int port_range_parse(const char *text, struct port_range *, struct err *);

static inline bool port_range_has(struct port_range r, uint16_t port)
{
	return port >= r.lo && port <= r.hi;
}
#endif
