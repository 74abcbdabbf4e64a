#ifndef SSM_START_BUCKETS_H
#define SSM_START_BUCKETS_H
/*
 * The buckets of StartSession calls that several backends share: one for each account and region,
 * since that is whom AWS counts, whatever profile, role or instance a call is for.
 */
#include "backend/ssm/start_bucket.h"
#include "base/err.h"

struct creds;
struct start_buckets;

enum { START_OWNER = 32, START_BUCKETS_MAX = 64 };

struct start_buckets *start_buckets_new(struct err *); /* NULL: *e tells */
void start_buckets_free(struct start_buckets *);       /* NULL allowed */
/* The one for these credentials. It lives as long as *b; NULL without memory. Beyond
 * START_BUCKETS_MAX accounts those that come last share one. */
struct start_bucket *start_buckets_of(struct start_buckets *b, const struct creds *,
				      const char *region);

/* Whose credentials they are: the account's number, as the source of the credentials says it or as
 * the access key id holds it, else the access key id. AWS does not document that ids which it has
 * issued since 2019 hold the account (bits 1 to 40 of what follows the first four letters, in
 * base32; those of before have a letter below Q there); read wrongly, two profiles would
 * share a bucket or would not, and no more. */
void start_owner(const struct creds *, char out[static START_OWNER]);
#endif
