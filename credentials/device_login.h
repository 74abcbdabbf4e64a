#ifndef CREDENTIALS_DEVICE_LOGIN_H
#define CREDENTIALS_DEVICE_LOGIN_H
/*
 * Signing in to IAM Identity Center with a code that is confirmed in a browser
 * anywhere (RFC 8628): register a client, unless one is kept from the last
 * time; ask for a code; show it; ask for the token until it is confirmed, for
 * as long as the service says; write the token where the AWS CLI looks for it.
 */
#include <stdint.h>

#include "base/err.h"
#include "credentials/aws_retry.h"
#include "credentials/sso_files.h"

struct device_login;
struct http;
struct loop;

struct device_code { /* until return */
	const char *url, *url_with_code, *user_code;
	int64_t life_s;
};

struct device_login_opts {
	struct loop *loop;
	struct http *http;
	/* All texts are copied. */
	struct sso_where where;
	const char *scopes; /* "a,b"; NULL: none are asked for */
	const char *oidc_url;
	const char *ca_file; /* NULL: the system's */
	struct aws_retry retry;
	const char *const *environ;
	/* A code to be confirmed; comes again with another one when nobody did in time. */
	void (*show)(void *arg, const struct device_code *);
	/* Once, from the loop. why NULL: signed in until then. */
	void (*done)(void *arg, int64_t expires_ms, const struct err *why);
	void *arg;
};
struct device_login *device_login_start(const struct device_login_opts *, struct err *);
void device_login_free(struct device_login *); /* cancels; after done() too; NULL allowed */
#endif
