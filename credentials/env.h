#ifndef CREDENTIALS_ENV_H
#define CREDENTIALS_ENV_H
/*
 * The environment the process was given: "NAME=value" texts and a NULL at the
 * end, passed in so that tests own it. An empty value counts as unset, as in
 * AWS's tools.
 */
#include <stdbool.h>

#include "base/err.h"

struct creds;

const char *env_get(const char *const *env, const char *name); /* NULL: unset or empty */
bool env_true(const char *const *env, const char *name);       /* "true", any case */

/* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (the older
 * AWS_SECURITY_TOKEN wins, as in the AWS CLI), AWS_CREDENTIAL_EXPIRATION. 0 and *out == NULL: no
 * key id there. -1: half of a pair, or an expiry that is no date. *out: one reference, the
 * caller's. */
MUST_CHECK int env_creds(const char *const *env, struct creds **out, struct err *);
#endif
