#ifndef CREDENTIALS_SIGV4_H
#define CREDENTIALS_SIGV4_H
/*
 * AWS Signature Version 4, pure. Source: "Create a signed AWS API request",
 * IAM User Guide; proven by AWS's published test suite (tests/golden/sigv4).
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

struct creds;

struct sigv4_request {
	const char *method;
	const char *path;  /* as it is sent: percent-encoded, "/" when empty */
	const char *query; /* as it is sent, without '?'; NULL or "" for none */
	/* Signed, all of them; host must be among them, x-amz-date and
	 * x-amz-security-token are added by sigv4_sign(). */
	const struct http_header *headers;
	size_t header_count;
	const void *body;
	size_t body_len;
	const char *region, *service;
	int64_t wall_ms;
	bool double_encode_path; /* true for every service but s3 */
	bool normalize_path;     /* true for every service but s3 */
	/* A websocket upgrade's query: canonicalised as a form parser reads it (raw '+' is a
	 * space), because the URL itself is sent verbatim. */
	bool query_as_form;
};

struct sigv4_result {
	char amz_date[17];
	char *authorization; /* header value */
	char *canonical;     /* canonical request; for tests, --explain and the emulator */
	char *string_to_sign;
	char signature[65];
};

/* 0: *out is the caller's, to be freed with sigv4_result_free(). */
MUST_CHECK int sigv4_sign(const struct sigv4_request *, const struct creds *,
			  struct sigv4_result *out, struct err *);
void sigv4_result_free(struct sigv4_result *);
#endif
