/* Look-ups in an environment, and the credentials that stand in one. */
#include "credentials/env.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "credentials/creds.h"

const char *env_get(const char *const *environ, const char *name)
{
	size_t n = strlen(name);

	for (; environ && *environ; environ++)
		if (strncmp(*environ, name, n) == 0 && (*environ)[n] == '=')
			return (*environ)[n + 1] ? *environ + n + 1 : NULL;
	return NULL;
}

bool env_true(const char *const *environ, const char *name)
{
	const char *value = env_get(environ, name);

	return value && str_eq_nocase(value, "true");
}

int env_creds(const char *const *environ, struct creds **out, struct err *e)
{
	const char *id = env_get(environ, "AWS_ACCESS_KEY_ID");
	const char *secret = env_get(environ, "AWS_SECRET_ACCESS_KEY");
	const char *token = env_get(environ, "AWS_SESSION_TOKEN");
	const char *until = env_get(environ, "AWS_CREDENTIAL_EXPIRATION");
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
		token = env_get(environ, "AWS_SECURITY_TOKEN");
	if (until && clock_parse_iso(until, &expires, e) != 0) {
		e->code = ERR_CREDS;
		return err_wrap(e, "environment: AWS_CREDENTIAL_EXPIRATION");
	}
	*out = creds_new(id, secret, token, expires, env_get(environ, "AWS_ACCOUNT_ID"),
			 "environment", e);
	return *out ? 0 : -1;
}
