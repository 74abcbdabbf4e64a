#ifndef CREDENTIALS_CHAIN_IMPL_H
#define CREDENTIALS_CHAIN_IMPL_H
/* The inside of the chain: chain.c walks a fetch through its steps, chain_source.c makes the
 * source that a plan means. */
#include "credentials/provider_impl.h"
#include "credentials/rest.h"
#include "credentials/sso.h"

struct aws_files;
struct plan;

struct chain {
	struct source base;
	struct loop *loop;
	struct http *http;
	const char *const *env;
	char *profile, *region, *sts_endpoint, *ca_file; /* NULL: not given */
	bool profile_explicit;
	const struct mfa_asker *mfa;
	char *found_region; /* the instance's, for want of another; NULL: not asked, or not known */
	char *last;         /* what answered last */
	char *refused;      /* the access key id that AWS refused last; NULL: none */
	struct sso_renewals *renewals, *own_renewals; /* own: NULL where others share them */
	struct rest_shared rest;
};

/* What the plan means, ready to be asked; with it go the sources below it. */
struct provider *chain_source(struct chain *, const struct aws_files *, const struct plan *,
			      struct err *);
/* The same for PLAN_SSO and PLAN_LOGIN (chain_sso.c). */
struct provider *chain_sso(struct chain *, const struct aws_files *, const struct plan *,
			   struct err *);
struct provider *chain_login(struct chain *, const struct aws_files *, const struct plan *,
			     struct err *);
/* For STS and sign-in; us-east-1 where nobody knows one. */
const char *chain_region(const struct chain *, const struct aws_files *, const char *profile);
#endif
