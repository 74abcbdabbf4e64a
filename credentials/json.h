#ifndef CREDENTIALS_JSON_H
#define CREDENTIALS_JSON_H
/*
 * What the files and replies with secrets in them need of JSON: members that
 * are set anew, and texts as Python writes them, since the AWS CLI names files
 * by digests of such texts. With json_secret.h.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "credentials/json_secret.h"

struct buf;
struct cJSON;
struct creds;

/* Whole numbers within +-2^53; false: not there or none. */
bool json_number(const struct cJSON *object, const char *name, int64_t *out);
/* Sets or replaces a member; the old text is wiped. text NULL removes it. */
MUST_CHECK int json_set(struct cJSON *object, const char *name, const char *text, struct err *);
/* The members of "Credentials" in the AWS CLI's cache files. -1: out of memory. */
MUST_CHECK int json_set_creds(struct cJSON *object, const struct creds *, const char *expiration);
/* Its text, the caller's (json_text_free()); NULL: out of memory. */
char *json_print(const struct cJSON *);
void json_text_free(char *); /* wipes; NULL allowed */
/* "text" in quotes as Python's json.dumps() has it: ASCII, everything else as \uXXXX. */
MUST_CHECK int json_add_quoted(struct buf *, const char *text, struct err *);
/* The SHA-1 of what is in it, 40 digits: how the AWS CLI names files of its caches. */
MUST_CHECK int json_sha1(const void *p, size_t n, char out[41], struct err *);
#endif
