#include "backend/ssm/start_bucket.h"

#include "base/random.h"

enum { PAUSE_FIRST_MS = 1000, PAUSE_MAX_MS = 30000 };

uint64_t start_bucket_take(struct start_bucket *b, uint64_t now)
{
	uint64_t gone = now - b->seen_ms;

	if (now < b->closed_until_ms)
		return b->closed_until_ms;
	b->spent_ms = b->spent_ms > gone ? b->spent_ms - gone : 0;
	b->seen_ms = now;
	if (b->spent_ms > (START_BURST - 1) * START_EVERY_MS)
		return now + b->spent_ms - (START_BURST - 1) * START_EVERY_MS;
	b->spent_ms += START_EVERY_MS;
	return 0;
}

void start_bucket_throttled(struct start_bucket *b, uint64_t now)
{
	if (now < b->closed_until_ms)
		return; /* asked before the others were refused */
	b->pause_ms = b->pause_ms ? 2 * b->pause_ms : PAUSE_FIRST_MS;
	if (b->pause_ms > PAUSE_MAX_MS)
		b->pause_ms = PAUSE_MAX_MS;
	b->closed_until_ms = now + b->pause_ms + random_below(b->pause_ms);
}

void start_bucket_served(struct start_bucket *b)
{
	b->pause_ms = 0;
}
