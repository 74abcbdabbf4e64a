#ifndef LOCALAWS_SERVER_H
#define LOCALAWS_SERVER_H
/*
 * A small HTTP/1.1 server: one connection at a time is read head and body
 * whole, handed to service.c with its raw bytes (signatures are made over
 * them), and answered. Keep-alive and pipelining; Content-Length and chunked
 * bodies; size and time limits.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/http1.h"

struct stream;
struct world;

enum { SERVER_BODY_MAX = 1024 * 1024, REPLY_MAX = 8 * 1024 * 1024 };

struct request {
	const struct http1_head *head;
	struct http1_text path, query; /* as sent */
	const uint8_t *body;
	size_t body_len;
	char id[37]; /* for the reply's request id */
};
struct reply {
	int status;
	const char *type;    /* Content-Type; static */
	const char *service; /* whose clock the Date is of; static; NULL: all services' */
	struct buf body;
	const char *error_type;  /* x-amzn-ErrorType; static; NULL: none */
	uint64_t metadata_ttl_s; /* of the token, as IMDSv2 tells it; 0: not said */
	bool json_id;            /* name the id header as JSON services do */
	/* A websocket upgrade was accepted: for this session. */
	bool upgrade;
	char session_id[128];
};

/* Takes the stream. */
void server_serve(struct world *, struct stream *);
void server_abort(struct world *); /* cuts all connections that are not websockets */
#endif
