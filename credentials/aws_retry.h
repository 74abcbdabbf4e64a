#ifndef CREDENTIALS_AWS_RETRY_H
#define CREDENTIALS_AWS_RETRY_H
/*
 * How often and how fast AWS is asked again: the retry modes of its SDKs, of which each client
 * has one. Sources: "Retry behavior" of the AWS SDKs and Tools Reference Guide, and what
 * botocore does. Pure but for the configuration.
 *
 *   standard  3 tries, and all of a client's retries draw on one bucket of 500: 5 each, 10 after a
 *             timeout, given back by success
 *   legacy    5 tries, no bucket
 *   adaptive  as standard, and once AWS has throttled, all requests keep a rate that
 *             falls with each throttling and grows by a cubic curve otherwise
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct aws_files;

enum aws_retry_mode { AWS_RETRY_STANDARD = 0, AWS_RETRY_LEGACY, AWS_RETRY_ADAPTIVE };
struct aws_retry { /* zeroed: the default */
	enum aws_retry_mode mode;
	unsigned attempts; /* tries in all; 0: as the mode has it */
};
/* AWS_RETRY_MODE and AWS_MAX_ATTEMPTS, else the profile's retry_mode and max_attempts. files may be
 * NULL. ERR_CONFIG: neither a mode nor a number. */
MUST_CHECK int aws_retry_read(const struct aws_files *, const char *profile,
			      const char *const *environ, struct aws_retry *, struct err *);
unsigned aws_retry_attempts(const struct aws_retry *);

/* The bucket of retries. */
struct aws_bucket {
	bool endless;
	unsigned left;
};
void aws_bucket_init(struct aws_bucket *, const struct aws_retry *);
bool aws_bucket_take(struct aws_bucket *, bool timeout, unsigned *cost); /* false: it is empty */
void aws_bucket_give(struct aws_bucket *, unsigned cost); /* success; cost 0: without a retry */

/* The rate of mode adaptive; times in ms of one clock. Zeroed: nothing has been throttled. */
struct aws_rate {
	bool on;
	double fill, most, tokens;      /* a second; tokens: < 0 while requests wait */
	double measured, count, bucket; /* requests a second of late */
	double last_most, throttled_s, refilled_s;
};
/* How long the next request has to wait: it counts as sent then. */
unsigned aws_rate_wait_ms(struct aws_rate *, uint64_t now_ms);
void aws_rate_answered(struct aws_rate *, uint64_t now_ms, bool throttled);

/* All of that, as the calls of one client share it; and a call's own part, zeroed at first. */
struct aws_budget {
	struct aws_retry retry;
	struct aws_bucket bucket;
	struct aws_rate rate;
};
struct aws_tries {
	unsigned failed; /* tries that did */
	unsigned cost;   /* of the last retry: given back by success */
	bool has_turn;
};
void aws_budget_init(struct aws_budget *, const struct aws_retry *);
/* A try has failed: may there be another, and after which pause? None that ends after left_ms. */
bool aws_budget_again(struct aws_budget *, struct aws_tries *, bool timeout, uint64_t left_ms,
		      unsigned *pause_ms);
/* How long the call's next try waits for its turn in mode adaptive; 0: it has it. */
unsigned aws_budget_turn_ms(struct aws_budget *, struct aws_tries *, uint64_t now_ms);
/* An answer has come, good or not. */
void aws_budget_answered(struct aws_budget *, struct aws_tries *, uint64_t now_ms, bool throttled);
/* It was a good one. */
void aws_budget_succeeded(struct aws_budget *, const struct aws_tries *);
#endif
