#ifndef CREDENTIALS_CREDS_H
#define CREDENTIALS_CREDS_H
/*
 * One set of AWS credentials. Immutable once made, and counted, because the
 * cache and the requests under way really own it together; wiped when the
 * last reference goes.
 */
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

struct creds {
	unsigned refs;
	char *access_key_id;
	struct secret secret_access_key;
	struct secret session_token; /* text NULL: none */
	int64_t expires_ms;          /* wall clock; 0: never */
	char *account_id;            /* NULL: not known */
	char *source;                /* "environment", "profile corp (credential_process)" */
};

/* All texts are copied; session_token and account_id may be NULL. One reference, the
 * caller's. NULL: out of memory or an empty id or secret, *e tells. */
struct creds *creds_new(const char *access_key_id, const char *secret, const char *session_token,
			int64_t expires_ms, const char *account_id, const char *source,
			struct err *e);
struct creds *creds_ref(struct creds *);
void creds_unref(struct creds *); /* NULL allowed */
#endif
