#ifndef CREDENTIALS_IMDS_TALK_H
#define CREDENTIALS_IMDS_TALK_H
/* A talk with the instance metadata service: for imds.c and imds_region.c. */
#include "base/secret.h"
#include "credentials/metadata.h"

struct http;
struct http_call;

/* text: of a 200, NUL-terminated, until return; NULL: *why tells. May end the talk. */
typedef void imds_talk_fn(void *arg, const char *text, size_t n, const struct err *why);
struct imds_talk {
	/* The user's to fill in. */
	struct http *http;
	struct imds_at at;
	const char *missing; /* what a 404 says, in words; static */
	void *arg;
	/* Its own. */
	const char *path;
	struct secret token;
	unsigned tried;
	struct http_call *sending;
	imds_talk_fn *fn;
};
/* Asks for `path` (lives as long as the talk), after a token where there is none yet. -1: *e tells,
 * and fn() never comes. One question at a time. */
MUST_CHECK int imds_talk_ask(struct imds_talk *, const char *path, imds_talk_fn *, struct err *);
/* From fn(), for an answer that makes no sense: the same question, if a try is left. -1: none is,
 * or *e tells. */
MUST_CHECK int imds_talk_repeat(struct imds_talk *, struct err *);
void imds_talk_end(struct imds_talk *); /* fn() never comes after that */
#endif
