#ifndef SSM_IMPL_H
#define SSM_IMPL_H
/* What the files of the backend share: backend.c, dials.c, steps.c, target.c, lifecycle.c ... */
#include "backend/backend_impl.h"
#include "backend/ssm.h"
#include "backend/ssm/lifecycle.h"
#include "backend/ssm/session.h"
#include "backend/ssm/start_buckets.h"
#include "backend/ssm/ssh_master.h"
#include "backend/ssm/state.h"
#include "base/list.h"
#include "net/loop.h"

/* Texts of ssm_ssh_opts, in this order. */
enum {
	SSH_TEXT_DIR = 0,
	SSH_TEXT_HOSTS,
	SSH_TEXT_HELPER,
	SSH_TEXT_EIC,
	SSH_TEXT_USER,
	SSH_TEXT_KEY,
	SSH_TEXTS
};

/* What the user said about the instance; nothing besides an id counts. */
struct ssm_query {
	char *id, *name, *group, *address, **filter;
	size_t filter_count;
	struct ec2_query as_asked; /* of these texts */
	char text[EC2_QUERY_TEXT]; /* "named 'web'" */
};

struct ssm {
	struct backend base;
	struct loop *loop;
	struct session_env env;
	struct start_buckets *shared_starts; /* NULL: none */
	struct err held;                     /* see session_held() */
	struct start_bucket own_starts;      /* until it is known whose the calls are */
	char *region, *ssm_endpoint, *ssmmessages, *ec2_endpoint, *ca_file;
	char target[404], client_id[37];
	struct ssm_query query;
	struct lifecycle life;
	struct ec2_instance *choices; /* while the user is asked */
	size_t choice_count;
	ssm_choose_fn *choose;
	void *choose_arg;
	unsigned dial_ms, dials_max, dials;
	struct fsm fsm;
	struct loop_timer limit, lone_limit, init_limit;
	unsigned init_limit_ms; /* of the first initialisation */
	struct loop_post wake;
	struct list queue; /* struct ssm_dial.node */
	struct pool *pool;
	struct ssh_pool *ssh; /* NULL: port sessions only */
	struct ssh_env ssh_env;
	struct list lones; /* struct lone.node */
	char *ssh_text[SSH_TEXTS];
	enum ssm_transport transport;
	bool by_ssh;         /* what new dials take */
	struct err port_why; /* AUTO: why not port sessions; code ERR_NONE: they do */
	bool told_transport, told_full;
	unsigned step; /* attempt of the step that is under way */
	struct provider_call *asking;
	struct ec2_call *looking;
	struct ec2_call *relooking; /* see ssm_relook() */
	uint64_t relook_ms;         /* not before */
	struct api_call *call;
	uint64_t init_ms, next_try_ms;
	void (*started)(void *arg, const struct err *);
	void *started_arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct ssm_dial {
	struct dial base;
	struct list node; /* in the queue */
	struct ssm *ssm;
	struct pool_dial *pool;    /* handed over */
	struct ssh_pool_dial *ssh; /* the same */
	struct lone *lone;         /* the same */
	bool by_ssh;
	struct loop_timer limit;
	struct loop_post post; /* to tell of a failure */
	uint64_t end_ms;
	uint16_t port;
	struct err why;
	char host[256];
};

/* dials.c: from the public call to the pool, by the queue while there is no session to be had. */
struct dial *ssm_dial(struct backend *, const struct dest *, dialed_fn *, void *arg, struct err *);
void ssm_cancel(struct dial *);
void ssm_hand_over(struct ssm *); /* all that wait: to the pool */
void ssm_fail_queue(struct ssm *, const struct err *);
void ssm_want_wake(struct ssm *);
bool ssm_takes_dials(const struct ssm *);

/* lone.c: SSM_SESSION, a session for each dial. done() as of a pool. */
struct lone *lone_dial(struct ssm *, uint16_t port, unsigned limit_ms,
		       void (*done)(void *arg, struct stream *, const char *session_id,
				    const struct err *why),
		       void *arg, struct err *);
void lone_cancel(struct lone *); /* then done() never comes */
void lones_end(struct ssm *);
void lones_drop(struct ssm *);

/* ssh_choice.c: which transport. */
MUST_CHECK int ssm_ssh_new(struct ssm *, const struct ssm_opts *, struct err *);
void ssm_ssh_free(struct ssm *); /* its texts */
/* A port session failed: does SSH take over, from now on? Then dials go there. */
bool ssm_switch_to_ssh(struct ssm *, const struct err *why, const char *aws_code);
/* A port session failed, and SSH would take over if it were allowed to: says so in *why. */
void ssm_name_other_way(const struct ssm *, const char *aws_code, struct err *why);
bool ssm_dial_by_ssh(struct ssm *, const char *host, uint16_t port);
bool ssm_lost(const struct ssm *);
bool ssm_alive(const struct ssm *);
const char *ssm_transport_name(const struct ssm *);
void ssm_tell_transport(struct ssm *); /* the log, once */
/* What concerns one destination, and not the instance or AWS. */
bool ssm_is_of_one_host(enum err_code);

/* target.c: which instance. */
MUST_CHECK int ssm_target_new(struct ssm *, const struct ssm_opts *, struct err *);
void ssm_target_free(struct ssm *);
void ssm_look(struct ssm *, unsigned attempt); /* FSM_INSTANCE */
/* A session waits, since the instance is not connected: which one is meant now is asked for beside
 * it, now and then, and who waits is served by that. Nothing to do for a mere id. */
void ssm_relook(void *ssm);
void ssm_stop_relook(struct ssm *);

/* steps.c */
extern const struct fsm_owner ssm_steps;
void ssm_use_bucket(struct ssm *, const struct creds *); /* that of their account */
void ssm_stop_step(struct ssm *);
/* GetConnectionStatus is forbidden to us, or unknown to an emulator. */
bool ssm_may_not_ask(const char *aws_code);
void ssm_tell_started(struct ssm *, const struct err *why);

/* backend.c */
void ssm_pool_changed(struct ssm *);
void ssm_free_if_over(struct ssm *); /* closed, and nobody needs it any more */
#endif
