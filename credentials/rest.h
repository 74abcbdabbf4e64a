#ifndef CREDENTIALS_REST_H
#define CREDENTIALS_REST_H
/*
 * An unsigned call of an AWS service that speaks REST and JSON: the portal
 * and OIDC services of IAM Identity Center, and AWS sign-in. Passing faults
 * and throttling are tried again, as in aws.h; so is a proof that was refused
 * because our clock is wrong, once.
 */
#include <stdbool.h>
#include <stddef.h>

#include <stdint.h>

#include "base/err.h"
#include "credentials/aws_retry.h"

struct http;
struct loop;
struct rest_call;

struct rest_request {
	const char *op;     /* for messages: "oidc: CreateToken"; static */
	const char *url;    /* all of it, with the query */
	const char *body;   /* JSON, and then it is a POST; NULL: GET. Copied, wiped */
	const char *bearer; /* x-amz-sso_bearer_token; NULL: none. Copied, wiped */
	/* The DPoP field of one try at this wall clock, the caller's to free: a proof counts once.
	 * NULL: none. */
	char *(*proof)(void *arg, int64_t now_ms, struct err *);
	void *proof_arg;
	const char *ca_file;        /* copied */
	unsigned limit_ms;          /* of all tries; 0: 30 s */
	struct rest_shared *shared; /* outlives the call; NULL: the call's own, with the defaults */
};

/* What the calls of one client share. */
struct rest_shared {
	struct aws_budget budget;
	int64_t skew_ms; /* the clock of who takes proofs minus ours */
};
void rest_shared_init(struct rest_shared *, const struct aws_retry *);

/* What a service says when it refuses; empty texts where it does not. */
struct rest_error {
	int status;        /* 0: no answer came */
	char code[96];     /* "InvalidGrantException" */
	char kind[64];     /* the body's "error": "invalid_grant", "TOKEN_EXPIRED" */
	char message[160]; /* for people */
	/* Also when the answer was a good one: */
	char request_id[64];
	int64_t skew_ms; /* the service's clock minus ours, where they are far apart; otherwise 0 */
};
/* The service said no and will say so again: not a fault or a throttle that passes, nor a network
 * that did not let us ask. Pure. */
bool rest_refused(const struct rest_error *);
/* Reads the two forms of a refusal; header_type: x-amzn-errortype, or NULL. Pure. */
void rest_error_read(const char *body, size_t n, const char *header_type, struct rest_error *);

/* body == NULL: *why tells, with the operation, the code and the request id in it; its code is
 * ERR_AWS, ERR_LIMIT (still throttled) or a network cause. Once, from the loop. */
typedef void rest_fn(void *arg, const char *body, size_t n, const struct rest_error *,
		     const struct err *why);

struct rest_call *rest_send(struct loop *, struct http *, const struct rest_request *, rest_fn *,
			    void *arg, struct err *);
void rest_cancel(struct rest_call *); /* then the callback never comes; NULL allowed */
#endif
