#ifndef SSM_SSH_CARRIER_H
#define SSM_SSH_CARRIER_H
/*
 * The SSM sessions that SSH connections travel on.
 *
 * A raw session (AWS-StartSSHSession) is one connection to sshd, and ends with it. A mux session
 * (AWS-StartPortForwardingSession) carries several, one behind the other or side by side: who
 * joins one that is there costs no StartSession. So it stays for a moment when its last rider has
 * left, for the next one.
 */
#include <stdbool.h>

#include "backend/ssm/session.h"
#include "base/list.h"
#include "net/loop.h"

struct ssh_carrier;
struct ssh_env;

/* All of a backend's; in its ssh_env. */
struct ssh_carriers {
	struct list all; /* struct ssh_carrier.node */
	bool closing;
	void (*none)(void *arg); /* the last has gone, and AWS knows */
	void *arg;
};

struct ssh_rider_handler {
	void (*active)(void *arg);  /* ssh_rider_stream() can be called; once */
	void (*refused)(void *arg); /* sshd was not there for its stream */
	void (*changed)(void *arg); /* session_lost() may have changed */
	/* The session is over; its stream ends by itself. raw: it had that one connection alone. */
	void (*ended)(void *arg, const struct err *why, const char *aws_code, bool raw);
};
struct ssh_rider { /* the caller's memory, all zero */
	struct list node;
	struct ssh_carrier *carrier; /* NULL: on none */
	const struct ssh_rider_handler *handler;
	void *arg;
	struct stream *stream;
	struct loop_post post;
};

void ssh_carriers_init(struct ssh_carriers *, void (*none)(void *arg), void *arg);
/* Each ends when its riders have left; none() follows, unless there is none. */
void ssh_carriers_close(struct ssh_carriers *);
void ssh_carriers_drop(struct ssh_carriers *); /* now; AWS may not hear of it */

/* share: on a session with others, if one takes more. Calls back from the loop only. */
MUST_CHECK int ssh_rider_join(struct ssh_env *, struct ssh_rider *,
			      const struct ssh_rider_handler *, void *arg, bool share,
			      struct err *);
void ssh_rider_leave(struct ssh_rider *); /* no more callbacks; idempotent */
struct stream *ssh_rider_stream(struct ssh_rider *, struct err *); /* to sshd; once */
/* NULL: the session is over, or it has left. */
struct session *ssh_rider_session(const struct ssh_rider *);
#endif
