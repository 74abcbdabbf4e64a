#ifndef LOCALAWS_AUTH_H
#define LOCALAWS_AUTH_H
/*
 * Is this request signed by one of our keys (AWS Signature Version 4,
 * headers)? The canonical form is made here from the request's bytes as they
 * came, and not with credentials/sigv4: what signs must not judge itself.
 *
 * Queries are read as a form parser reads them ('+' is a space) and encoded
 * again, as the service does for the websocket's URL. A signature over '+' as
 * itself (%2B) is taken too: signers that do not parse the query write that.
 */
#include <stddef.h>

#include "net/http1.h"

struct key;
struct world;

enum auth_result {
	AUTH_OK = 0,
	AUTH_MISSING,    /* no Authorization */
	AUTH_INCOMPLETE, /* not in the form it must have */
	AUTH_UNKNOWN_KEY,
	AUTH_BAD_TOKEN,
	AUTH_EXPIRED,  /* temporary credentials */
	AUTH_SKEWED,   /* more than 5 minutes away from our time */
	AUTH_SCOPE,    /* other service, region or date */
	AUTH_MISMATCH, /* the signature is another one */
};

struct auth_request {
	const struct http1_head *head;
	struct http1_text path, query; /* of the target; query without '?' */
	const void *body;
	size_t body_len;
	const char *service;
};
struct auth_caller {
	const struct key *key; /* NULL: nobody */
	char region[32];       /* that was signed for */
};
/* The caller is told when OK; text (of size bytes) says what is wrong otherwise. */
enum auth_result auth_verify(struct world *, const struct auth_request *, struct auth_caller *,
			     char *text, size_t size);
/* Form decoding of n bytes ('+', %XX); out needs n + 1. Returns the length. */
size_t auth_form_decode(const char *p, size_t n, char *out);
/* The canonical query of n bytes; false: out of room. For tests. */
bool auth_canonical_query(const char *p, size_t n, char *out, size_t size);
#endif
