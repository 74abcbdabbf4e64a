#ifndef CREDENTIALS_SSO_CONFIG_H
#define CREDENTIALS_SSO_CONFIG_H
/*
 * What ~/.aws/config says about a profile's sign-in to IAM Identity Center:
 * with sso_session (the keys are in that section), or the older way (all in
 * the profile). Pure.
 */
#include <stdbool.h>

#include "base/err.h"
#include "credentials/sso_files.h"

struct aws_files;

struct sso_config { /* texts of the files, and living as long */
	struct sso_where where;
	const char *account, *role; /* NULL: not said */
	const char *scopes;         /* of a session, "a,b"; NULL in the older way */
};

/* Whether the profile means to have its credentials by SSO. */
bool sso_configured(const struct aws_files *, const char *profile);
/* ERR_CONFIG: something is missing, or said twice and not the same. with_role: account and role
 * have to be there. */
MUST_CHECK int sso_config(const struct aws_files *, const char *profile, bool with_role,
			  struct sso_config *, struct err *);
#endif
