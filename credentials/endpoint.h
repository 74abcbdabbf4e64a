#ifndef CREDENTIALS_ENDPOINT_H
#define CREDENTIALS_ENDPOINT_H
/*
 * Service endpoints: partition by region, and the overrides in AWS's order
 * (AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's services section,
 * the profile's endpoint_url).
 */
#include <stdbool.h>

#include "base/err.h"

struct aws_files; /* parsed ~/.aws files: credentials/profile.h */

struct endpoint_opts {
	const char *service; /* "ssm", "ec2", "sts", "sso", "sso-oidc", "signin" ... */
	const char *region;
	const struct aws_files *files; /* NULL: only the environment counts */
	const char *profile;
	const char *const *environ;
};
/* *url is the caller's (mem_free), without '/' at its end. ERR_CONFIG: no region, or an
 * override that is no http(s) URL. */
MUST_CHECK int endpoint_url(const struct endpoint_opts *, char **url, struct err *);
/* Whether the environment or the profile overrides the service's own endpoint. */
bool endpoint_overridden(const struct endpoint_opts *);
/* An http:// or https:// URL with a host, an optional port and path, and nothing else. */
MUST_CHECK int endpoint_check_url(const char *url, struct err *);
/* The partition's domain ("amazonaws.com"); static. */
const char *endpoint_suffix(const char *region);
/* Is this lower-case host name one of the ssmmessages service in that region: plain, FIPS, dual
 * stack, or of a VPC endpoint ("vpce-0a1b-xyz.ssmmessages.REGION.vpce.SUFFIX")? */
bool endpoint_is_ssmmessages(const char *host, const char *region);
#endif
