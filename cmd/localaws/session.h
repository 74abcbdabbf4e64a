#ifndef LOCALAWS_SESSION_H
#define LOCALAWS_SESSION_H
/*
 * Sessions, as the message gateway sees them: two legs, the client's
 * websocket (gateway.c) and the built-in agent (agent.c), joined by two lines
 * with faults on them.
 *
 *   leg --to_agent line--> agent        agent --to_client line--> leg
 *
 * A message whose far leg is absent is lost, and its sender is told to pause.
 * A session outlives its websocket until it is terminated, idles out, or its
 * agent ends it; then channel_closed goes to the client.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "cmd/localaws/line.h"
#include "net/loop.h"

struct agent;
struct leg;
struct world;

enum {
	SESSION_ID = 97,
	SESSION_TOKEN = 128,
	SESSION_TARGET = 128,
	SESSION_HOST = 256,
	SESSION_OWNER = 512,
	SESSION_REASON = 4 * 256 + 1, /* 256 characters */
};

enum session_kind { SESSION_SSH = 0, SESSION_PORT, SESSION_REMOTE_HOST };
struct session_params {
	enum session_kind kind;
	const char *document; /* its name; static */
	char target[SESSION_TARGET];
	char account[16]; /* whose it is */
	char host[SESSION_HOST];
	char port[8], local_port[8];
	char owner[SESSION_OWNER], reason[SESSION_REASON];
};
/* One session as it is told of; valid in the callback only. */
struct session_note {
	const char *id, *status;
	const struct session_params *params;
	int64_t began_ms, ended_ms; /* wall clock; 0: it lives */
};

struct session {
	struct list node;
	struct world *w;
	char id[SESSION_ID], token[SESSION_TOKEN], url_query[80];
	bool token_good; /* not used yet */
	uint64_t token_ms;
	bool was_open, ended;
	int64_t began_ms; /* wall clock */
	struct session_params params;
	struct leg *leg;
	struct agent *agent;
	struct line to_agent, to_client;
	struct loop_timer start, idle;
	uint64_t input_ms; /* when the client said something last */
	struct loop_post end_post;
	char output[320];
};

struct sessions;
struct sessions *sessions_new(struct world *, struct err *);
void sessions_free(struct sessions *); /* ends all of them, without a word to the clients */

/* The agent appears a little later. owner: the caller's name, the id's first part. */
struct session *session_start(struct world *, const struct session_params *, const char *owner,
			      struct err *);
struct session *session_find(struct world *, const char *id);
bool session_is_over(struct world *, const char *id); /* known, but ended */
/* Those that live, or the last thousand that ended; the newest first. */
void sessions_list(struct world *, bool live, void (*each)(void *, const struct session_note *),
		   void *arg);
void session_new_token(struct session *); /* ResumeSession */
bool session_takes(const struct session *, const char *token);
/* "ws://127.0.0.1:1/v1/data-channel/ID?role=publish_subscribe&cell-number=..."; the last
 * part has raw '+' and '/', as the service's has. */
void session_url(const struct session *, char *out, size_t size);

/* From the gateway: a client with the right token; its messages; its loss. An older leg
 * is closed. */
void session_join(struct session *, struct leg *);
void session_from_client(struct session *, const uint8_t *p, size_t n);
bool session_full(const struct session *); /* stop reading the client */
void session_room_again(struct session *); /* the leg has room again */
void session_leave(struct session *, struct leg *);

/* From the agent. */
void session_from_agent(struct session *, const uint8_t *p, size_t n);
bool session_room(const struct session *);  /* a leg is there and takes more */
bool session_reads(const struct session *); /* no leg, or one that takes more */
void session_emptied(struct session *);     /* no longer full */

/* Ends it, soon; output: the reason for the client's user, "" for none. */
void session_end(struct session *, const char *output);
/* Those of an instance that goes away. */
void sessions_end_of(struct world *, const char *target);
#endif
