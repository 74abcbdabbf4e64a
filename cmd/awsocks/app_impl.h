#ifndef CMD_AWSOCKS_APP_IMPL_H
#define CMD_AWSOCKS_APP_IMPL_H
/* The inside of app.h, shared by app*.c, worker.c and seat.c. */
#include "base/list.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/worker.h"

struct cJSON;
struct aws_client;
struct aws_files;
struct chooser;
struct egress;
struct file_watch;
struct http;
struct limits;
struct machine;
struct mfa;
struct limits_listener;
struct provider;
struct sso_renewals;
struct start_buckets;
struct vm_setup;
struct ws_context;

enum { APP_WATCHES = 6 };
struct app_profile {
	char name[64];
	const struct options *options;
	bool session; /* see app_profile_opts */
	char *region, *ca_file;
	struct provider *provider;
	struct aws_client *aws;
	struct backend *backend; /* NULL: not needed yet */
	/* app_creds.c's */
	struct loop *loop;
	struct file_watch *watch[APP_WATCHES];
	size_t watches;
	struct loop_timer settle; /* until what is being written is whole */
};

/* Read only while threads run, but for what says otherwise. */
struct app_listener {
	struct list node;
	struct app *app;
	char name[64];
	struct addr address;
	mode_t mode;       /* of a Unix socket */
	struct seat *seat; /* one at each worker */
	bool guarded, check_sni;
	/* worker 0's own */
	bool given;   /* its socket was passed to us */
	bool handing; /* it alone accepts, and gives connections to the others */
	struct loop_timer retry;
	int complained; /* errno of the last failure that was logged */
	struct limits_listener *limits;
	const struct router *(*router)(void *arg);
	void *router_arg;
	void (*rules)(void *router_arg, struct cJSON *array);
	struct pattern *allow; /* peers that are let in; NULL: all */
	char **allow_text;     /* as they were given */
	size_t allow_count;
	long *allow_uid; /* the same for those of a Unix socket */
	size_t allow_uid_count;
	struct auth_users *users; /* worker 0's; each proxy has its own reference. NULL: none */
};

enum app_stage {
	APP_RUNNING = 0,
	APP_QUIETING, /* until no worker hands anything over any more */
	APP_DRAINING,
	APP_CLOSING_BACKENDS,
	APP_CLOSING_NET,
	APP_CLOSING_VM, /* what is told to AWS at the end goes through it */
	APP_STOPPED
};

struct app {
	struct worker *worker[WORKERS_MAX]; /* [0] is the main thread */
	struct loop *every_loop[WORKERS_MAX];
	size_t workers;
	size_t gave_to;    /* the worker that got the last connection that worker 0 gave away */
	struct loop *loop; /* worker 0's */
	struct audit *audit;
	struct learn *learn;
	struct http *http;             /* NULL until AWS is needed */
	struct ws_context *ws;         /* the same */
	struct start_buckets *starts;  /* the same; of all profiles */
	struct sso_renewals *renewals; /* the same */
	struct egress *egress;         /* the way out to AWS; NULL: this host's, without a proxy */
	struct machine *machine;       /* the VM; NULL: none */
	struct backend *vm, *vm_aws;   /* with it: vm-direct, and AWS's, which is more patient */
	struct app_profile *profile;
	size_t profile_count;
	struct list listeners;
	enum app_stage stage;
	size_t pending; /* closings under way in this stage */
	unsigned grace_ms;
	uint64_t started_ms;
	char ssh_dir[PRIVATE_TEXT]; /* for ssh's sockets and keys; "": not needed yet */
	bool ssh_dir_ours;          /* to be removed */
	struct mfa *mfa;
	struct chooser *chooser; /* NULL: no terminal to ask on */
	struct limits *limits;   /* of all clients together */
};

/* app_aws.c */
const char *const *app_environment(void);
struct backend *app_aws_backend(struct app *, struct app_profile *, struct err *e);
/* For a region that was found out; p->backend stays what stands in. */
struct backend *app_aws_make(struct app *, struct app_profile *, const char *region, struct err *e);
/* app_region.c: stands in until the region is known. */
struct backend *app_region_backend(struct app *, struct app_profile *, struct err *e);
void app_aws_free(struct app_profile *); /* after its backend has closed */
/* app_creds.c; after the provider was made, and before it is closed */
void app_creds_watch(struct app *, struct app_profile *, const struct aws_files *,
		     const char *const *env);
void app_creds_unwatch(struct app_profile *);
void app_creds_describe(const struct app_profile *, struct cJSON *into);
/* app_listen.c */
void app_listeners_close(struct app *); /* worker 0 accepts no more */
void app_listeners_free(struct app *);  /* after their seats have closed */
/* NULL, or why not; any thread. */
const char *listener_turns_away(const struct app_listener *, int fd, const struct addr *peer);
/* app_vm.c */
MUST_CHECK int app_vm_open(struct app *, const struct vm_setup *, struct err *);
MUST_CHECK int app_vm_egress(struct app *, struct err *); /* a->egress leads through the VM */
void app_vm_close(struct app *);                          /* app_closed_one() follows */
void app_vm_describe(struct app *, struct cJSON *into);
/* app.c */
void app_closed_one(struct app *); /* one of those that this stage waits for */
void app_worker_ended(struct worker *);
#endif
