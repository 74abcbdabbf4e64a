/*
 * `awsocks connect --standalone`: a whole awsocks for one connection. It gets
 * one end of a socket pair as its only client, so that rules, lazy start,
 * fallback and audit are those of every other connection. Signals end the
 * connection, not the process at once: ssh ends its ProxyCommand by SIGHUP,
 * and the session has to be terminated first.
 */
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/connect.h"
#include "cmd/awsocks/rule_slots.h"
#include "cmd/awsocks/setup.h"
#include "net/loop.h"

/* The connection is over: nothing else is waited for. */
enum { GRACE_MS = 0, SIGNALS = 3 };

static void on_signal(void *arg)
{
	struct connect_stop *stop = arg;

	if (stop->fn)
		stop->fn(stop->arg);
}

static int run(struct app *app, int fd, const struct connect_args *a, struct err *e)
{
	static const int signum[SIGNALS] = { SIGHUP, SIGINT, SIGTERM };
	struct loop_signal *signals[SIGNALS] = { NULL };
	struct connect_stop stop = { NULL, NULL };
	int result;

	for (size_t i = 0; i < SIGNALS; i++) /* without one it ends the process, as by default */
		signals[i] = signal_open(app_loop(app), signum[i], on_signal, &stop, NULL);
	result = connect_over(app_loop(app), fd, a, &stop, e);
	app_stop(app, GRACE_MS);
	app_run(app);
	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i])
			signal_close(signals[i]);
	return result;
}

static int serve(const struct setup *setup, const struct connect_args *a, struct err *e)
{
	struct app_profile_opts profile = { .name = setup->profile[0].name,
					    .options = &setup->profile[0].options };
	struct app_opts opts = { .profile = &profile,
				 .profile_count = 1,
				 .audit_path = profile.options->audit_log };
	struct app_listener_opts pair = { .name = "standalone", .router = rule_slots_router };
	struct rule_slots *rules = NULL;
	struct app *app = NULL;
	int fd, result = -1;

	/* What starts it (ssh) shares standard error with the user: no news unless asked for. */
	const struct options *o = profile.options;
	const char *level = o->origin[OPT_ID_log_level].level > LEVEL_BUILTIN ? o->log_level
									      : "warn";

	if (log_set_level(level, e) == 0 && setup_unbuilt(setup, e) == 0 &&
	    rule_slots_new(&rules, setup, e) == 0 && rule_slots_add(rules, NULL, true, e) == 0 &&
	    app_new(&app, &opts, e) == 0) {
		pair.router_arg = rule_slots_arg(rules, 0);
		if (app_serve_pair(app, &pair, &fd, e) == 0) {
			result = run(app, fd, a, e);
		} else {
			app_stop(app, GRACE_MS);
			app_run(app);
		}
	}
	rule_slots_free(rules);
	if (!app_free(app))
		command_leave(result == 0 ? 0 : command_fail(e));
	return result;
}

int connect_standalone(const struct connect_args *a, struct err *e)
{
	char **argv = mem_alloc(((size_t)a->rest_count + 2) * sizeof(*argv));
	struct setup setup = { 0 };
	int result = -1;

	if (!argv)
		return err_set(e, ERR_NOMEM, "connect");
	argv[0] = (char[]){ "connect" };
	memcpy(argv + 1, a->rest, (size_t)a->rest_count * sizeof(*argv));
	if (setup_load(&setup, a->rest_count + 1, argv, NULL, NULL, NULL, e) == 0) {
		if (setup_profiles(&setup, setup.args.positional, setup.args.count, e) == 0)
			result = serve(&setup, a, e);
		setup_free(&setup);
	}
	mem_free(argv);
	return result;
}
