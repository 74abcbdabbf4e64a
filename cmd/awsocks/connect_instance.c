/*
 * `awsocks connect i-0abc 22`: standard input and output to a port of the instance, by an SSM
 * session of its own. No proxy is asked, no rule and no other host is involved: it is what AWS's
 * own ProxyCommand does, without its program.
 */
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/str.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/connect.h"
#include "cmd/awsocks/in_process.h"
#include "cmd/awsocks/setup.h"
#include "ec2/instance.h"
#include "net/relay.h"
#include "net/stdio_stream.h"
#include "stream/stream.h"

struct tunnel {
	struct app *app;
	const struct connect_args *args;
	struct dial *dial;
	struct net_relay *relay;
	bool stopping, signalled;
	struct err err;
};

bool connect_names_instance(const char *host)
{
	return ec2_is_id(host);
}

static void stop(struct tunnel *t)
{
	if (t->stopping)
		return;
	t->stopping = true;
	app_stop(t->app, 0);
}

static void on_signal(void *arg)
{
	struct tunnel *t = arg;

	t->signalled = true;
	backend_cancel(t->dial);
	t->dial = NULL;
	if (t->relay)
		net_relay_abort(t->relay);
	else
		stop(t);
}

static void on_relayed(void *arg, const struct relay_result *r)
{
	struct tunnel *t = arg;

	t->relay = NULL;
	if (r->down == 0)
		(void)err_set(&t->err, ERR_TARGET, "nothing answers at port %u of %s%s%s",
			      t->args->port, t->args->host, r->why ? ": " : "",
			      r->why ? r->why->msg : "");
	else if (r->why && !t->signalled)
		t->err = *r->why;
	stop(t);
}

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct tunnel *t = arg;
	struct stream *stdio = NULL;

	t->dial = NULL;
	if (!d) {
		t->err = *why;
		stop(t);
		return;
	}
	stdio = stdio_stream_new(app_loop(t->app), STDIN_FILENO, STDOUT_FILENO, &t->err);
	if (stdio) /* when the session ends there is nobody left to send to */
		stdio_stream_end_together(stdio);
	if (stdio)
		t->relay = net_relay_start(app_loop(t->app), stdio, d->stream, NULL, 0, on_relayed,
					   t);
	if (t->relay)
		return;
	if (stdio) {
		(void)err_set(&t->err, ERR_NOMEM, "relay");
		stream_close(stdio);
	}
	stream_close(d->stream);
	stop(t);
}

static void run(struct tunnel *t)
{
	struct end_signals signals;
	struct dest dest = { .host = "localhost", .port = t->args->port };
	struct route route = { .kind = ROUTE_PROXY };
	struct backend *b = app_backend(t->app, &route, &t->err);

	end_signals_open(&signals, app_loop(t->app), on_signal, t);
	if (b)
		t->dial = backend_dial(b, &dest, on_dialed, t, &t->err);
	if (!t->dial)
		stop(t);
	app_run(t->app);
	end_signals_close(&signals);
}

static int serve(const struct setup *setup, const struct connect_args *a, struct err *e)
{
	struct options o = setup->profile[0].options; /* its texts stay the setup's */
	struct app_profile_opts profile = { setup->profile[0].name, &o, true };
	struct app_opts opts = { .profile = &profile, .profile_count = 1 };
	struct tunnel t = { .args = a };

	o.instance_id = (char *)(uintptr_t)a->host; /* not written to */
	o.name = NULL;
	if (app_new(&t.app, &opts, e) != 0)
		return -1;
	run(&t);
	if (!app_free(t.app))
		command_leave(t.err.code == ERR_NONE ? 0 : command_fail(&t.err));
	if (t.err.code == ERR_NONE)
		return 0;
	*e = t.err;
	return -1;
}

int connect_instance(const struct connect_args *a, struct err *e)
{
	return in_process(a, serve, e);
}
