#ifndef LOCALAWS_SIGN_IN_H
#define LOCALAWS_SIGN_IN_H
/*
 * Sign-ins: the OIDC and portal services of IAM Identity Center, and AWS
 * sign-in, which renews what `aws login` was given. REST and JSON, unsigned.
 * Sources: their API references, and the service models of AWS's SDKs.
 *
 * What was given out is kept in tables of fixed size; the oldest goes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cJSON;
struct reply;
struct request;
struct world;

enum {
	SIGN_IN_TEXT = 80,
	SIGN_IN_CLIENTS = 64,
	SIGN_IN_DEVICES = 64,
	SIGN_IN_TOKENS = 256,
	SIGN_IN_LOGINS = 64,
	SIGN_IN_PROOFS = 256,
};

struct oidc_client {
	char id[SIGN_IN_TEXT], secret[SIGN_IN_TEXT];
	int64_t expires_ms;
	bool may_refresh; /* registered with sso:account:access */
};

enum device_state { DEVICE_PENDING = 0, DEVICE_APPROVED, DEVICE_DENIED, DEVICE_USED };
struct oidc_device {
	char code[SIGN_IN_TEXT], user_code[10], client_id[SIGN_IN_TEXT], start_url[512];
	int64_t expires_ms, polled_ms;
	enum device_state state;
};

struct oidc_token {
	char access[SIGN_IN_TEXT], refresh[SIGN_IN_TEXT]; /* refresh "": none, or used */
	char client_id[SIGN_IN_TEXT];
	int64_t expires_ms;
};

struct login_grant {
	char refresh[SIGN_IN_TEXT], client_id[SIGN_IN_TEXT];
	char x[44], y[44]; /* of the key that it was given to, base64url */
	int64_t expires_ms;
};

struct sign_in {
	struct oidc_client clients[SIGN_IN_CLIENTS];
	struct oidc_device devices[SIGN_IN_DEVICES];
	struct oidc_token tokens[SIGN_IN_TOKENS];
	struct login_grant logins[SIGN_IN_LOGINS];
	char proofs[SIGN_IN_PROOFS][SIGN_IN_TEXT]; /* names of proofs that were used */
	size_t client_count, device_count, token_count, login_count, proof_count; /* ever */
};

/* false: the path is none of these services'. */
bool sign_in_handle(struct world *, const struct request *, struct reply *);
/* The same for /_localaws/device and /_localaws/login-session. */
bool sign_in_admin(struct world *, const struct request *, struct reply *);

/* --- for the services' own files --- */

struct rest_call_in {
	struct world *w;
	const struct request *request;
	const struct cJSON *input; /* of a POST; NULL: GET */
	struct reply *reply;
};
typedef void rest_op(struct rest_call_in *);
rest_op oidc_register, oidc_device_authorization, oidc_token, portal_role, signin_token;

/* Text of a member of the input, or NULL. */
const char *rest_text(const struct rest_call_in *, const char *name);
/* The answer; frees it. */
void rest_answer(struct rest_call_in *, int status, struct cJSON *);
/* A refusal: type is the x-amzn-ErrorType (static); frees the body. */
void rest_refuse(struct rest_call_in *, int status, const char *type, struct cJSON *body);
/* "prefix" and 48 random hexadecimal digits. */
void sign_in_random(const char *prefix, char out[SIGN_IN_TEXT]);
/* The path, as a client of ours is to be told it. */
void sign_in_url(const struct rest_call_in *, const char *path, char *out, size_t size);

/* A proof's key, when all of it is in order: signed by that key, for this URL, now, and for the
 * first time. false: why has the reason. */
bool proof_check(struct rest_call_in *, char x[44], char y[44], char *why, size_t size);
/* base64url without padding; bytes, or -1. out needs n bytes. */
long proof_decode(const char *p, size_t n, void *out);
#endif
