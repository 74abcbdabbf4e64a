/*
 * `awsocks connect --standalone`: a whole awsocks for one connection. It gets
 * one end of a socket pair as its only client, so that rules, lazy start,
 * fallback and audit are those of every other connection.
 */
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/connect.h"
#include "cmd/awsocks/in_process.h"
#include "cmd/awsocks/rule_slots.h"
#include "cmd/awsocks/setup.h"
#include "net/loop.h"

/* The connection is over: nothing else is waited for. */
enum { GRACE_MS = 0 };

static void on_signal(void *arg)
{
	struct connect_stop *stop = arg;

	if (stop->fn)
		stop->fn(stop->arg);
}

static int run(struct app *app, int fd, const struct connect_args *a, struct err *e)
{
	struct connect_stop stop = { NULL, NULL };
	struct end_signals signals;
	int result;

	end_signals_open(&signals, app_loop(app), on_signal, &stop);
	result = connect_over(app_loop(app), fd, a, &stop, e);
	app_stop(app, GRACE_MS);
	app_run(app);
	end_signals_close(&signals);
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

	if (setup_unbuilt(setup, e) == 0 && rule_slots_new(&rules, setup, e) == 0 &&
	    rule_slots_add(rules, NULL, true, true, e) == 0 && app_new(&app, &opts, e) == 0) {
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
	return in_process(a, serve, e);
}
