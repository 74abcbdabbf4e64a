#ifndef EC2_INSTANCE_H
#define EC2_INSTANCE_H
/* Which instance is meant (DescribeInstances, all pages), and starting and stopping it. Amazon
 * EC2 API Reference, version 2016-11-15. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct aws_client;
struct ec2_call;

enum { EC2_STATE_TEXT = 24, EC2_QUERY_TEXT = 160 };

struct ec2_instance {
	char id[64];
	char name[257];             /* Name tag, cut */
	char state[EC2_STATE_TEXT]; /* "running", "stopped" ... */
	char private_ip[48];
	char private_dns[256];
	char launch_time[32];
	char zone[32];
};

/* What is known of the instance; all that is given must hold. Of an `id` nothing else is looked
 * at, and it is found in whatever state; the others find what is not terminated or shutting
 * down. Nothing given: every instance that is not. */
struct ec2_query {
	const char *id;
	const char *name;          /* the Name tag */
	const char *group;         /* of Auto Scaling */
	const char *address;       /* private IPv4, any IPv6, or private DNS name */
	const char *const *filter; /* "NAME=VALUE", as EC2 has them: "tag:Role=bastion" */
	size_t filter_count;
};
/* The query for people: "named 'x'", "in Auto Scaling group 'x', with tag:Role=y". */
void ec2_query_text(const struct ec2_query *, char out[static EC2_QUERY_TEXT]);
/* ERR_CONFIG: what is wrong in it. */
MUST_CHECK int ec2_query_check(const struct ec2_query *, struct err *);

/* list == NULL: *why tells. n == 0: there is none. Once, from the loop; the list is valid
 * until return. Sorted by state (running first), then launch time, newest first. */
typedef void ec2_fn(void *arg, const struct ec2_instance *list, size_t n, const struct err *why);

/* The query is copied. */
struct ec2_call *ec2_find(struct aws_client *, const char *endpoint, const struct ec2_query *,
			  ec2_fn *, void *arg, struct err *);
/* One, in whatever state it is; n == 0: EC2 knows no such id. */
struct ec2_call *ec2_by_id(struct aws_client *, const char *endpoint, const char *id, ec2_fn *,
			   void *arg, struct err *);
void ec2_cancel(struct ec2_call *); /* then the callback never comes; NULL allowed */

/* before == NULL: *why tells, and code is AWS's ("IncorrectInstanceState") or "". */
typedef void ec2_power_fn(void *arg, const char *before, const char *code, const struct err *why);
struct ec2_power;
/* StartInstances or StopInstances. before: the state that it was in ("running": nothing was
 * done). limit_ms of all tries, 0: the usual one. */
struct ec2_power *ec2_power(struct aws_client *, const char *endpoint, const char *id, bool start,
			    unsigned limit_ms, ec2_power_fn *, void *arg, struct err *);
void ec2_power_cancel(struct ec2_power *); /* then the callback never comes; NULL allowed */

/* "i-" or "mi-" and 8 or 17 lower-case hexadecimal digits. */
bool ec2_is_id(const char *text);
/* A target that SSM knows and EC2 does not: "mi-...", "ecs:CLUSTER_TASK_RUNTIME". */
bool ec2_is_foreign(const char *target);
#endif
