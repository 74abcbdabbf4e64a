/* By port sessions or by SSH. No ssh can be started here: what is seen is which way is tried. */
#include "tests/unit/ssm_world.h"

#include "backend/backend.h"
#include "backend/ssm.h"
#include "stream/stream.h"

struct user {
	struct dial *dial;
	struct stream *s;
	int dones;
	struct err why;
};

static struct backend *B;
static bool closed;

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void u_none(void *arg)
{
	(void)arg;
}
static void u_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct user *)arg)->s = NULL;
}
static const struct stream_handler handler = { u_data, u_none, u_none, u_closed };

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct user *u = arg;

	u->dones++;
	u->dial = NULL;
	if (why)
		u->why = *why;
	else
		stream_attach(u->s = d->stream, &handler, u);
}

static void on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static void begin(enum ssm_transport transport, unsigned total)
{
	struct ssm_opts o = { .region = "us-east-1",
			      .ssm_endpoint = "http://127.0.0.1:9",
			      .endpoint_overridden = true,
			      .target.id = "i-0123456789abcdef0",
			      .transport = transport,
			      .sessions_total = total,
			      .ssh = { .dir = "/nowhere",
				       .known_hosts = "/nowhere/known_hosts",
				       .helper = "/nowhere/awsocks",
				       .eic_endpoint = "http://127.0.0.1:9",
				       .key = "agent" } };

	world_begin();
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	closed = false;
	B = ssm_backend_new(&o, NULL);
	assert_non_null(B);
}

static void finish(void)
{
	backend_close(B, on_closed, NULL);
	RUN_UNTIL(closed, 4000);
	for (int i = 0; i < W->agent_count; i++)
		assert_true(W->agents[i]->ended);
	world_end();
}

static void dial(struct user *u, const char *host)
{
	struct dest d = { .host = host, .port = 80 };

	*u = (struct user){ 0 };
	u->dial = backend_dial(B, &d, on_dialed, u, &u->why);
	u->dones += !u->dial;
}

static void assert_transport(const char *name)
{
	struct cJSON *j = cJSON_CreateObject();

	backend_describe(B, j);
	assert_string_equal(cJSON_GetObjectItem(j, "transport")->valuestring, name);
	cJSON_Delete(j);
}

static bool asked_for(const char *document)
{
	return strstr(W->last_start, document) != NULL;
}

static void as_the_user_says(void **state)
{
	struct user u;

	(void)state;
	begin(SSM_PORT, 4);
	dial(&u, "silent");
	RUN_UNTIL(u.s, 3000);
	assert_transport("port");
	finish();
	begin(SSM_SSH, 4);
	dial(&u, "silent");
	RUN_UNTIL(u.dones, 3000);
	assert_true(asked_for("AWS-StartSSHSession"));
	assert_transport("ssh");
	assert_non_null(strstr(u.why.msg, "no listeners here"));
	finish();
}

static void auto_prefers_port_sessions(void **state)
{
	struct user u;

	(void)state;
	begin(SSM_AUTO, 4);
	dial(&u, "silent");
	RUN_UNTIL(u.s, 3000);
	assert_int_equal(W->starts, 1);
	assert_transport("port");
	finish();
}

/* Refused by AWS, or by an agent that is too old: from then on by SSH, and both reasons are told.
 */
static void auto_changes_for_good(void **state)
{
	static const struct {
		const char *document, *version, *words;
	} cases[] = {
		{ "AWS-StartPortForwardingSessionToRemoteHost", NULL, "InvalidDocument" },
		{ NULL, "3.0.196.0", "3.0.196.0" },
		{ NULL, "3.1.1373.0", "3.1.1373.0" },
	};
	struct user u;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(SSM_AUTO, 4);
		W->no_document = cases[i].document;
		W->version = cases[i].version;
		dial(&u, "silent");
		RUN_UNTIL(u.dones, 3000);
		assert_null(u.s);
		assert_true(asked_for("AWS-StartSSHSession"));
		assert_transport("ssh");
		assert_non_null(strstr(u.why.msg, cases[i].words));
		assert_non_null(strstr(u.why.msg, "and by SSH: "));
		W->no_document = NULL;
		W->version = NULL;
		run(3000);
		dial(&u, "silent");
		RUN_UNTIL(u.dones, 8000);
		assert_true(asked_for("AWS-StartSSHSession")); /* it does not come back */
		finish();
	}
}

/* What concerns one host alone, or passes by itself, is no reason. */
static void auto_stays(void **state)
{
	static const char *const hosts[] = { "refuse", "nohost", "forbidden" };
	struct user u;

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
		begin(SSM_AUTO, 4);
		dial(&u, hosts[i]);
		RUN_UNTIL(u.dones, 3000);
		assert_null(u.s);
		assert_transport("port");
		finish();
	}
	begin(SSM_AUTO, 4);
	W->start_code = "InternalServerError";
	dial(&u, "silent");
	RUN_UNTIL(u.dones, 3000);
	assert_transport("port");
	finish();
}

static void port_alone_stays_with_an_old_agent(void **state)
{
	struct user u;

	(void)state;
	begin(SSM_PORT, 4);
	W->version = "3.0.196.0";
	dial(&u, "silent");
	RUN_UNTIL(u.dones, 3000);
	assert_int_equal(u.why.code, ERR_UNSUPPORTED);
	assert_non_null(strstr(u.why.msg, "3.0.196.0"));
	assert_non_null(strstr(u.why.msg, "--transport auto"));
	assert_transport("port");
	assert_int_equal(W->starts, 1);
	finish();
}

/* More hosts than sessions: the next by SSH; and while that pauses after a failure, it waits. */
static void auto_takes_ssh_when_all_are_in_use(void **state)
{
	struct user a, b, c;
	int starts;

	(void)state;
	begin(SSM_AUTO, 1);
	dial(&a, "silent");
	RUN_UNTIL(a.s, 3000);
	dial(&b, "other");
	RUN_UNTIL(b.dones, 3000);
	assert_true(asked_for("AWS-StartSSHSession"));
	assert_transport("port"); /* it is what new dials try first */
	starts = W->starts;
	dial(&c, "silent2");
	run(500);
	assert_int_equal(c.dones, 0);
	assert_int_equal(W->starts, starts);
	stream_close(a.s); /* now there is room */
	RUN_UNTIL(c.s, 5000);
	finish();
}

static void what_ssh_needs(void **state)
{
	struct ssm_opts o = { .region = "us-east-1",
			      .ssm_endpoint = "http://127.0.0.1:9",
			      .target.id = "i-0123456789abcdef0",
			      .transport = SSM_AUTO };
	struct err e = { 0 };

	(void)state;
	world_begin();
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	assert_null(ssm_backend_new(&o, &e));
	assert_int_equal(e.code, ERR_INTERNAL);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_user_says),
		cmocka_unit_test(auto_prefers_port_sessions),
		cmocka_unit_test(auto_changes_for_good),
		cmocka_unit_test(auto_stays),
		cmocka_unit_test(port_alone_stays_with_an_old_agent),
		cmocka_unit_test(auto_takes_ssh_when_all_are_in_use),
		cmocka_unit_test(what_ssh_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
