#ifndef CREDENTIALS_AWS_ERROR_H
#define CREDENTIALS_AWS_ERROR_H
/*
 * What AWS says when it refuses, and what to do about it. Pure. Sources: the
 * protocols' error forms (Smithy: awsJson1_1, awsQuery, ec2Query), and the
 * retry tables that AWS's SDKs share ("standard" mode).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credentials/aws.h"

struct aws_error {
	char code[96]; /* "ThrottlingException"; "" when the body says none */
	char message[200];
	char request_id[64];
};

/* header_type: the x-amzn-errortype field, or NULL. A body of no known form gives "". */
void aws_error_read(enum aws_protocol, const char *body, size_t n, const char *header_type,
		    struct aws_error *out);

enum aws_verdict {
	AWS_FATAL = 0, /* the answer stands */
	AWS_TRANSIENT, /* the same again, later */
	AWS_THROTTLED, /* likewise, and the cause is our rate */
	AWS_EXPIRED,   /* once more with other credentials */
	AWS_CLOCK      /* once more if the clocks differ */
};
enum aws_verdict aws_error_verdict(int status, const char *code);
/* Once more with other credentials, should the clocks not be what is wrong. */
bool aws_error_expired(const char *code);
enum err_code aws_error_class(int status, const char *code);
/* Before try number `tries` + 1: a random part of min(2^tries, 20) s. */
unsigned aws_retry_delay_ms(unsigned tries, uint32_t random);
enum { AWS_SKEW_MS = 4 * 60 * 1000 };
#endif
