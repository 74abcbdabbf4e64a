#ifndef CREDENTIALS_SSO_H
#define CREDENTIALS_SSO_H
/*
 * A role's credentials by IAM Identity Center: the portal service gives them
 * for the token of a sign-in (`awsocks login`, `aws sso login`), which is
 * renewed here as long as that is possible.
 */
#include <stdint.h>

#include "base/err.h"
#include "credentials/sso_files.h"

struct http;
struct loop;
struct provider;
struct rest_shared;

/* What sources of one loop share: a token is renewed once for all who wait for it, and no more than
 * once a minute while it still serves. Freed after all of them; NULL allowed. */
struct sso_renewals;
struct sso_renewals *sso_renewals_new(struct err *);
void sso_renewals_free(struct sso_renewals *);

struct sso_opts {
	struct loop *loop;
	struct http *http;
	/* All texts are copied. */
	const char *profile; /* for messages */
	struct sso_where where;
	const char *account, *role;
	const char *portal_url, *oidc_url; /* endpoints */
	const char *ca_file;               /* NULL: the system's */
	/* The access key id of credentials that AWS has refused: not to be taken from the CLI's
	 * cache again. NULL: none. */
	const char *refused;
	struct sso_renewals *renewals; /* borrowed */
	struct rest_shared *rest;      /* borrowed */
	const char *const *environ;
};
struct provider *sso_new(const struct sso_opts *, struct err *);
#endif
