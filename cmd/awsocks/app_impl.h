#ifndef CMD_AWSOCKS_APP_IMPL_H
#define CMD_AWSOCKS_APP_IMPL_H
/* The inside of app.h, shared by app.c, app_aws.c and app_listen.c. */
#include "base/list.h"
#include "cmd/awsocks/app.h"

struct aws_client;
struct chooser;
struct host_guard;
struct http;
struct limits;
struct limits_listener;
struct listen_socket;
struct provider;
struct proxy;
struct ws_context;

struct app_profile {
	char name[64];
	const struct options *options;
	char *region, *ca_file;
	struct provider *provider;
	struct aws_client *aws;
	struct backend *backend; /* NULL: not needed yet */
};

struct app_listener {
	struct list node;
	struct app *app;
	char name[64];
	struct addr address;
	mode_t mode;                  /* of a Unix socket */
	struct listen_socket *socket; /* NULL: the address is not there yet */
	struct loop_timer retry;
	int complained; /* errno of the last failure that was logged */
	struct limits_listener *limits;
	struct proxy *proxy;
	const struct router *(*router)(void *arg);
	void *router_arg;
	struct pattern *allow; /* peers that are let in; NULL: all */
	size_t allow_count;
};

enum app_stage {
	APP_RUNNING = 0,
	APP_DRAINING,
	APP_CLOSING_BACKENDS,
	APP_CLOSING_NET,
	APP_STOPPED
};

struct app {
	struct loop *loop;
	struct audit *audit;
	struct backend *direct;
	struct host_guard *guard; /* of the guarded listeners */
	struct http *http;        /* NULL until AWS is needed */
	struct ws_context *ws;    /* the same */
	struct app_profile *profile;
	size_t profile_count;
	struct list listeners;
	enum app_stage stage;
	size_t pending; /* closings under way in this stage */
	uint64_t started_ms, accepted;
	struct chooser *chooser; /* NULL: no terminal to ask on */
	struct limits *limits;   /* of all clients together */
};

/* app_aws.c */
struct backend *app_aws_backend(struct app *, struct app_profile *, struct err *e);
void app_aws_free(struct app_profile *); /* after its backend has closed */
/* app_listen.c */
size_t app_listeners_close(struct app *,
			   unsigned grace_ms); /* how many will call app_closed_one() */
/* app.c */
void app_closed_one(struct app *); /* one of those that this stage waits for */
#endif
