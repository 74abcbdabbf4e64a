#ifndef EC2_INSTANCE_H
#define EC2_INSTANCE_H
/* Which instance is meant: by id (no call), or by Name tag (DescribeInstances,
 * all pages; Amazon EC2 API Reference, version 2016-11-15). */
#include <stddef.h>

#include "base/err.h"

struct aws_client;
struct ec2_call;

struct ec2_instance {
	char id[64];
	char name[257]; /* Name tag, cut */
	char state[24]; /* "running", "stopped" ... */
	char private_ip[48];
	char private_dns[256];
	char launch_time[32];
	char zone[32];
};

/* list == NULL: *why tells. n == 0: there is none. Once, from the loop; the list is valid
 * until return. */
typedef void ec2_fn(void *arg, const struct ec2_instance *list, size_t n, const struct err *why);

/* All instances whose Name tag is `name` and whose state is not terminated or
 * shutting-down, sorted by state (running first), then launch time, newest first. */
struct ec2_call *ec2_by_name(struct aws_client *, const char *endpoint, const char *name, ec2_fn *,
			     void *arg, struct err *);
/* One, in whatever state it is; n == 0: EC2 knows no such id. */
struct ec2_call *ec2_by_id(struct aws_client *, const char *endpoint, const char *id, ec2_fn *,
			   void *arg, struct err *);
void ec2_cancel(struct ec2_call *); /* then the callback never comes */
#endif
