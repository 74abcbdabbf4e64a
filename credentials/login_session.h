#ifndef CREDENTIALS_LOGIN_SESSION_H
#define CREDENTIALS_LOGIN_SESSION_H
/*
 * login_session: the credentials of a console sign-in that `aws login` made.
 * They live a quarter of an hour and are renewed here for as long as the
 * sign-in lasts (12 h at most).
 */
#include "base/err.h"

struct http;
struct loop;
struct provider;
struct rest_shared;

struct login_opts {
	struct loop *loop;
	struct http *http;
	/* All texts are copied. */
	const char *profile;      /* for messages */
	const char *session;      /* the value of login_session: an ARN */
	const char *url;          /* endpoint of AWS sign-in */
	const char *ca_file;      /* NULL: the system's */
	const char *refused;      /* as in sso_opts */
	struct rest_shared *rest; /* borrowed */
	const char *const *environ;
};
struct provider *login_new(const struct login_opts *, struct err *);
#endif
