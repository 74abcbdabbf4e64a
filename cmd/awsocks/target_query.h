#ifndef AWSOCKS_TARGET_QUERY_H
#define AWSOCKS_TARGET_QUERY_H
/* The options that say which instance is meant. */
#include <stdbool.h>

#include "ec2/instance.h"

struct options;

bool options_name_target(const struct options *);
/* *q borrows the options' texts and *filter, which is the caller's (mem_free). */
MUST_CHECK int target_query(const struct options *, struct ec2_query *q, const char ***filter,
			    struct err *);
#endif
