#ifndef CREDENTIALS_DPOP_H
#define CREDENTIALS_DPOP_H
/*
 * Proof of possession of a key (RFC 9449, DPoP): a JSON Web Token signed with
 * ES256 (RFC 7518, 3.4) for one request.
 */
#include <stdint.h>

#include "base/err.h"

struct dpop_key;

/* A private key on P-256 as PEM; what stands between the lines BEGIN and END may be SEC 1 or
 * PKCS #8, whatever they say. ERR_CREDS: no such key. */
MUST_CHECK int dpop_key_load(const char *pem, struct dpop_key **out, struct err *);
void dpop_key_free(struct dpop_key *); /* NULL allowed */
/* The DPoP field for a POST to url at this wall clock; jti: a name that is used once. The caller's
 * (mem_free). NULL: *e. */
char *dpop_proof(const struct dpop_key *, const char *url, int64_t now_s, const char *jti,
		 struct err *);
#endif
