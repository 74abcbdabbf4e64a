#ifndef LOCALAWS_KEYS_H
#define LOCALAWS_KEYS_H
/*
 * Who may call: the long-lived key of the command line, and the temporary
 * ones that AssumeRole has given out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/secret.h"

enum { KEY_ID_TEXT = 129, KEY_ARN_TEXT = 512, KEYS_MAX = 10000 };
struct key {
	struct list node;
	char id[KEY_ID_TEXT];
	struct secret secret;
	struct secret token; /* unset: long-lived */
	int64_t expires_ms;  /* wall clock; 0: never */
	char arn[KEY_ARN_TEXT];
	char user_id[160];
};
struct keys {
	struct list all;
	size_t count;
};
#define KEYS_ACCOUNT "123456789012"

void keys_init(struct keys *);
void keys_free(struct keys *);
MUST_CHECK int keys_add_static(struct keys *, const char *id, const char *secret, struct err *);
/* A temporary key for the role session; the oldest goes when there are too many. NULL: *e. */
const struct key *keys_issue(struct keys *, const char *role_arn, const char *session_name,
			     int64_t expires_ms, struct err *);
const struct key *keys_find(const struct keys *, const char *id, size_t n);
void keys_expire_all(struct keys *, int64_t now_ms); /* temporary ones */
#endif
