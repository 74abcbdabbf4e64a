#include "credentials/sso_config.h"

#include <string.h>

#include "credentials/profile.h"

static const char default_scopes[] = "sso:account:access"; /* the AWS CLI's */

bool sso_configured(const struct aws_files *files, const char *profile)
{
	return profile_get(files, profile, "sso_account_id") ||
	       profile_get(files, profile, "sso_role_name");
}

static int missing(const char *profile, const char *key, struct err *e)
{
	return err_set(e, ERR_CONFIG,
		       "profile '%.60s': %s is missing for IAM Identity Center: run aws configure "
		       "sso, or add it",
		       profile, key);
}

/* The session's value; where the profile has one too, it has to be the same. */
static int joined(const struct aws_files *files, const char *profile, const char *session,
		  const char *key, const char **out, struct err *e)
{
	const char *own = profile_get(files, profile, key);

	*out = sso_session_get(files, session, key);
	if (own && *out && strcmp(own, *out) != 0)
		return err_set(e, ERR_CONFIG,
			       "profile '%.60s' and sso-session '%.60s' differ in %s: remove it "
			       "from the profile",
			       profile, session, key);
	if (!*out)
		*out = own;
	return 0;
}

static int from_session(const struct aws_files *files, const char *profile, const char *session,
			struct sso_config *c, struct err *e)
{
	c->where.session = session;
	if (!sso_session_get(files, session, "sso_start_url") &&
	    !sso_session_get(files, session, "sso_region"))
		return err_set(e, ERR_CONFIG,
			       "profile '%.60s': there is no [sso-session %.60s] with "
			       "sso_start_url and sso_region in %s",
			       profile, session, aws_files_config_path(files));
	if (joined(files, profile, session, "sso_start_url", &c->where.start_url, e) != 0 ||
	    joined(files, profile, session, "sso_region", &c->where.region, e) != 0 ||
	    joined(files, profile, session, "sso_registration_scopes", &c->scopes, e) != 0)
		return -1;
	if (!c->scopes)
		c->scopes = default_scopes;
	return 0;
}

int sso_config(const struct aws_files *files, const char *profile, bool with_role,
	       struct sso_config *c, struct err *e)
{
	const char *session = profile_get(files, profile, "sso_session");

	*c = (struct sso_config){
		.account = profile_get(files, profile, "sso_account_id"),
		.role = profile_get(files, profile, "sso_role_name"),
	};
	if (session) {
		if (from_session(files, profile, session, c, e) != 0)
			return -1;
	} else {
		c->where.start_url = profile_get(files, profile, "sso_start_url");
		c->where.region = profile_get(files, profile, "sso_region");
	}
	if (!c->where.start_url)
		return missing(profile, "sso_start_url", e);
	if (!c->where.region)
		return missing(profile, "sso_region", e);
	if (with_role && !c->account)
		return missing(profile, "sso_account_id", e);
	if (with_role && !c->role)
		return missing(profile, "sso_role_name", e);
	return 0;
}
