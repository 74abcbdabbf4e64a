#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
/*
 * Time, passed in so that tests own it. Monotonic time for limits, wall time
 * for signatures, expiries and log lines.
 */
#include <stdint.h>

#include "base/err.h"

struct clock {
	uint64_t (*mono_ms)(const struct clock *);
	int64_t (*wall_ms)(const struct clock *); /* since the epoch, UTC */
};

extern const struct clock clock_system;

static inline uint64_t clock_mono_ms(const struct clock *c)
{
	return c->mono_ms(c);
}
static inline int64_t clock_wall_ms(const struct clock *c)
{
	return c->wall_ms(c);
}

/* "20261122T030405Z" (SigV4), needs 17 bytes. */
void clock_amz_date(int64_t wall_ms, char out[static 17]);
/* "2026-11-22T03:04:05.678Z", needs 25 bytes. */
void clock_iso(int64_t wall_ms, char out[static 25]);
/* RFC 3339 and the forms that AWS tools write: "2026-11-22T01:00:00Z",
 * "...+00:00", "...UTC", with or without fractions of a second. */
MUST_CHECK int clock_parse_iso(const char *text, int64_t *wall_ms, struct err *);
#endif
