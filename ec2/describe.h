#ifndef EC2_DESCRIBE_H
#define EC2_DESCRIBE_H
/*
 * The forms and answers of EC2's calls, and the order of a list. Pure.
 * Source: Amazon EC2 API Reference, version 2016-11-15.
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

/* token NULL: the first page. What a query names is meant as it is: '*', '?' and '\' in it are
 * escaped, but not in the values of its filters. ERR_CONFIG: a filter that is not NAME=VALUE, a
 * text that is too long. */
MUST_CHECK int describe_form(struct buf *, const struct ec2_query *, const char *token,
			     struct err *);
/* Adds the page's instances; *next: the next page's token, the caller's, or NULL at the end.
 * ERR_PROTO, ERR_LIMIT (more than EC2_LIST_MAX), ERR_NOMEM. */
MUST_CHECK int describe_parse(const char *xml, size_t n, struct ec2_list *, char **next,
			      struct err *);

/* StartInstances and StopInstances. */
MUST_CHECK int power_form(struct buf *, const char *action, const char *id, struct err *);
/* The state that the instance was in before. ERR_PROTO: none is told. */
MUST_CHECK int power_parse(const char *xml, size_t n, char before[static EC2_STATE_TEXT],
			   struct err *);
#endif
