#ifndef SSM_SSH_MASTER_H
#define SSM_SSH_MASTER_H
/*
 * One OpenSSH master: an SSM session to the instance's sshd (ssh_carrier.h), an ssh process on it,
 * and our channels through that process.
 *
 *   sshd <== SSM session ==> relay <== Unix socket ==> ssh <== control socket ==> ssh_mux
 *
 *   session and key -> ssh started -> logged in -> ready -> over
 *
 * ssh gets the Unix socket by ProxyUseFdpass: its ProxyCommand, a hidden command of ours, connects
 * to a socket in our private directory and hands the connection over. Key file, control socket and
 * that socket live in that directory (0700).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/ssm.h"
#include "backend/ssm/session.h"
#include "backend/ssm/ssh_carrier.h"
#include "backend/ssm/ssh_mux.h"
#include "base/err.h"

struct cJSON;
struct ssh_master;

/* Which keys ssh may use. */
enum ssh_auth {
	SSH_AUTH_PUSHED = 0, /* a new one, given to the instance by EC2 Instance Connect */
	SSH_AUTH_FILE,       /* `key`, from the file or the agent */
	SSH_AUTH_OWN         /* what ~/.ssh/config, the agent and ssh's defaults give */
};
struct ssh_env { /* what all masters of a backend share; outlives them */
	const struct session_env *session;
	const char *dir;         /* exists, 0700, short */
	const char *known_hosts; /* file */
	const char *helper;      /* this program */
	const char *user;        /* NULL: ec2-user, or with SSH_AUTH_OWN as ssh decides */
	const char *key;         /* file */
	const char *eic_endpoint;
	char zone[32]; /* of the instance; "": not known */
	uint16_t port; /* of sshd */
	bool compression;
	enum ssh_auth auth;         /* PUSHED becomes OWN when pushing is refused */
	enum ssm_document document; /* AUTO becomes PORT when the other is refused */
	unsigned made;              /* masters so far: their files' names */
	struct ssh_carriers carriers;
};

struct ssh_master_handler {
	void (*ready)(void *arg);   /* dials go through; once */
	void (*changed)(void *arg); /* ssh_master_streams() or _lost() may have changed */
	/* It takes no more dials; its streams end with that error by themselves. Once; not after
	 * ssh_master_end(). aws_code: of a refused StartSession, else "". */
	void (*ended)(void *arg, const struct err *why, const char *aws_code);
	void (*freed)(void *arg); /* the last call */
};

/* Begins at once. share: on a session that is there, if one takes more. NULL: *e tells. */
struct ssh_master *ssh_master_new(struct ssh_env *, const struct ssh_master_handler *, void *arg,
				  bool share, struct err *e);
void ssh_master_end(struct ssh_master *); /* AWS is told, if its session ends; freed() follows */

/* See ssh_mux_dial(); only when ready. */
struct ssh_dial *ssh_master_dial(struct ssh_master *, const char *host, uint16_t port,
				 ssh_dialed_fn *, void *arg, struct err *e);
bool ssh_master_ready(const struct ssh_master *); /* and not over */
bool ssh_master_away(const struct ssh_master *);  /* its session is, see session_away() */
bool ssh_master_lost(const struct ssh_master *);  /* its websocket is being renewed */
size_t ssh_master_streams(const struct ssh_master *);
void ssh_master_counts(const struct ssh_master *, uint64_t *up, uint64_t *down);
const char *ssh_master_session(const struct ssh_master *); /* id */
void ssh_master_describe(const struct ssh_master *, struct cJSON *into);
#endif
