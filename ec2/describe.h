#ifndef EC2_DESCRIBE_H
#define EC2_DESCRIBE_H
/*
 * DescribeInstances: its form, one page of its answer, and the order of a
 * list. Pure. Source: Amazon EC2 API Reference, version 2016-11-15.
 */
#include <stddef.h>

#include "base/buf.h"
#include "ec2/instance.h"

enum { EC2_LIST_MAX = 1000 };

struct ec2_list {
	struct ec2_instance *at;
	size_t count, room;
};
void ec2_list_free(struct ec2_list *);
void ec2_list_sort(struct ec2_list *); /* running first; then newest first; then by id */

/* One of `name` and `id`; token NULL: the first page. In a filter's value '*', '?' and '\'
 * are escaped: the name is meant as it is. */
MUST_CHECK int describe_form(struct buf *, const char *name, const char *id, const char *token,
			     struct err *);
/* Adds the page's instances; *next: the next page's token, the caller's, or NULL at the end.
 * ERR_PROTO, ERR_LIMIT (more than EC2_LIST_MAX), ERR_NOMEM. */
MUST_CHECK int describe_parse(const char *xml, size_t n, struct ec2_list *, char **next,
			      struct err *);
#endif
