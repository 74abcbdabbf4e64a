#ifndef CMD_AWSOCKS_APP_H
#define CMD_AWSOCKS_APP_H
/*
 * The running program: its workers (one loop each), the backends behind them, the
 * listeners in front, and the order in which they end.
 *
 * The AWS side of a profile (credentials, clients, websocket context, SSM
 * backend) is made when the first connection needs it, so that starting costs
 * nothing and touches nobody.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/loop.h"
#include "routing/policy.h"
#include "routing/router.h"

struct app;
struct terminal;
struct audit;
struct auth_users;
struct backend;
struct cJSON;
struct learn;
struct listen_bound;
struct options;
struct vm_setup;

/* One profile that rules may name. Texts and options are borrowed. */
struct app_profile_opts {
	const char *name; /* "" or NULL: the nameless one */
	const struct options *options;
	/* Each connection is an SSM session to a port of the instance itself (enum ssm_transport).
	 */
	bool session;
};

struct app_listener_opts {
	const char *name;
	struct addr address;
	struct listen_bound *given; /* a socket that is there already, and taken; NULL: none */
	const struct router *(*router)(void *arg); /* the rules of now; called by any worker */
	void *router_arg;
	/* For `awsocks status`: where the rules come from, as strings; NULL: not told. */
	void (*rules)(void *router_arg, struct cJSON *array);
	/* Peers that are let in, as CIDR texts; none: all. */
	const char *const *allow_from;
	size_t allow_from_count;
	/* Who has to give a password, by reference; NULL: nobody. */
	struct auth_users *users;
	/* Of a Unix socket: users of the system that are let in; none: all that its mode allows. */
	const long *allow_uid;
	size_t allow_uid_count;
	bool guarded, check_sni;              /* proxy_opts */
	int mode;                             /* of a Unix socket; 0: 0600 */
	size_t max_connections, max_per_peer; /* of this listener; 0: no limit of its own */
};

struct app_opts {
	const struct app_profile_opts *profile; /* the first is the default one */
	size_t profile_count;
	const char *audit_path;  /* NULL: none */
	uint64_t audit_max_size; /* of proxy/audit_file.h */
	unsigned audit_keep;
	struct learn *learn; /* the same; app_free() is the last to use it */
	const char *ssh_dir; /* a directory of ours alone; NULL: one is made if it is needed */
	size_t workers;      /* 1..64; 0: 1 */
	bool remote_mfa;     /* app_take_code() will be called */
	struct terminal *terminal; /* for one-time codes; NULL: opened now. app_free() before it */
	const struct vm_setup *vm; /* of --mode vm; NULL, or one without driver: no VM */
};

MUST_CHECK int app_new(struct app **, const struct app_opts *, struct err *);
/* Binds and begins to accept. An address that this host has not got yet is waited for (a VM's
 * gateway is there only while the VM runs). ERR_*: which address, and why. */
MUST_CHECK int app_listen(struct app *, const struct app_listener_opts *, struct err *);
/* The same without an address: serves one connection, whose other end is *fd. */
MUST_CHECK int app_serve_pair(struct app *, const struct app_listener_opts *, int *fd,
			      struct err *);
/* Other users for the listeners, by their number in the order of app_listen() (for those that have
 * users; NULL: the same ones). Passwords that were right are forgotten. */
MUST_CHECK int app_set_users(struct app *, struct auth_users *const *users, size_t n, struct err *);
/* Unix sockets whose path was removed are made again; those that cannot be are tried until it
 * works, and the first is told. */
MUST_CHECK int app_renew_sockets(struct app *, struct err *);
/* Makes the threads of the workers besides the caller's own. After the last app_listen(). */
MUST_CHECK int app_start_workers(struct app *, struct err *);
struct loop *app_loop(struct app *); /* of the main thread */
/* The loops of the other workers; *n of them, which may be none. */
struct loop *const *app_other_loops(struct app *, size_t *n);
/* The backend of a route, made now if need be. NULL: *e tells why there is none. */
struct backend *app_backend(struct app *, const struct route *, struct err *e);
/* Runs until app_stop() has taken effect. */
void app_run(struct app *);
/* Listeners closed, running connections given grace_ms, sessions ended, then
 * app_run() returns. A second call changes nothing. */
void app_stop(struct app *, unsigned grace_ms);
/* The one-time code that a profile waits for. ERR_USAGE: none does, or not six digits. */
MUST_CHECK int app_take_code(struct app *, const char *code, struct err *);
/* Boots the VM, if there is one. */
void app_vm_start(struct app *);
/* The same, and waited() once, from the loop. false: *e tells. */
bool app_vm_wait(struct app *, void (*waited)(void *arg, const struct err *why), void *arg,
		 struct err *);
/* "status", "start", "stop", "console" of the VM: reply gets "vm":{...}. ERR_UNSUPPORTED: there is
 * none. */
MUST_CHECK int app_vm_command(struct app *, const char *what, struct cJSON *reply, struct err *);
int app_reopen_logs(struct app *, struct err *);
/* Listeners, backends and counters, for `awsocks status`. */
void app_describe(struct app *, struct cJSON *into);
/* "name", "address", "port" of each listener, as an array. */
void app_describe_listeners(struct app *, struct cJSON *array);
/* After app_run() has returned; NULL allowed. false: see loop_free(), command_leave() is next. */
bool app_free(struct app *);
#endif
