/* `awsocks doctor`: a session of the document that the transport needs, and its data channel. */
#include <string.h>

#include "backend/ssm/session.h"
#include "base/random.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/doctor_impl.h"
#include "cmd/awsocks/in_process.h"
#include "config/options.h"
#include "credentials/aws_error.h"
#include "net/ws.h"

enum { SSH_PORT = 22, END_MS = 3000 };

static void on_active(void *arg)
{
	struct doctor *d = arg;

	d->session_was_active = true;
	session_end(d->session);
}

static void on_decided(void *arg, struct stream *s, enum smux_fate fate)
{
	(void)arg;
	(void)s;
	(void)fate;
}

static void on_nothing(void *arg)
{
	(void)arg;
}

static void on_ended(void *arg, const struct err *why)
{
	struct doctor *d = arg;

	if (d->held.code != ERR_NONE)
		why = &d->held;
	d->session_was_begun = *session_id(d->session);
	aws_side_done(&d->aws, session_aws_code(d->session), d->session_was_active ? NULL : why);
}

/* A session waits for its instance for minutes; here the first answer counts. */
static void end_session(void *arg)
{
	struct doctor *d = arg;

	session_end(d->session);
}

static void on_not_connected(void *arg)
{
	struct doctor *d = arg;

	loop_post(d->aws.loop, &d->end, end_session, d);
}

static void on_end_limit(void *arg)
{
	struct doctor *d = arg;

	session_drop(d->session);
}

/* AWS is told that the session is over; when asked twice, a person waits. */
static void on_signal(void *arg)
{
	struct doctor *d = arg;

	if (!d->session)
		return;
	if (d->interrupted) {
		session_drop(d->session);
		return;
	}
	d->interrupted = true;
	timer_arm(d->aws.loop, &d->end_limit, END_MS, on_end_limit, d);
	session_end(d->session);
}

static void on_freed(void *arg)
{
	struct doctor *d = arg;

	loop_unpost(&d->end);
	timer_disarm(d->aws.loop, &d->end_limit);
	d->session = NULL;
	loop_stop(d->aws.loop);
}

static const struct session_handler handler = {
	.active = on_active,
	.decided = on_decided,
	.acked = on_nothing,
	.changed = on_nothing,
	.ended = on_ended,
	.freed = on_freed,
};

static const char *const names[] = { [API_REMOTE_HOST] =
					     "AWS-StartPortForwardingSessionToRemoteHost",
				     [API_PORT] = "AWS-StartPortForwardingSession",
				     [API_SSH] = "AWS-StartSSHSession" };

static enum api_document document_of(const struct options *o)
{
	if (o->transport != TRANSPORT_SSH)
		return API_REMOTE_HOST;
	return o->ssh_document == SSH_DOCUMENT_PORT ? API_PORT : API_SSH;
}

static int session_failed(struct doctor *d)
{
	enum api_document document = document_of(d->options);
	const char *code = d->aws.code;
	struct err *why = &d->aws.err;
	char cure[300];

	if (strcmp(code, "InvalidDocument") == 0) {
		(void)str_fmt(cure, sizeof(cure),
			      "is the region right, and the agent not too old%s?",
			      document == API_REMOTE_HOST
				      ? " (3.1.1374 for remote hosts)? If it is, --transport ssh"
				      : "");
		return doctor_broken(d, "document", why, cure);
	}
	if (doctor_denied(code)) {
		(void)str_fmt(
			cure, sizeof(cure),
			"allow ssm:StartSession on the instance and on the document %s, or take "
			"another one (--transport, --ssh-document)",
			names[document]);
		return doctor_broken(d, "permissions", why, cure);
	}
	if (strcmp(code, "TargetNotConnected") == 0)
		return doctor_broken(d, "agent", why, doctor_agent_cure);
	if (aws_error_verdict(400, code) == AWS_THROTTLED)
		return doctor_broken(d, "session", why,
				     "something starts many sessions in this account: wait, and "
				     "find out what it is");
	if (code[0])
		return doctor_broken(d, "session", why, "AWS's message says what it misses");
	if (!d->session_was_begun)
		return doctor_no_answer(d, "session", "AWS_ENDPOINT_URL_SSM");
	doctor_good("document", names[document]);
	return doctor_broken(
		d, "data-channel", why,
		"allow ssmmessages:OpenDataChannel; does a proxy or firewall pass websockets to "
		"ssmmessages, and is TLS intercepted (--ca-bundle)?");
}

static void on_ws_freed(void *arg)
{
	struct doctor *d = arg;

	loop_stop(d->aws.loop);
}

static int interrupted(struct doctor *d)
{
	struct err e;

	(void)err_set(&e, ERR_CLOSED, "interrupted; its session has been ended");
	d->status = command_fail(&e);
	return -1;
}

static int try_session(struct doctor *d, const struct session_env *env)
{
	enum api_document document = document_of(d->options);
	struct session_goal goal = { document, "localhost", SSH_PORT };
	struct end_signals signals;
	struct err e;

	d->session = session_new(env, &goal, &handler, d, &e);
	if (!d->session)
		return doctor_broken(d, "session", &e, "the message says what is missing here");
	end_signals_open(&signals, d->aws.loop, on_signal, d);
	while (d->session)
		loop_run(d->aws.loop);
	end_signals_close(&signals);
	if (d->interrupted)
		return interrupted(d);
	if (d->aws.err.code != ERR_NONE)
		return session_failed(d);
	doctor_good("document", names[document]);
	doctor_good("data-channel", "opened, and its session terminated");
	return 0;
}

int doctor_session(struct doctor *d)
{
	const struct options *o = d->aws.options;
	char client_id[37], url[API_URL_MAX] = "";
	struct err e;
	struct session_env env = {
		.loop = d->aws.loop,
		.ws = ws_context_new(d->aws.loop, &e),
		.api = { d->aws.aws, d->aws.ssm, d->aws.region, d->aws.ssm_overridden, NULL },
		.target = d->target,
		.client_id = client_id,
		.held = &d->held,
		.not_connected = on_not_connected,
		.not_connected_arg = d,
		.ca_file = aws_side_ca(&d->aws),
		.no_sign = !o->sign_data_channel,
		.payload_size = (size_t)o->payload_size,
	};
	int result = 0;

	if (!env.ws)
		return doctor_broken(d, "session", &e, "the message says what is missing here");
	ws_context_set_egress(env.ws, d->aws.egress);
	random_uuid(client_id);
	if (o->ssmmessages_endpoint) {
		if (api_read_ssmmessages(o->ssmmessages_endpoint, url, &e) != 0)
			result = doctor_broken(d, "data-channel", &e,
					       "correct --ssmmessages-endpoint");
		env.api.ssmmessages = url;
	}
	if (result == 0)
		result = try_session(d, &env);
	ws_context_free(env.ws, on_ws_freed, d);
	loop_run(d->aws.loop);
	return result;
}
