#ifndef SSM_SSH_MASTER_IMPL_H
#define SSM_SSH_MASTER_IMPL_H
/* What ssh_master.c and ssh_login.c share. Everyone else includes ssh_master.h. */
#include "backend/ssm/ssh_master.h"
#include "net/loop.h"

enum { SSH_SUN_PATH = 104 }; /* of the shortest system */
#define SSH_USER_DEFAULT "ec2-user"

struct ssh_master {
	struct ssh_env *env;
	struct loop *loop;
	const struct ssh_master_handler *handler;
	void *arg;
	struct ssh_rider rider;
	bool share, session_up, key_there, key_file;
	enum ssh_auth auth;
	struct eic_call *push;
	struct listen_socket *listener;
	struct relay *relay;
	struct process *ssh;
	struct net_dial *dialing;
	struct ssh_mux *mux;
	struct loop_timer limit, look;
	struct loop_post post;
	bool ready, dying, over, told, silent;
	bool unanswered; /* why: no SSH server, unless ssh knows better */
	struct err why;
	char aws_code[64];
	char control[SSH_SUN_PATH], carrier[SSH_SUN_PATH], key[SSH_SUN_PATH];
};

/* ssh_master.c */
void ssh_master_give_up(struct ssh_master *, const struct err *why); /* ends what is left */
/* ssh is about to end, and will say why. */
void ssh_master_await_words(struct ssh_master *, const struct err *why);
void ssh_master_remove_key(struct ssh_master *);
void ssh_master_kick(struct ssh_master *); /* something has gone: is all of it over? */

/* ssh_login.c: ssh is started once session and key are there. */
void ssh_master_login(struct ssh_master *);
#endif
