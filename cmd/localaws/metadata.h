#ifndef LOCALAWS_METADATA_H
#define LOCALAWS_METADATA_H
/*
 * What a machine finds beside AWS's APIs: the instance metadata service
 * (version 2) below /latest/, and the credentials of a container, of ECS at
 * /v2/credentials/ and of EKS pod identity (with a token) at /v1/credentials.
 */
#include <stdbool.h>
#include <stddef.h>

struct key;
struct reply;
struct request;
struct world;

/* True: this path is ours, and *r is filled. */
bool metadata_handle(struct world *, const struct request *, struct reply *);

/* The tokens that were given out; the oldest go first. */
enum { METADATA_TOKENS = 64, METADATA_TOKEN_TEXT = 57 };
struct metadata {
	struct {
		char text[METADATA_TOKEN_TEXT];
		long long until_ms; /* monotonic */
	} token[METADATA_TOKENS];
	size_t next;
	char key_id[2][32]; /* what the instance's and the container's role have now */
};
#endif
