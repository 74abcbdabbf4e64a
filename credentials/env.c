/* Look-ups in an environment, and the credentials that stand in one. */
#include "credentials/env.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "credentials/creds.h"

const char *env_get(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return (*env)[n + 1] ? *env + n + 1 : NULL;
	return NULL;
}

bool env_true(const char *const *env, const char *name)
{
	const char *value = env_get(env, name);

	return value && str_eq_nocase(value, "true");
}

int env_creds(const char *const *env, struct creds **out, struct err *e)
{
	const char *id = env_get(env, "AWS_ACCESS_KEY_ID");
	const char *secret = env_get(env, "AWS_SECRET_ACCESS_KEY");
	const char *token = env_get(env, "AWS_SECURITY_TOKEN");
	const char *until = env_get(env, "AWS_CREDENTIAL_EXPIRATION");
	int64_t expires = 0;

	*out = NULL;
	if (!id)
		return 0;
	if (!secret)
		return err_set(
			e, ERR_CREDS,
			"environment: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: "
			"set both, or unset it");
	if (!token)
		token = env_get(env, "AWS_SESSION_TOKEN");
	if (until && clock_parse_iso(until, &expires, e) != 0) {
		e->code = ERR_CREDS;
		return err_wrap(e, "environment: AWS_CREDENTIAL_EXPIRATION");
	}
	*out = creds_new(id, secret, token, expires, env_get(env, "AWS_ACCOUNT_ID"), "environment",
			 e);
	return *out ? 0 : -1;
}
