#ifndef LOCALAWS_KEYS_H
#define LOCALAWS_KEYS_H
/*
 * Who may call: a long-lived key for each account, and the temporary ones that AssumeRole has
 * given out. A role is in the account that its ARN names, and lets everybody assume it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/secret.h"

enum { ACCOUNT_TEXT = 13, KEY_ID_TEXT = 129, KEY_ARN_TEXT = 512, KEYS_MAX = 10000 };
struct key {
	struct list node;
	char id[KEY_ID_TEXT];
	struct secret secret;
	struct secret token; /* unset: long-lived */
	int64_t expires_ms;  /* wall clock; 0: never */
	char account[ACCOUNT_TEXT];
	char arn[KEY_ARN_TEXT];
	char user_id[160];
};
struct keys {
	struct list all;
	size_t count;
};
#define KEYS_ACCOUNT "123456789012" /* the first one */

void keys_init(struct keys *);
void keys_free(struct keys *);
MUST_CHECK int keys_add_static(struct keys *, const char *account, const char *id,
			       const char *secret, struct err *);
/* The same with an id and a secret made here. */
MUST_CHECK int keys_add_account(struct keys *, const char *account, struct err *);
/* The long-lived key of an account; NULL: there is no such account. */
const struct key *keys_of_account(const struct keys *, const char *account);
/* Whose a role is; NULL: the account is none of ours. While there is one account only, all roles
 * are its own, whatever number they have. */
const char *keys_role_account(const struct keys *, const char *role_arn);
/* A temporary key for the role session, whose account is ours; the oldest goes when there are too
 * many. NULL: *e. */
const struct key *keys_issue(struct keys *, const char *role_arn, const char *session_name,
			     int64_t expires_ms, struct err *);
const struct key *keys_find(const struct keys *, const char *id, size_t n);
void keys_expire_all(struct keys *, int64_t now_ms); /* temporary ones */
#endif
