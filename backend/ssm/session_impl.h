#ifndef SSM_SESSION_IMPL_H
#define SSM_SESSION_IMPL_H
/* What the files of a session (session*.c) share. Everyone else includes session.h. */
#include "backend/ssm/session.h"
#include "base/secret.h"
#include "net/loop.h"

enum { SESSION_OUTPUT_MAX = 512 };

enum session_state {
	SESSION_STARTING = 0,
	SESSION_CONNECTING,
	SESSION_HANDSHAKE,
	SESSION_ACTIVE,
	SESSION_LOST,         /* a pause before the next try to resume */
	SESSION_RESUMING,     /* ResumeSession is under way */
	SESSION_RECONNECTING, /* the new websocket is being opened */
	SESSION_ENDING,       /* the agent has been asked to end */
	SESSION_TERMINATING,  /* AWS has been asked to */
	SESSION_DEAD,
	SESSION_STATE_COUNT
};

struct link {                    /* one websocket */
	struct session *session; /* NULL: abandoned */
	struct ws *ws;
	bool open;
};

struct session {
	const struct session_env *env;
	const struct session_handler *handler;
	void *arg;
	enum session_state state;
	char host[256], id[API_ID_MAX], label[400], aws_code[64];
	enum api_document document;
	uint16_t port;
	struct stream *raw; /* of an SSH session, until it is taken */
	char url[API_URL_MAX];
	struct secret token;
	struct channel *channel;
	struct smux *mux;
	struct link *link;
	struct api_call *call;
	struct provider_call *asking;
	struct loop_timer limit, tick, nop;
	struct loop_timer turn; /* to call StartSession */
	struct loop_post post;
	struct err last;   /* why the websocket was lost */
	uint64_t lost_ms;  /* 0: all is well */
	uint64_t begun_ms; /* the handshake */
	uint64_t active_ms;
	uint64_t flooded_ms;           /* since then too many acknowledgements wait; 0: no */
	struct {                       /* session_health.c: does it carry, or only acknowledge? */
		uint64_t asked_ms;     /* the question is open since then; 0: none is */
		uint64_t settled_ms;   /* since then the agent has nothing else to do */
		uint64_t again_ms;     /* not before that, unless a stream was opened */
		uint64_t up, heard_up; /* bytes sent: at the question, at the last frame */
		unsigned pause_ms;
		uint32_t opened; /* smux_opened() at the last answer */
		bool full;       /* the agent may hold as much as it can */
	} pulse;
	unsigned tries; /* of ResumeSession */
	unsigned asks;  /* of StartSession, before the instance was connected */
	char output[SESSION_OUTPUT_MAX];
	bool closed; /* channel_closed came */
	bool told_ended, told_usable, told_away, end_wanted, was_active;
	bool resume_refused; /* AWS's last word about ResumeSession was no */
};

/* session.c */
void session_go(struct session *, enum session_state);
void session_kick(struct session *); /* work to do, on a later turn */
/* It can carry nothing any more: everyone is told, AWS too where it does not know. */
void session_fail(struct session *, const struct err *why);
/* The websocket is gone, the session perhaps not. */
void session_lost_link(struct session *, const struct err *why);

/* session_parts.c */
MUST_CHECK int session_make_parts(struct session *, struct err *);

/* session_calls.c: what is begun when a state is entered. */
void session_enter_starting(struct session *);
void session_enter_lost(struct session *);
void session_enter_resuming(struct session *);
void session_enter_terminating(struct session *);

/* session_health.c */
void session_mind_reading(struct session *);
void session_mind_health(struct session *); /* may end or lose it */
void session_mind_flood(struct session *);
bool session_suspect(const struct session *); /* it may be dead, and alive it would answer */
uint64_t session_health_next(const struct session *); /* monotonic ms */

/* session_link.c: the websocket. */
void session_connect(struct session *); /* then HANDSHAKE or ACTIVE, or a failure */
void session_close_link(struct session *);
void session_stop_waiting(struct session *); /* for replies that are under way */
#endif
