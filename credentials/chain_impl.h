#ifndef CREDENTIALS_CHAIN_IMPL_H
#define CREDENTIALS_CHAIN_IMPL_H
/* The inside of the chain: chain.c walks a fetch through its steps, chain_source.c makes the
 * source that a plan means. */
#include "credentials/provider_impl.h"

struct aws_files;
struct plan;

struct chain {
	struct provider base;
	struct loop *loop;
	struct http *http;
	const char *const *env;
	char *profile, *region, *sts_endpoint, *ca_file; /* NULL: not given */
	bool profile_explicit;
	char *last; /* what answered last */
	struct list calls;
};

/* What the plan means, ready to be asked; with it go the sources below it. */
struct provider *chain_source(struct chain *, const struct aws_files *, const struct plan *,
			      struct err *);
#endif
