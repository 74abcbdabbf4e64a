#ifndef CREDENTIALS_SSO_FILES_H
#define CREDENTIALS_SSO_FILES_H
/*
 * The files in which the AWS CLI keeps what IAM Identity Center gave it, in
 * its format: it reads what is written here, and the other way round.
 *
 *   ~/.aws/sso/cache/NAME.json   tokens; clients registered for the login
 *   ~/.aws/cli/cache/NAME.json   role credentials
 *
 * Everything here is pure but for sso_file_path().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct creds;
struct cJSON;

/* Which sign-in: an sso-session, or a profile's own start URL (session NULL). */
struct sso_where {
	const char *session, *start_url, *region;
};

enum { SSO_NAME = 41 };
MUST_CHECK int sso_token_name(const struct sso_where *, char out[SSO_NAME], struct err *);
MUST_CHECK int sso_role_name(const struct sso_where *, const char *account, const char *role,
			     char out[SSO_NAME], struct err *);
/* scopes: as in the file, "a,b" (NULL: none). tool: "botocore" is the CLI's, "awsocks" ours. */
MUST_CHECK int sso_client_name(const struct sso_where *, const char *scopes, const char *tool,
			       char out[SSO_NAME], struct err *);

enum sso_dir { SSO_TOKENS = 0, SSO_ROLES };
/* The file of that name; the caller's (mem_free). NULL: out of memory. */
char *sso_file_path(const char *const *env, enum sso_dir, const char *name, struct err *);

/* The i-th of "a, b", without blanks, in out; false: there are no more. */
bool sso_scope(const char *scopes, size_t i, char out[128]);

/* A token file. The texts live as long as `root`, which keeps members that are not known here. */
struct sso_token {
	struct cJSON *root;
	const char *access;
	int64_t expires_ms;
	/* For a refresh; NULL where the file has none. */
	const char *refresh, *client_id, *client_secret;
	int64_t client_expires_ms; /* 0: not known */
};
/* `name` stands in messages. ERR_CREDS: not such a file. */
MUST_CHECK int sso_token_parse(const char *text, size_t n, const char *name, struct sso_token *,
			       struct err *);
/* From nothing, for a first login. */
MUST_CHECK int sso_token_begin(struct sso_token *, const struct sso_where *, struct err *);
/* Takes over a reply of CreateToken, which came at now_ms. ERR_PROTO: not such a reply. */
MUST_CHECK int sso_token_renew(struct sso_token *, const char *reply, size_t n, int64_t now_ms,
			       struct err *);
/* How a client's registration stands in a token file, and alone. */
MUST_CHECK int sso_token_client(struct sso_token *, const char *id, const char *secret,
				int64_t expires_ms, struct err *);
/* What `to` was is freed, and stays if that fails. ERR_NOMEM. */
MUST_CHECK int sso_token_copy(const struct sso_token *from, struct sso_token *to, struct err *);
void sso_token_free(struct sso_token *);
/* Its text; json_text_free(). */
char *sso_token_print(const struct sso_token *);

/* Role credentials as the CLI keeps them. NULL: *e. */
struct creds *sso_role_parse(const char *text, size_t n, const char *source, struct err *);
char *sso_role_print(const struct creds *);
/* A reply of GetRoleCredentials. NULL: *e. */
struct creds *sso_reply_parse(const char *text, size_t n, const char *account, const char *source,
			      struct err *);

/* "2026-11-22T01:00:00Z" */
void sso_date(int64_t wall_ms, char out[25]);
#endif
