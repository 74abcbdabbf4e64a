#ifndef SSM_FLEET_H
#define SSM_FLEET_H
/* What SSM knows of its managed nodes: DescribeInstanceInformation, all pages (SSM API
 * 2014-11-06). */
#include <stddef.h>

#include "base/err.h"

struct aws_client;

struct fleet_node {
	char id[64], ping[24], agent[40], name[128], ip[48];
};
enum { FLEET_MAX = 10000 };

/* list NULL: *why tells, code is AWS's or "". Once, from the loop; valid until return. */
typedef void fleet_fn(void *arg, const struct fleet_node *list, size_t n, const char *code,
		      const struct err *why);
/* id NULL: all of them. What the client cancels is never freed: wait for the answer. */
MUST_CHECK int fleet_ask(struct aws_client *, const char *endpoint, const char *id, fleet_fn *,
			 void *arg, struct err *);
/* Adds a page's nodes; *next: the next page's token, the caller's, or NULL at the end. */
struct fleet_list {
	struct fleet_node *at;
	size_t count;
};
MUST_CHECK int fleet_parse(const char *json, size_t n, struct fleet_list *, char **next,
			   struct err *);
#endif
