#ifndef CREDENTIALS_REGION_H
#define CREDENTIALS_REGION_H
/*
 * The region when neither option nor environment nor profile names one (profile_region()): that of
 * the instance we run on, if its metadata say so. As the AWS CLI v2 does it, after all else.
 */
#include "base/err.h"

struct aws_files;
struct http;
struct loop;
struct region_ask;

struct region_opts {
	struct loop *loop;
	struct http *http; /* its proxy does not count */
	const char *const *environ;
	const struct aws_files *files; /* may be NULL */
	const char *profile;           /* of ~/.aws */
};
/* region == NULL: *why tells what to do about it, ERR_CONFIG. Until return; once, from the loop. */
typedef void region_fn(void *arg, const char *region, const struct err *why);
/* The options are done with on return. NULL: *e tells, and fn() never comes: nobody may be asked
 * (AWS_EC2_METADATA_DISABLED), or what the settings say of the service is wrong. */
struct region_ask *region_ask(const struct region_opts *, region_fn *, void *arg, struct err *e);
void region_cancel(struct region_ask *); /* then fn() never comes; NULL allowed */
#endif
