#ifndef CREDENTIALS_LOGIN_FILE_H
#define CREDENTIALS_LOGIN_FILE_H
/*
 * The file in which `aws login` keeps a console sign-in: credentials for a
 * quarter of an hour, and what it takes to get the next ones. Pure but for the
 * path.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cJSON;
struct creds;

struct login_file {
	struct cJSON *root; /* all of it; the texts live as long */
	const char *refresh, *client_id, *key_pem;
};

/* ${AWS_LOGIN_CACHE_DIRECTORY:-~/.aws/login/cache}/SHA-256 of the session.json; the caller's. */
char *login_file_path(const char *const *env, const char *session, struct err *);
/* `name` stands in messages. ERR_CREDS: a member is missing. */
MUST_CHECK int login_file_parse(const char *text, size_t n, const char *name, struct login_file *,
				struct err *);
void login_file_free(struct login_file *);
/* The credentials in it, however old. NULL: *e. */
struct creds *login_file_creds(const struct login_file *, const char *source, struct err *);
/* Takes over an answer of CreateOAuth2Token that came at now_ms. ERR_PROTO: no such answer. */
MUST_CHECK int login_file_renew(struct login_file *, const char *reply, size_t n, int64_t now_ms,
				struct err *);
char *login_file_print(const struct login_file *); /* json_text_free() */
#endif
