#ifndef SSM_SESSION_H
#define SSM_SESSION_H
/*
 * One SSM session to one host:port (or to the instance's sshd), from StartSession to
 * TerminateSession:
 *
 *   starting -> connecting -> handshake -> active <-> lost -> resuming
 *                                            |                   |
 *                                          ending -> terminating -> dead
 *
 * It owns the websocket, the channel on it, and the streams on that. A
 * websocket that drops is resumed (ResumeSession, a new signature, the same
 * numbers) while the streams wait; a session that is really gone ends them
 * with the reason.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/ssm/api.h"
#include "backend/ssm/smux.h"
#include "base/err.h"

struct cJSON;
struct loop;
struct session;
struct start_bucket;
struct stream;
struct ws_context;

struct session_env { /* what all sessions of a backend share; outlives them */
	struct loop *loop;
	struct ws_context *ws;
	struct api api;
	const char *target;    /* instance id */
	const char *client_id; /* UUID, one per backend */
	const char *ca_file;
	bool no_sign;
	struct start_bucket *starts; /* NULL: StartSession is called at once */
	/* Why StartSession is asked again and again now; code ERR_NONE: it is not. May be NULL. */
	struct err *held;
	/* Called when StartSession says so, which is then asked again, for what target is by then.
	 * May be NULL. It must not end a session. */
	void (*not_connected)(void *arg);
	void *not_connected_arg;
	/* An instance that was just started: until then it is asked again and again, also beyond
	 * the limit of a StartSession. Of the loop's clock; 0: not. */
	uint64_t patient_until_ms;
	size_t payload_size;
	unsigned stream_idle_ms, gap_limit_ms;
	unsigned keep_alive_ms; /* 0: none is sent */
};

/* What it is to reach: which document, and how its bytes are used. */
struct session_goal {
	enum api_document document;
	const char *host; /* "localhost" where the document has none; copied */
	uint16_t port;
};

struct session_handler {
	void (*active)(void *arg); /* streams can be opened now; once */
	void (*decided)(void *arg, struct stream *, enum smux_fate);
	void (*acked)(void *arg);   /* session_syn_acked() may have changed */
	void (*changed)(void *arg); /* session_streams(), _usable() or _lost() may have changed */
	/* It takes no more streams; once. why: NULL after session_end(). The streams
	 * it has end with that error by themselves. */
	void (*ended)(void *arg, const struct err *why);
	void (*freed)(void *arg); /* the last call; comes after ended */
};

/* Begins at once. Calls back from the loop only. NULL: *e tells. */
struct session *session_new(const struct session_env *, const struct session_goal *,
			    const struct session_handler *, void *arg, struct err *e);
/* Ends it politely: AWS is told by flag or call, at most for some seconds; streams
 * still there are closed with ERR_CLOSED. Idempotent. freed() follows when
 * the last of them has been closed by its owner. */
void session_end(struct session *);
/* Ends it now; AWS may not hear of it. freed() follows as above. */
void session_drop(struct session *);

/* See smux_open(). Of an SSH session there is one, once; what has come before waits in it. */
struct stream *session_stream(struct session *, struct err *e);
bool session_syn_acked(const struct session *, const struct stream *);
bool session_active(const struct session *);
bool session_usable(const struct session *); /* active, not lost, and no reader holds it up */
bool session_slow(const struct session *);   /* it works, but others are a better choice */
bool session_lost(const struct session *);   /* its websocket is being renewed */
/* ... and the first try was in vain, or takes long: others should take its place meanwhile. */
bool session_away(const struct session *);
size_t session_streams(const struct session *);
size_t session_moving(const struct session *);  /* those that moved bytes in the last second */
uint64_t session_moved(const struct session *); /* payload bytes so far, both ways */
unsigned session_srtt_ms(const struct session *);
/* AWS's code of why StartSession was refused, "" otherwise. */
const char *session_aws_code(const struct session *);
/* Was that because the document does not exist for us, or is not allowed? Another one may be. */
bool session_document_refused(const struct session *);
/* Is StartSession being asked again (the instance is not connected yet, or AWS has had enough of
 * it)? Then *why is the last answer. */
bool session_held(const struct session_env *, struct err *why);
const char *session_id(const struct session *); /* "" before StartSession's reply */
void session_describe(const struct session *, struct cJSON *into);
/* An error for a session that ended with this Output (its text for people). */
void session_output_error(const char *output, struct err *e);
#endif
