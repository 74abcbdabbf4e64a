#ifndef CREDENTIALS_METADATA_H
#define CREDENTIALS_METADATA_H
/*
 * Credentials that the place we run in hands out: a container's endpoint
 * (ECS, EKS pod identity) and the instance metadata service, version 2. Both
 * answer with the same JSON. Never through a proxy.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credentials/provider.h"

struct aws_files;

/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId"?}, and "Code" and "Message"
 * when there are none. Pure. ERR_CREDS: none in it; ERR_PROTO: not in that form. */
struct creds *metadata_parse(const char *json, size_t n, const char *source, struct err *);
/* The words of an error's body, {"message": ...} in any spelling, or "". Pure. */
void metadata_message(const char *json, size_t n, char *out, size_t size);

/* --- container --- */

/* AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI: where to ask. *url: the caller's.
 * ERR_CONFIG: a host that plain http may not go to. */
MUST_CHECK int container_url(const char *const *env, char **url, struct err *);
struct container_opts {
	struct loop *loop;
	struct http *http;
	const char *const *environ; /* borrowed: the token's, asked at each fetch */
	const char *ca_file;        /* NULL: the system's */
};
struct provider *container_new(const struct container_opts *, struct err *);

/* --- instance metadata --- */

/* AWS_EC2_METADATA_SERVICE_ENDPOINT, or by ..._ENDPOINT_MODE (or the profile's keys of those
 * names); without '/' at the end, the caller's. ERR_CONFIG: neither URL nor mode. */
MUST_CHECK int imds_url(const char *const *env, const struct aws_files *, const char *profile,
			char **url, struct err *);
bool imds_disabled(const char *const *env); /* AWS_EC2_METADATA_DISABLED */
struct imds_opts {
	struct loop *loop;
	struct http *http;
	const char *url;
	const char *otherwise; /* said in front when there are none; NULL: nothing; copied */
};
struct provider *imds_new(const struct imds_opts *, struct err *);
/* When credentials that IMDS serves though they are over are to be asked for again: it does so
 * when it cannot renew them, and AWS goes on to accept them (static stability). Milliseconds from
 * now, 5 to 10 min. */
int64_t imds_extension_ms(uint32_t random);

/* placement/region. region == NULL: *why tells. Once, from the loop. */
typedef void imds_region_fn(void *arg, const char *region, const struct err *why);
struct imds_region;
struct imds_region *imds_region_get(const struct imds_opts *, imds_region_fn *, void *arg,
				    struct err *);
void imds_region_cancel(struct imds_region *);
#endif
