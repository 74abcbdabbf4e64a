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

enum { IMDS_URL_MAX = 1024 };
struct imds_at {
	char url[IMDS_URL_MAX]; /* without '/' at the end */
	unsigned try_ms,
		tries; /* of each request: how long a try may take, and how many there are */
};
/* AWS_EC2_METADATA_SERVICE_ENDPOINT, or by ..._ENDPOINT_MODE; AWS_METADATA_SERVICE_TIMEOUT, whole
 * seconds, and AWS_METADATA_SERVICE_NUM_ATTEMPTS; or the profile's keys of those names in lower
 * case, without "AWS_". ERR_CONFIG: wrong. */
MUST_CHECK int imds_find(const char *const *env, const struct aws_files *, const char *profile,
			 struct imds_at *, struct err *);
/* AWS_EC2_METADATA_DISABLED, or no attempts are wanted. */
bool imds_disabled(const char *const *env, const struct aws_files *, const char *profile);
struct imds_opts {
	struct loop *loop;
	struct http *http;
	struct imds_at at;
	const char *otherwise; /* said in front when there are none; NULL: nothing; copied */
};
struct provider *imds_new(const struct imds_opts *, struct err *);
/* When credentials that IMDS serves though they are over are to be asked for again: it does so
 * when it cannot renew them, and AWS goes on to accept them (static stability). Milliseconds from
 * now, 5 to 10 min. */
int64_t imds_extension_ms(uint32_t random);
#endif
