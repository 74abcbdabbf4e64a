#ifndef CREDENTIALS_AWS_H
#define CREDENTIALS_AWS_H
/*
 * A signed AWS API call: credentials, signature, sending, retry with
 * jittered back-off on throttling and server faults (aws_retry.h), and the error decoded.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "credentials/aws_retry.h"

struct aws_client;
struct aws_call;
struct clock;
struct http;
struct loop;
struct provider;

struct aws_client_opts {
	struct loop *loop;
	struct http *http;
	struct provider *provider; /* borrowed */
	const char *region;
	const char *ca_file; /* NULL: AWS_CA_BUNDLE's default handling is the caller's */
	struct aws_retry retry;
};

enum aws_protocol { AWS_JSON11 = 0, AWS_QUERY };

struct aws_request {
	enum aws_protocol protocol;
	const char *service;  /* SigV4 name: "ssm", "ec2", "sts" */
	const char *endpoint; /* "https://ssm.us-east-1.amazonaws.com", a path prefix is kept */
	const char *target;   /* JSON: "AmazonSSM.StartSession"; Query: NULL */
	const char *body;     /* JSON text, or the form; copied */
	unsigned limit_ms;    /* of all tries; 0: 60 s */
	bool unsigned_request;
	bool no_retry;
};

struct aws_reply {
	int status;
	const char *body; /* NUL-terminated, until return */
	size_t body_len;
};
/* reply == NULL: *why tells, its code ERR_CREDS (no or refused credentials), ERR_AWS,
 * ERR_TARGET (TargetNotConnected), ERR_LIMIT (still throttled) or a network cause;
 * aws_code is then AWS's error code ("TargetNotConnected") or "". Once, from the loop. */
typedef void aws_fn(void *arg, const struct aws_reply *, const char *aws_code,
		    const struct err *why);

struct aws_client *aws_client_new(const struct aws_client_opts *, struct err *);
void aws_client_free(struct aws_client *); /* cancels what is under way */
struct aws_call *aws_send(struct aws_client *, const struct aws_request *, aws_fn *, void *arg,
			  struct err *);
void aws_cancel(struct aws_call *); /* then the callback never comes */
struct provider *aws_provider(struct aws_client *);
const char *aws_region(const struct aws_client *);
/* AWS's clock minus ours, as far as it had to be allowed for; 0: not known to differ. Of the
 * endpoint that said so last; or of one endpoint, as aws_request has it. */
int64_t aws_skew_ms(const struct aws_client *);
int64_t aws_skew_at(const struct aws_client *, const char *endpoint);
#endif
