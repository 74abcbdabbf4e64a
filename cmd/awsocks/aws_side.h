#ifndef AWSOCKS_AWS_SIDE_H
#define AWSOCKS_AWS_SIDE_H
/*
 * The AWS side of one profile for a command that asks and ends (targets, doctor): a loop, the
 * client, the endpoints. Questions are asked one after the other; aws_side_wait() runs the loop
 * until the answer's callback says aws_side_done().
 */
#include <stdbool.h>

#include "base/err.h"

struct aws_client;
struct aws_files;
struct egress;
struct http;
struct loop;
struct mfa;
struct options;
struct provider;

struct aws_side {
	const struct options *options;
	struct loop *loop;
	struct egress *egress; /* NULL: no proxy in front of AWS */
	struct http *http;
	struct mfa *mfa;
	struct aws_files *files;
	const char *profile; /* of ~/.aws */
	char *region;
	char *sts, *ec2, *ssm; /* endpoints */
	bool ssm_overridden;
	struct provider *provider;
	struct aws_client *aws;
	struct err err; /* of the last answer; code ERR_NONE: it was good */
	char code[96];  /* AWS's own, or "" */
};

/* In this order, each once, after the one before. aws_side_free() in any case. */
MUST_CHECK int aws_side_files(struct aws_side *, const struct options *, struct err *);
MUST_CHECK int aws_side_region(struct aws_side *,
			       struct err *);                 /* may ask the instance's metadata */
MUST_CHECK int aws_side_net(struct aws_side *, struct err *); /* and the proxy in front of AWS */
MUST_CHECK int aws_side_client(struct aws_side *, struct err *);
const char *aws_side_ca(const struct aws_side *); /* of certificates; NULL: the system's */
bool aws_side_free(struct aws_side *);            /* false: see loop_free() */

/* code and why: as of aws_fn; why NULL: a good answer. */
void aws_side_done(struct aws_side *, const char *code, const struct err *why);
int aws_side_wait(struct aws_side *); /* 0: a good answer */
#endif
