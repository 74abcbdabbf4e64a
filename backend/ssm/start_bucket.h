#ifndef SSM_START_BUCKET_H
#define SSM_START_BUCKET_H
/*
 * How often StartSession is called: a bucket that all sessions of an account and region
 * share (start_buckets.h), whatever they go to. AWS limits the call per account and does not say
 * to how much; what is refused for that reason is asked again here, later and
 * by all together, so that many sessions that begin at once do not throttle
 * each other for ever. Pure: the caller has the clock.
 */
#include <stdint.h>

struct start_bucket {      /* all zero: full */
	uint64_t spent_ms; /* what has been taken, as the time it takes to come again */
	uint64_t seen_ms, closed_until_ms;
	unsigned pause_ms; /* the last one */
};

enum { START_BURST = 10, START_EVERY_MS = 500 };

/* 0: one was taken, call now. Otherwise the monotonic ms when to ask again. */
uint64_t start_bucket_take(struct start_bucket *, uint64_t now_ms);
/* AWS has refused one for its rate: nobody calls for 1 s, 2 s and so on to 30 s, each with as much
 * again at random: that of random_below(). */
void start_bucket_throttled(struct start_bucket *, uint64_t now_ms);
void start_bucket_served(struct start_bucket *); /* one went well */
#endif
