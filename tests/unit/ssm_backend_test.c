#include "tests/unit/ssm_world.h"

#include "backend/backend.h"
#include "backend/ssm.h"
#include "stream/stream.h"

/* One client of the backend: its dial, then its stream. */
struct client {
	struct dial *dial;
	struct stream *s;
	bool no_credit;
	int dones, eofs, closeds;
	struct err why; /* of the dial, then of the stream's end */
	char session[100];
	uint64_t done_at;
	size_t got, to_write, written;
	uint64_t sum;
};

static struct backend *B;
static int closed_calls;

static void pump(struct client *c)
{
	uint8_t block[4096];

	while (c->s && c->written < c->to_write) {
		size_t n = c->to_write - c->written, took;

		if (n > sizeof(block))
			n = sizeof(block);
		for (size_t i = 0; i < n; i++)
			block[i] = (uint8_t)((c->written + i) * 31 >> 3);
		took = stream_write(c->s, block, n);
		c->written += took;
		if (took < n)
			return;
	}
}

static void c_data(void *arg, const uint8_t *p, size_t n)
{
	struct client *c = arg;

	for (size_t i = 0; i < n; i++)
		c->sum = (c->sum ^ p[i]) * 1099511628211u + c->got + i;
	c->got += n;
	stream_credit(c->s, n);
}
static void c_eof(void *arg)
{
	((struct client *)arg)->eofs++;
}
static void c_writable(void *arg)
{
	pump(arg);
}
static void c_closed(void *arg, const struct err *why)
{
	struct client *c = arg;

	c->closeds++;
	c->s = NULL;
	c->why = why ? *why : (struct err){ 0 };
}
static const struct stream_handler client_handler = { c_data, c_eof, c_writable, c_closed };

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct client *c = arg;

	c->dones++;
	c->dial = NULL;
	c->done_at = W->loop.now;
	if (!d) {
		c->why = *why;
		return;
	}
	c->s = d->stream;
	memcpy(c->session, d->session, sizeof(c->session));
	stream_attach(c->s, &client_handler, c);
	if (!c->no_credit)
		stream_credit(c->s, 65536);
	pump(c);
}

static void dial(struct client *c, const char *host)
{
	struct dest d = { .host = host, .port = 8080 };

	c->dial = backend_dial(B, &d, on_dialed, c, &c->why);
	if (!c->dial)
		c->dones++;
	else
		assert_int_equal(c->dones, 0);
}

static void on_backend_closed(void *arg)
{
	(void)arg;
	closed_calls++;
}

static void begin(const struct ssm_opts *more)
{
	struct ssm_opts o = *more;

	world_begin();
	closed_calls = 0;
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	o.region = "us-east-1";
	o.ssm_endpoint = "http://127.0.0.1:9";
	o.ec2_endpoint = "http://127.0.0.1:9";
	o.endpoint_overridden = true;
	if (!o.target.name)
		o.target.id = "i-0123456789abcdef0";
	B = ssm_backend_new(&o, NULL);
	assert_non_null(B);
}

static void finish(void)
{
	backend_close(B, on_backend_closed, NULL);
	RUN_UNTIL(closed_calls == 1, 4000);
	for (int i = 0; i < W->agent_count && !W->quiet_aws && !W->resume_code; i++)
		assert_true(W->agents[i]->ended); /* AWS has been told of every session's end */
	world_end();
}

static struct cJSON *describe(void)
{
	struct cJSON *j = cJSON_CreateObject();

	backend_describe(B, j);
	return j;
}

static void assert_step(const char *step)
{
	struct cJSON *j = describe();

	assert_string_equal(cJSON_GetObjectItem(j, "step")->valuestring, step);
	cJSON_Delete(j);
}

/* --- tests --- */

static void lazy_then_echo(void **state)
{
	struct client c = { .to_write = 300000 };
	struct cJSON *j;

	(void)state;
	begin(&(struct ssm_opts){ .profile = "corp" });
	run(1000);
	assert_int_equal(W->starts + W->statuses, 0);
	assert_int_equal(backend_state(B), BACKEND_IDLE);
	assert_string_equal(backend_name(B), "ssm:corp");
	dial(&c, "echo");
	run(1);
	assert_int_equal(backend_state(B), BACKEND_INITIALIZING);
	assert_true(backend_first_init(B));
	RUN_UNTIL(c.dones == 1, 2000);
	assert_non_null(c.s);
	assert_string_equal(c.session, "s-1");
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	assert_false(backend_first_init(B));
	assert_non_null(strstr(W->last_start, "\"DocumentName\":"
					      "\"AWS-StartPortForwardingSessionToRemoteHost\""));
	assert_non_null(strstr(W->last_start, "\"localPortNumber\":[\"0\"]"));
	assert_non_null(strstr(W->last_start, "awsocks echo:8080"));
	assert_non_null(
		strstr(W->agents[0]->ws->authorization, "/us-east-1/ssmmessages/aws4_request"));
	RUN_UNTIL(c.got == 300000, 3000);
	assert_int_equal(W->statuses, 0);
	j = describe();
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "sessions")), 1);
	assert_string_equal(cJSON_GetObjectItem(j, "instance")->valuestring, "i-0123456789abcdef0");
	cJSON_Delete(j);
	stream_close(c.s);
	RUN_UNTIL(c.closeds == 1, 100);
	finish();
}

static void one_session_is_shared(void **state)
{
	struct client c[20] = { 0 };
	bool all = false;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	for (int i = 0; i < 20; i++) {
		c[i].to_write = 20000;
		dial(&c[i], "echo");
	}
	for (int ms = 0; ms < 4000 && !all; ms++) {
		turn();
		all = true;
		for (int i = 0; i < 20; i++)
			all = all && c[i].got == 20000;
	}
	assert_true(all);
	assert_int_equal(W->starts, 1);
	for (int i = 1; i < 20; i++)
		assert_true(c[i].sum == c[0].sum);
	finish();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(c[i].closeds, 1);
		assert_int_equal(c[i].why.code, ERR_CLOSED);
	}
}

static void how_dials_end(void **state)
{
	static const struct {
		const char *host;
		enum err_code code;
		const char *text;
	} cases[] = {
		{ "refuse", ERR_DIAL, "could not connect to refuse:8080" },
		{ "nohost", ERR_RESOLVE, "no such host" },
		{ "forbidden", ERR_DENIED, "169.254.169.254 is forbidden" },
		{ "slam", ERR_NONE, "" },
		{ "silent", ERR_NONE, "" },
		{ "hello", ERR_NONE, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client c = { 0 };

		begin(&(struct ssm_opts){ 0 });
		dial(&c, cases[i].host);
		RUN_UNTIL(c.dones == 1, 5000);
		if (c.why.code != cases[i].code)
			fail_msg("%s: %s", cases[i].host, c.why.msg);
		assert_int_equal(c.s == NULL, cases[i].code != ERR_NONE);
		if (cases[i].code)
			assert_non_null(strstr(c.why.msg, cases[i].text));
		assert_int_equal(backend_state(B), BACKEND_ACTIVE); /* one host's failure */
		if (i == 3)
			RUN_UNTIL(c.eofs == 1, 100);
		if (i == 5)
			RUN_UNTIL(c.got == 5, 100);
		finish();
	}
}

/* Unproven: max(2 round trips, 100 ms) after the agent has the SYN; known good: at once. */
static void proof(void **state)
{
	struct client a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	uint64_t from;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&a, "echo");
	RUN_UNTIL(a.dones, 3000);
	from = W->loop.now;
	dial(&b, "echo");
	RUN_UNTIL(b.dones, 1000);
	assert_in_range(W->loop.now - from, 100, 300); /* nothing has come back yet */
	a.to_write = 10;
	pump(&a);
	RUN_UNTIL(a.got == 10, 100);
	from = W->loop.now;
	dial(&c, "echo");
	RUN_UNTIL(c.dones, 1000);
	assert_in_range(W->loop.now - from, 0, 2);
	dial(&d, "hello");
	RUN_UNTIL(d.dones, 1000);
	assert_true(d.s && W->agents[1]->open_count == 1);
	finish();
}

static void refused_after_proof(void **state)
{
	struct client a = { 0 }, b = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	a.to_write = 1;
	dial(&a, "echo");
	RUN_UNTIL(a.got == 1, 3000);
	snprintf(W->agents[0]->host, sizeof(W->agents[0]->host), "refuse"); /* its server went */
	dial(&b, "echo");
	RUN_UNTIL(b.closeds, 1000);
	assert_int_equal(b.dones, 1);
	assert_int_equal(b.why.code, ERR_DIAL);
	b = (struct client){ 0 };
	dial(&b, "echo"); /* no longer taken at its word */
	RUN_UNTIL(b.dones, 1000);
	assert_null(b.s);
	assert_int_equal(b.why.code, ERR_DIAL);
	finish();
}

static void failed_then_tries_again(void **state)
{
	struct client a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->start_code = "InternalServerError";
	W->start_text = "out of order";
	dial(&a, "echo");
	dial(&b, "other");
	RUN_UNTIL(a.dones && b.dones, 1000);
	assert_int_equal(a.why.code, ERR_AWS);
	assert_non_null(strstr(a.why.msg, "out of order"));
	assert_int_equal(b.why.code, ERR_AWS);
	assert_int_equal(W->starts, 1);
	assert_int_equal(backend_state(B), BACKEND_FAILED);
	assert_false(backend_first_init(B));
	dial(&c, "echo"); /* waits for the pause to end, and gets that try's answer */
	W->start_code = NULL;
	RUN_UNTIL(c.dones, 4000);
	assert_non_null(c.s);
	W->start_code = "AccessDeniedException";
	for (int i = 0; i < 6; i++) {
		d = (struct client){ 0 };
		dial(&d, "third");
		RUN_UNTIL(d.dones, 8000);
		assert_null(d.s);
	}
	assert_int_equal(backend_state(B), BACKEND_ACTIVE); /* c's session is alive */
	finish();
}

/* An instance in its first seconds: who comes then waits, and is served. */
static void not_connected_yet(void **state)
{
	struct client a = { .to_write = 10 }, b = { .to_write = 10 }, c = { 0 };
	int asked;

	(void)state;
	begin(&(struct ssm_opts){ .dial_ms = 20000 });
	W->start_code = "TargetNotConnected";
	W->start_text = "i-0123456789abcdef0 is not connected.";
	dial(&a, "echo");
	run(5000);
	assert_int_equal(a.dones, 0);
	assert_in_range(W->starts, 3, 6); /* ever less often */
	W->start_code = NULL;
	RUN_UNTIL(a.got == 10, 8100);
	/* restarted while the backend is active: the same; b is in time, c's limit passes */
	W->start_code = "TargetNotConnected";
	cut_all(0);
	W->resume_code = "gone";
	asked = W->starts;
	dial(&c, "other");
	run(15000);
	dial(&b, "echo");
	assert_in_range(W->starts - asked, 3, 7);
	RUN_UNTIL(c.dones, 5100);
	assert_int_equal(c.why.code, ERR_TARGET);
	assert_non_null(strstr(c.why.msg, "is not connected"));
	assert_int_equal(b.dones, 0);
	W->start_code = NULL;
	RUN_UNTIL(b.got == 10, 8100);
	finish();
}

/* It never comes: each hears why, when its time is over. */
static void never_connected(void **state)
{
	struct client a = { 0 }, b = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .dial_ms = 5000 });
	W->start_code = "TargetNotConnected";
	W->start_text = "i-0123456789abcdef0 is not connected.";
	dial(&a, "echo");
	RUN_UNTIL(a.dones, 5010);
	assert_int_equal(a.why.code, ERR_TARGET);
	assert_non_null(strstr(a.why.msg, "after 5 s"));
	assert_non_null(strstr(a.why.msg, "is not connected"));
	RUN_UNTIL(backend_state(B) == BACKEND_FAILED, 60000);
	dial(&b, "echo");
	run(300);
	finish(); /* while it is being asked */
	assert_int_equal(b.dones, 1);
}

/* Replaced while it is in use: who comes then waits, and is served by the other one. What is found
 * besides changes nothing: none, the same, several, one that does not run. */
static void moved_while_it_waits(void **state)
{
	static const struct {
		size_t n;
		const char *id, *state;
	} found[] = { { 0, "", "" },
		      { 1, "i-1", "running" },
		      { 2, "i-2", "running" },
		      { 1, "i-2", "pending" },
		      { 1, "i-2", "running" } };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct client a = { .to_write = 10 }, b = { 0 };
		bool moves = i == 4;

		begin(&(struct ssm_opts){ .target.name = "web", .dial_ms = 20000 });
		W->instance_count = 1;
		snprintf(W->instances[0].id, 64, "i-1");
		snprintf(W->instances[0].state, 24, "running");
		dial(&a, "echo");
		RUN_UNTIL(a.got == 10, 1000);
		W->start_code = "TargetNotConnected";
		W->start_text = "i-1 is not connected.";
		W->instance_count = found[i].n;
		snprintf(W->instances[0].id, 64, "%s", found[i].id);
		snprintf(W->instances[0].state, 24, "%s", found[i].state);
		snprintf(W->instances[1].id, 64, "i-3");
		snprintf(W->instances[1].state, 24, "running");
		dial(&b, "other");
		run(3000);
		assert_int_equal(b.dones, 0);
		W->start_code = NULL;
		RUN_UNTIL(b.dones, 8100);
		assert_non_null(b.s);
		assert_non_null(
			strstr(W->last_start, moves ? "\"Target\":\"i-2\"" : "\"Target\":\"i-1\""));
		finish();
	}
}

/* Closed while it is being looked for again; and a mere id is not looked for. */
static void not_moved(void **state)
{
	struct client a = { 0 }, b = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .target.name = "web" });
	W->instance_count = 1;
	snprintf(W->instances[0].id, 64, "i-1");
	snprintf(W->instances[0].state, 24, "running");
	W->start_code = "TargetNotConnected";
	W->start_text = "i-1 is not connected.";
	dial(&a, "echo");
	RUN_UNTIL(W->starts == 2, 5000);
	finish();
	assert_int_equal(a.dones, 1);
	begin(&(struct ssm_opts){ 0 });
	W->start_code = "TargetNotConnected";
	W->start_text = "i-1 is not connected.";
	dial(&b, "echo");
	RUN_UNTIL(W->starts == 2, 5000);
	assert_true(list_empty(&W->ec2_calls));
	finish();
}

static void pauses_grow(void **state)
{
	struct client c = { 0 };
	int tries = 0, instant = 0;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->no_creds = true;
	for (int i = 0; i < 12; i++) {
		c = (struct client){ 0 };
		dial(&c, "echo");
		if (c.dones) {
			instant++;
			assert_non_null(strstr(c.why.msg, "next try in"));
			run(8000);
		} else {
			tries++;
			RUN_UNTIL(c.dones, 10000);
		}
		assert_int_equal(c.why.code, ERR_CREDS);
		assert_non_null(strstr(c.why.msg, "aws sso login"));
	}
	assert_true(tries >= 3 && instant >= 2);
	assert_int_equal(W->starts, 0);
	W->no_creds = false;
	backend_set_creds(B, NULL); /* no need to wait any more */
	c = (struct client){ 0 };
	dial(&c, "echo");
	RUN_UNTIL(c.dones, 1000);
	assert_non_null(c.s);
	finish();
}

static void started_cb(void *arg, const struct err *why)
{
	struct client *c = arg;

	c->dones++;
	c->why = why ? *why : (struct err){ 0 };
}

static void not_lazy(void **state)
{
	static const struct {
		const char *status_code;
		bool not_connected;
		enum err_code code;
	} cases[] = { { NULL, false, ERR_NONE },
		      { "AccessDeniedException", false, ERR_NONE },
		      { "UnknownOperationException", false, ERR_NONE },
		      { NULL, true, ERR_TARGET },
		      { "InternalServerError", false, ERR_AWS } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client c = { 0 };

		begin(&(struct ssm_opts){ 0 });
		W->status_code = cases[i].status_code;
		W->not_connected = cases[i].not_connected;
		backend_start(B, started_cb, &c);
		assert_int_equal(c.dones, 0);
		RUN_UNTIL(c.dones == 1, cases[i].not_connected ? 61000 : 1000);
		assert_int_equal(c.why.code, cases[i].code);
		assert_int_equal(W->starts, 0);
		assert_int_equal(W->statuses > 1, cases[i].not_connected);
		finish();
		assert_int_equal(c.dones, 1);
	}
}

static void by_name(void **state)
{
	static const struct {
		size_t n;
		const char *state1, *text;
	} cases[] = { { 1, "running", NULL },
		      { 0, "", "no instance in us-east-1 is named 'web': is the region right" },
		      { 1, "stopped", "is stopped" },
		      { 2, "running", "2 instances are named 'web': i-1 running, i-2 stopped" } };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct client c = { 0 };

		begin(&(struct ssm_opts){ .target.name = "web" });
		W->instance_count = cases[i].n;
		snprintf(W->instances[0].id, 64, "i-1");
		snprintf(W->instances[0].state, 24, "%s", cases[i].state1);
		snprintf(W->instances[1].id, 64, "i-2");
		snprintf(W->instances[1].state, 24, "stopped");
		dial(&c, "echo");
		RUN_UNTIL(c.dones, 1000);
		if (cases[i].text) {
			assert_int_equal(c.why.code, ERR_TARGET);
			assert_non_null(strstr(c.why.msg, cases[i].text));
			assert_int_equal(W->starts, 0);
		} else {
			assert_non_null(c.s);
			assert_non_null(strstr(W->last_start, "\"Target\":\"i-1\""));
		}
		finish();
	}
}

static ssm_chosen_fn *chosen;
static void *chosen_to;
static void ask(void *arg, const struct ec2_instance *list, size_t n, ssm_chosen_fn *fn, void *to)
{
	(void)arg;
	assert_int_equal(n, 2);
	assert_string_equal(list[1].id, "i-2");
	chosen = fn;
	chosen_to = to;
}

static void chosen_by_a_person(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .target.name = "web", .choose = ask, .dial_ms = 100000 });
	W->instance_count = 2;
	snprintf(W->instances[0].id, 64, "i-1");
	snprintf(W->instances[1].id, 64, "i-2");
	snprintf(W->instances[1].state, 24, "running");
	dial(&c, "echo");
	run(20000);
	assert_step("instance");
	chosen(chosen_to, 1);
	RUN_UNTIL(c.dones, 1000);
	assert_non_null(c.s);
	assert_non_null(strstr(W->last_start, "\"Target\":\"i-2\""));
	finish();
}

static void dropped_and_resumed(void **state)
{
	struct client c = { .to_write = 400000 }, d = { 0 };
	uint64_t plain;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.got == 400000, 5000);
	plain = c.sum;
	finish();
	begin(&(struct ssm_opts){ .sessions = 1 }); /* it may be busy for long enough */
	c = (struct client){ .to_write = 400000 };
	dial(&c, "echo");
	for (int i = 0; i < 6; i++) {
		size_t want = (size_t)(i + 1) * 50000;

		RUN_UNTIL(c.got >= want && backend_state(B) == BACKEND_ACTIVE, 5000);
		cut_all(i & 1 ? 1000 : 0);
		RUN_UNTIL(backend_state(B) == BACKEND_TRANSITIONING, 50);
	}
	RUN_UNTIL(c.got == 400000 && backend_state(B) == BACKEND_ACTIVE, 20000);
	assert_true(c.sum == plain);
	assert_int_equal(W->starts, 1);
	assert_true(W->resumes >= 6);
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	/* far longer than one try: still resumed */
	W->ws_refused = true;
	cut_all(0);
	run(60000);
	assert_int_equal(c.closeds, 0);
	W->ws_refused = false;
	RUN_UNTIL(backend_state(B) == BACKEND_ACTIVE, 15000);
	dial(&d, "echo");
	RUN_UNTIL(d.s, 5000);
	finish();
}

static void session_gone(void **state)
{
	static const char *const how[] = { "gone", "DoesNotExistException" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct client c = { 0 }, d = { 0 };

		begin(&(struct ssm_opts){ 0 });
		dial(&c, "echo");
		RUN_UNTIL(c.s, 5000);
		W->resume_code = how[i];
		cut_all(0);
		RUN_UNTIL(c.closeds, 1000);
		assert_int_equal(c.why.code, ERR_CLOSED);
		assert_non_null(strstr(c.why.msg, "gone"));
		assert_int_equal(W->terminates, 0); /* there is nothing to end */
		dial(&d, "echo");
		RUN_UNTIL(d.s, 5000);
		assert_string_equal(d.session, "s-2");
		finish();
	}
}

/* Somebody may do without ssm:ResumeSession; its streams do not wait for an hour for that. */
static void resume_is_refused(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	W->resume_code = "AccessDeniedException";
	cut_all(0);
	run(100000);
	assert_int_equal(c.closeds, 0);
	RUN_UNTIL(c.closeds, 40000);
	assert_int_equal(c.why.code, ERR_CLOSED);
	assert_non_null(strstr(c.why.msg, "AccessDenied"));
	finish();
}

static void never_resumed(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	W->resume_code = "InternalServerError";
	cut_all(0);
	run(3500000); /* a session that AWS keeps for up to an hour is not given up sooner */
	assert_int_equal(c.closeds, 0);
	RUN_UNTIL(c.closeds, 200000);
	assert_int_equal(c.why.code, ERR_CLOSED);
	assert_non_null(strstr(c.why.msg, "could not be resumed"));
	assert_in_range(W->resumes, 100, 1000);
	RUN_UNTIL(W->terminates == 1, 3000);
	finish();
}

static void ended_by_the_service(void **state)
{
	struct client c = { 0 }, d = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	agent_closes(W->agents[0], "Session timed out");
	dial(&d, "echo"); /* on the dying session: goes to a new one */
	RUN_UNTIL(c.closeds, 1000);
	assert_non_null(strstr(c.why.msg, "Session timed out"));
	RUN_UNTIL(d.dones, 5000);
	assert_non_null(d.s);
	assert_string_equal(d.session, "s-2");
	finish();
}

static void idle_sessions_end(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .session_idle_ms = 20000 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	run(30000);
	assert_false(W->agents[0]->ended); /* in use */
	stream_close(c.s);
	run(19000);
	assert_false(W->agents[0]->ended);
	RUN_UNTIL(W->agents[0]->ended, 3000);
	assert_int_equal(W->agents[0]->flags_terminate, 1);
	assert_int_equal(W->terminates, 0);
	run(3000);
	assert_true(list_empty(&W->sockets));
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	finish();
}

static void total_and_room(void **state)
{
	struct client a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions_total = 2, .dial_ms = 20000 });
	dial(&a, "echo");
	RUN_UNTIL(a.s, 5000);
	dial(&b, "hello");
	RUN_UNTIL(b.s, 5000);
	dial(&c, "silent"); /* both are in use: waits, then fails with the reason */
	RUN_UNTIL(c.dones, 21000);
	assert_int_equal(c.why.code, ERR_LIMIT);
	assert_non_null(strstr(c.why.msg, "--sessions-total"));
	dial(&d, "silent");
	run(1000);
	assert_int_equal(d.dones, 0);
	stream_close(a.s); /* makes room */
	RUN_UNTIL(d.dones, 5000);
	assert_non_null(d.s);
	assert_true(W->agents[0]->ended);
	finish();
}

/* Bytes at a rate (per ms) for a time to the first stream of each of n sessions. */
static void download(int n, size_t per_ms, unsigned ms)
{
	static const uint8_t block[1024];

	for (unsigned i = 0; i < ms; i++) {
		for (int k = 0; k < n; k++)
			agent_frame(W->agents[k], SMUX_PSH, 3, block, per_ms);
		run(1);
	}
}

/* A session that is busy for a while gets company for the streams to come: as many again. */
static void busy_sessions_get_company(void **state)
{
	struct client c[4] = { { 0 } }, quiet = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions = 3, .sessions_total = 3 });
	dial(&c[0], "echo");
	RUN_UNTIL(c[0].s, 5000);
	download(1, 300, 2000); /* 300 kB/s: the far side is what limits it */
	assert_int_equal(W->starts, 1);
	download(1, 700, 400); /* a burst */
	run(1000);
	assert_int_equal(W->starts, 1);
	download(1, 700, 1300);
	assert_int_equal(W->starts, 2);
	download(1, 700, 2000); /* the second one is not busy */
	assert_int_equal(W->starts, 2);
	dial(&c[1], "echo");
	RUN_UNTIL(c[1].s, 1000);
	assert_string_equal(c[1].session, "s-2");
	download(2, 700, 3000);
	assert_int_equal(W->starts, 3); /* two more were wanted, one was allowed */
	dial(&c[2], "echo");
	RUN_UNTIL(c[2].s, 1000);
	assert_string_equal(c[2].session, "s-3");
	download(3, 700, 3000);
	assert_int_equal(W->starts, 3);
	dial(&quiet, "echo");
	RUN_UNTIL(quiet.s, 1000);
	finish();
}

/* 4 MiB for a reader that takes nothing; others get a session of their own meanwhile. */
static void stalled_reader(void **state)
{
	struct client slow = { .no_credit = true }, other = { 0 }, fresh = { 0 };
	static uint8_t block[60000];

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&slow, "echo");
	dial(&other, "echo");
	RUN_UNTIL(slow.s && other.s, 5000);
	for (int i = 0; i < 80; i++) {
		agent_frame(W->agents[0], SMUX_PSH, 3, block, sizeof(block));
		run(1);
	}
	run(100);
	assert_true(W->agents[0]->ws->paused);
	dial(&fresh, "echo");
	RUN_UNTIL(fresh.s, 5000);
	assert_string_equal(fresh.session, "s-2");
	RUN_UNTIL(slow.closeds, 10000);
	assert_int_equal(slow.why.code, ERR_LIMIT);
	assert_non_null(strstr(slow.why.msg, "reader stalled for 10 s"));
	assert_false(W->agents[0]->ws->paused);
	other.to_write = 1000;
	pump(&other);
	RUN_UNTIL(other.got == 1000, 1000);
	finish();
}

static void fill(struct client *slow)
{
	static uint8_t block[60000];

	dial(slow, "echo");
	RUN_UNTIL(slow->s, 5000);
	for (int i = 0; i < 80; i++) {
		agent_frame(W->agents[0], SMUX_PSH, 3, block, sizeof(block));
		run(1);
	}
	run(100);
	assert_true(W->agents[0]->ws->paused);
}

/* A dial that found no session because of a slow reader goes on when he reads. */
static void slow_reader_reads(void **state)
{
	struct client slow = { .no_credit = true }, fresh = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions = 1 });
	fill(&slow);
	dial(&fresh, "echo");
	run(500);
	assert_int_equal(fresh.dones, 0);
	stream_credit(slow.s, 2 << 20);
	RUN_UNTIL(fresh.s, 1000);
	assert_int_equal(slow.closeds, 0);
	assert_int_equal(W->starts, 1);
	finish();
}

/* Another session that cannot be had is not asked for again and again. */
static void no_second_session(void **state)
{
	struct client slow = { .no_credit = true }, fresh = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	fill(&slow);
	W->start_code = "AccessDeniedException";
	dial(&fresh, "echo");
	run(1000);
	assert_int_equal(W->starts, 2);
	assert_int_equal(fresh.dones, 0);
	stream_credit(slow.s, 2 << 20); /* the first serves again */
	RUN_UNTIL(fresh.s, 1000);
	assert_int_equal(W->starts, 2);
	finish();
}

/* An agent that takes nothing, because one of its targets does not, gets no new streams ... */
static void new_streams_avoid_a_stuck_session(void **state)
{
	struct client a = { .to_write = 10 }, b = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&a, "echo");
	RUN_UNTIL(a.got == 10, 5000);
	W->agents[0]->silent = true;
	a.to_write = 20;
	pump(&a);
	run(3500);
	dial(&b, "echo");
	RUN_UNTIL(b.s, 3000);
	assert_string_equal(b.session, "s-2");
	assert_int_equal(a.closeds, 0);
	W->agents[0]->silent = false;
	RUN_UNTIL(a.got == 20, 6000);
	finish();
}

/* ... nor one that is still repairing a loss; but where no other may be opened, it serves. */
static void new_streams_avoid_a_gap(void **state)
{
	(void)state;
	for (unsigned sessions = 1; sessions <= 2; sessions++) {
		struct client a = { .to_write = 10 }, b = { 0 };

		begin(&(struct ssm_opts){ .sessions = sessions });
		dial(&a, "echo");
		RUN_UNTIL(a.got == 10, 5000);
		W->agents[0]->next++; /* lost */
		for (int i = 0; i < 300; i++)
			agent_frame(W->agents[0], SMUX_PSH, 3, "x", 1);
		run(3500);
		dial(&b, "echo");
		RUN_UNTIL(b.s, 3000);
		assert_string_equal(b.session, sessions == 1 ? "s-1" : "s-2");
		finish();
	}
}

/* A gap that stays is the end of its session, not of the target. */
static void a_gap_that_stays_ends_its_session(void **state)
{
	struct client a = { .to_write = 10 }, b = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions = 1 });
	dial(&a, "echo");
	RUN_UNTIL(a.got == 10, 5000);
	W->agents[0]->next++; /* lost */
	for (int i = 0; i < 170 && !a.closeds; i++) {
		agent_frame(W->agents[0], SMUX_PSH, 3, "x", 1);
		run(100);
	}
	assert_int_equal(a.closeds, 1);
	assert_non_null(strstr(a.why.msg, "session is lost"));
	dial(&b, "echo");
	RUN_UNTIL(b.got == 10, 5000);
	assert_string_equal(b.session, "s-2");
	RUN_UNTIL(W->terminates == 1, 3000);
	finish();
}

/* A session whose websocket does not come back is kept for its streams; new ones do not wait for
 * it, and no more than `sessions` take such places. */
static void a_lost_session_leaves_its_place(void **state)
{
	struct client a = { .to_write = 10 }, b = { .to_write = 10 }, c = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions = 1 });
	dial(&a, "echo");
	RUN_UNTIL(a.got == 10, 5000);
	W->agents[0]->unreachable = true;
	cut_all(0);
	RUN_UNTIL(backend_state(B) == BACKEND_TRANSITIONING, 1000);
	dial(&b, "echo");
	RUN_UNTIL(b.got == 10, 3000);
	assert_string_equal(b.session, "s-2");
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	W->agents[1]->unreachable = true;
	cut_all(0);
	RUN_UNTIL(backend_state(B) == BACKEND_TRANSITIONING, 1000);
	dial(&c, "echo");
	run(5000);
	assert_int_equal(c.dones, 0);
	assert_int_equal(W->starts, 2);
	W->agents[0]->unreachable = W->agents[1]->unreachable = false;
	RUN_UNTIL(c.got == 10, 15000);
	a.to_write = b.to_write = 20;
	pump(&a);
	pump(&b);
	RUN_UNTIL(a.got == 20 && b.got == 20, 15000);
	assert_int_equal(a.closeds + b.closeds, 0);
	assert_int_equal(W->starts, 2);
	finish();
}

/* The same while AWS does not answer at all; a dial that the agent has not taken moves. */
static void a_dial_leaves_a_lost_session(void **state)
{
	struct client a = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ .sessions = 1 });
	W->quiet_resume = true;
	dial(&a, "echo");
	RUN_UNTIL(W->agent_count == 1 && W->agents[0]->complete, 5000);
	W->agents[0]->silent = true;
	run(10);
	assert_int_equal(a.dones, 0);
	cut_all(0);
	RUN_UNTIL(a.got == 10, 5000);
	assert_string_equal(a.session, "s-2");
	W->quiet_resume = false;
	run(100);
	finish();
}

/* One that was never active has nobody to be kept for. */
static void a_session_lost_before_it_was_up(void **state)
{
	struct client a = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->mute = true;
	dial(&a, "echo");
	RUN_UNTIL(W->agent_count == 1 && W->agents[0]->begun, 5000);
	W->agents[0]->unreachable = true;
	cut_all(0);
	RUN_UNTIL(W->agents[0]->ended, 60000);
	finish();
	assert_null(a.s);
}

/* Nothing comes, and something is due: the websocket is renewed, the streams live on. */
static void silence_renews_the_websocket(void **state)
{
	struct client a = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&a, "echo");
	RUN_UNTIL(a.got == 10, 5000);
	W->agents[0]->silent = true;
	a.to_write = 20;
	pump(&a);
	run(18000);
	assert_int_equal(W->resumes, 0);
	RUN_UNTIL(W->resumes == 1, 5000);
	W->agents[0]->silent = false;
	RUN_UNTIL(a.got == 20, 5000);
	assert_int_equal(a.closeds, 0);
	finish();
}

/* It acknowledges and carries nothing: new streams go elsewhere, then its own are told. */
static void a_dead_session_is_replaced(void **state)
{
	(void)state;
	for (unsigned big = 0; big <= 1; big++) {
		struct client a = { .to_write = 10 }, b = { .to_write = 10 };

		begin(&(struct ssm_opts){ 0 });
		dial(&a, "echo");
		RUN_UNTIL(a.got == 10, 5000);
		W->agents[0]->zombie = true;
		a.to_write = big ? 4 << 20 : 20;
		pump(&a);
		run(14000);
		assert_int_equal(a.closeds, 0);
		dial(&b, "echo");
		RUN_UNTIL(b.got == 10, 5000);
		assert_string_equal(b.session, "s-2");
		for (int i = 0; i < 30 && !a.closeds; i++) {
			a.to_write += big ? 400000 : 0;
			pump(&a);
			run(1000);
		}
		assert_int_equal(a.closeds, 1);
		assert_non_null(strstr(a.why.msg, "carries nothing"));
		assert_int_equal(b.closeds, 0);
		RUN_UNTIL(W->terminates == 1, 3000);
		finish();
	}
}

/* A stream may wait as long as it likes: the session is asked whether it lives, ever more rarely.
 */
static void a_quiet_session_is_left_alone(void **state)
{
	struct client a = { .to_write = 10 }, b = { .to_write = 10 };
	int asked;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&a, "silent");
	RUN_UNTIL(a.s && W->agents[0]->bytes == 10, 5000);
	run(9000);
	assert_int_equal(W->agents[0]->syns, 1);
	run(3000);
	assert_int_equal(W->agents[0]->syns, 2); /* asked */
	assert_int_equal(W->agents[0]->open_count, 1);
	for (int i = 0; i < 36; i++) { /* an hour, and each 100 s it says something more */
		a.to_write += 10;
		pump(&a);
		run(100000);
	}
	asked = W->agents[0]->syns;
	assert_in_range(asked, 3, 12);
	dial(&b, "silent"); /* a new stream that waits: asked at once */
	run(12000);
	assert_int_equal(W->agents[0]->syns, asked + 2);
	assert_int_equal(a.closeds + b.closeds, 0);
	assert_int_equal(W->starts, 1);
	finish();
}

/* A target that takes nothing holds the acknowledgements back: that is not the same. */
static void a_full_session_is_left_alone(void **state)
{
	struct client a = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&a, "echo");
	RUN_UNTIL(a.got == 10, 5000);
	W->agents[0]->silent = true;
	a.to_write = 20;
	pump(&a);
	run(300000);
	assert_int_equal(a.closeds, 0);
	W->agents[0]->silent = false;
	RUN_UNTIL(a.got == 20, 10000);
	finish();
}

/* StartSession for many hosts at once: the bucket's burst, then in turn; and after a refusal for
 * the rate everyone waits, and nobody fails. */
static void starts_take_turns(void **state)
{
	struct client c[12] = { 0 };
	char host[12][20];

	(void)state;
	begin(&(struct ssm_opts){ .sessions_total = 30 });
	for (int i = 0; i < 12; i++) {
		snprintf(host[i], sizeof(host[i]), "echo%d", i);
		dial(&c[i], host[i]);
	}
	RUN_UNTIL(W->starts == 10, 300);
	run(200);
	assert_int_equal(W->starts, 10);
	RUN_UNTIL(c[10].s && c[11].s, 3000);
	finish();
}

static void throttled_starts_are_asked_again(void **state)
{
	struct client a = { .to_write = 10 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->start_code = "ThrottlingException";
	dial(&a, "echo");
	RUN_UNTIL(W->starts == 3, 10000);
	assert_int_equal(a.dones, 0);
	W->start_code = NULL;
	RUN_UNTIL(a.got == 10, 10000);
	assert_int_equal(W->starts, 4);
	finish();
}

/* A warm host has a session once AWS is in use, keeps it though it is idle, gets another when it
 * has ended, and makes room last. */
static void warm_hosts(void **state)
{
	static const char *const warm[] = { "echo:8080", "hello:8080" };
	struct client a = { .to_write = 10 }, b = { .to_write = 10 }, c = { 0 };
	struct ssm_opts o = {
		.warm = warm, .warm_count = 2, .session_idle_ms = 60000, .sessions_total = 3
	};
	struct agent *kept;

	(void)state;
	begin(&o);
	run(2000);
	assert_int_equal(W->starts, 0); /* lazy */
	dial(&a, "silent");
	RUN_UNTIL(a.s, 5000);
	RUN_UNTIL(W->starts == 3, 3000);
	run(2000);
	dial(&b, "echo");
	RUN_UNTIL(b.got == 10, 2000);
	assert_int_equal(W->starts, 3);
	stream_close(a.s);
	stream_close(b.s);
	run(100000);
	assert_int_equal(W->terminates + (int)W->agents[0]->flags_terminate,
			 1); /* "silent" alone */
	kept = W->agents[strcmp(W->agents[1]->host, "echo") == 0 ? 1 : 2];
	assert_false(kept->ended);
	agent_closes(kept, "");
	RUN_UNTIL(W->starts == 4, 35000); /* again */
	run(2000);
	dial(&c, "silent"); /* there is room for one besides */
	RUN_UNTIL(c.s, 5000);
	assert_int_equal(W->starts, 5);
	finish();
}

static void warm_hosts_make_room_last(void **state)
{
	static const char *const warm[] = { "echo:8080" };
	struct client a = { 0 }, b = { 0 }, c = { 0 };
	struct ssm_opts o = { .warm = warm, .warm_count = 1, .sessions_total = 2 };

	(void)state;
	begin(&o);
	dial(&a, "silent");
	RUN_UNTIL(a.s && W->starts == 2, 5000);
	run(1000);
	stream_close(a.s);
	run(1000);
	dial(&b, "hello");
	RUN_UNTIL(b.s, 5000);
	assert_true(W->agents[0]->ended);
	assert_false(W->agents[1]->ended); /* the warm one, unused for longer */
	dial(&c, "silent");
	RUN_UNTIL(c.s, 5000);
	assert_true(W->agents[1]->ended);
	stream_close(b.s);
	run(1000);
	finish();
}

static void warm_must_be_a_host_and_a_port(void **state)
{
	static const char *const warm[] = { "good:1", "no-port" };
	struct ssm_opts o = { .region = "r",
			      .ssm_endpoint = "x",
			      .target.id = "i-1",
			      .warm = warm,
			      .warm_count = 2 };
	struct err e;

	(void)state;
	world_begin();
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	assert_null(ssm_backend_new(&o, &e));
	assert_non_null(strstr(e.msg, "warm"));
	world_end();
}

/* One host's session fails and the machine with it, another's comes up after that. */
static void late_success(void **state)
{
	struct client a = { 0 }, b = { 0 }, c = { 0 }, again = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .session_idle_ms = 1000 });
	dial(&a, "echo");
	RUN_UNTIL(a.s, 5000);
	stream_close(a.s);
	run(5000);
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	assert_true(list_empty(&W->sockets));
	dial(&b, "silent");
	dial(&c, "echo");
	W->start_code = "InternalServerError";
	RUN_UNTIL(b.dones, 100);
	W->start_code = NULL;
	assert_null(b.s);
	assert_int_equal(backend_state(B), BACKEND_FAILED);
	RUN_UNTIL(c.s, 1000);
	dial(&again, "echo");
	RUN_UNTIL(again.s, 5000);
	assert_string_equal(again.session, c.session);
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	finish();
}

/* A clock that is wrong is allowed for on the data channel too. */
static void clock_is_wrong(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->skew_ms = 2 * 86400 * 1000;
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	assert_non_null(strstr(W->agents[0]->ws->authorization, "Credential=AKID/20231116/"));
	finish();
}

static void cancelled_anywhere(void **state)
{
	(void)state;
	for (unsigned ms = 0; ms < 260; ms += 3) {
		struct client c = { 0 }, d = { 0 };

		begin(&(struct ssm_opts){ 0 });
		dial(&c, ms & 1 ? "hello" : "silent");
		dial(&d, "echo");
		run(ms);
		if (c.dial)
			backend_cancel(c.dial);
		else
			stream_close(c.s);
		if (ms % 2)
			RUN_UNTIL(d.s, 2000);
		finish();
		assert_int_equal(c.dones, c.s || c.closeds ? 1 : 0);
	}
}

static void closed_anywhere(void **state)
{
	(void)state;
	for (unsigned ms = 0; ms < 200; ms += 2) {
		struct client c = { .to_write = 5000 }, d = { 0 };

		begin(&(struct ssm_opts){ 0 });
		W->latency = 5;
		dial(&c, "echo");
		dial(&d, "refuse");
		run(ms);
		finish();
		assert_int_equal(c.dones, 1);
		assert_int_equal(d.dones, 1);
	}
}

/* AWS does not answer, the agent neither: closed all the same, and soon. */
static void closed_in_silence(void **state)
{
	struct client c = { 0 };
	uint64_t from;

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	W->agents[0]->silent = true;
	W->quiet_aws = true;
	from = W->loop.now;
	backend_close(B, on_backend_closed, NULL);
	RUN_UNTIL(closed_calls == 1, 4000);
	assert_true(W->loop.now - from <= 3000);
	world_end();
}

static void session_setup_failures(void **state)
{
	static const struct {
		const char *name, *url, *version, *text;
		bool ws_refused, mute;
		enum err_code code;
		int terminates;
	} cases[] = {
		{ "foreign host", "wss://evil.example/v1/data-channel/", NULL,
		  "not at AWS's ssmmessages service", false, false, ERR_PROTO, 1 },
		{ "no TLS", "ws://ssmmessages.us-east-1.amazonaws.com/", NULL, "StreamUrl", false,
		  false, ERR_PROTO, 1 },
		{ "upgrade refused", NULL, NULL, "403", true, false, ERR_RESET, 1 },
		{ "mute agent", NULL, NULL, "handshake in time", false, true, ERR_TIMEOUT, 1 },
		{ "no mux", NULL, "3.0.196.0", "too old", false, false, ERR_UNSUPPORTED, 1 },
		{ "no remote hosts", NULL, "3.1.1188.0", "other hosts", false, false,
		  ERR_UNSUPPORTED, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client c = { 0 };

		begin(&(struct ssm_opts){ .dial_ms = 60000 });
		W->stream_url = cases[i].url;
		W->version = cases[i].version;
		W->ws_refused = cases[i].ws_refused;
		W->mute = cases[i].mute;
		dial(&c, "echo");
		RUN_UNTIL(c.dones, 59000);
		if (c.why.code != cases[i].code || !strstr(c.why.msg, cases[i].text))
			fail_msg("%s: %s", cases[i].name, c.why.msg);
		assert_int_equal(backend_state(B), BACKEND_FAILED);
		run(100);
		assert_int_equal(W->terminates, cases[i].terminates);
		finish();
	}
}

static void old_agents_get_nops(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	W->version = "3.1.1511.0";
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	run(30500);
	assert_in_range(W->agents[0]->nops, 3, 4);
	finish();
}

static void new_credentials(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ 0 });
	dial(&c, "echo");
	RUN_UNTIL(c.s, 5000);
	backend_set_creds(B, NULL);
	assert_int_equal(backend_state(B), BACKEND_TRANSITIONING);
	RUN_UNTIL(backend_state(B) == BACKEND_ACTIVE, 100);
	assert_int_equal(c.closeds, 0);
	finish();
}

static void waiting_is_bounded(void **state)
{
	struct client c[5] = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .dials_max = 4, .dial_ms = 30000 });
	W->quiet_aws = true;
	for (int i = 0; i < 5; i++)
		dial(&c[i], "echo");
	assert_int_equal(c[4].dones, 1);
	assert_int_equal(c[4].why.code, ERR_LIMIT);
	run(29900);
	assert_int_equal(c[0].dones, 0);
	RUN_UNTIL(c[3].dones, 200);
	assert_int_equal(c[0].why.code, ERR_TIMEOUT);
	assert_non_null(strstr(c[0].why.msg, "still initialising (session)"));
	finish();
}

static void bad_options(void **state)
{
	struct ssm_opts o = { .region = "r", .ssm_endpoint = "x" };
	struct err e;

	(void)state;
	world_begin();
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	assert_null(ssm_backend_new(&o, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "--instance-id"));
	o.target.id = "i-1";
	o.payload_size = 100;
	assert_null(ssm_backend_new(&o, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lazy_then_echo),
		cmocka_unit_test(one_session_is_shared),
		cmocka_unit_test(how_dials_end),
		cmocka_unit_test(proof),
		cmocka_unit_test(refused_after_proof),
		cmocka_unit_test(failed_then_tries_again),
		cmocka_unit_test(not_connected_yet),
		cmocka_unit_test(never_connected),
		cmocka_unit_test(moved_while_it_waits),
		cmocka_unit_test(not_moved),
		cmocka_unit_test(pauses_grow),
		cmocka_unit_test(not_lazy),
		cmocka_unit_test(by_name),
		cmocka_unit_test(chosen_by_a_person),
		cmocka_unit_test(dropped_and_resumed),
		cmocka_unit_test(session_gone),
		cmocka_unit_test(never_resumed),
		cmocka_unit_test(resume_is_refused),
		cmocka_unit_test(ended_by_the_service),
		cmocka_unit_test(idle_sessions_end),
		cmocka_unit_test(total_and_room),
		cmocka_unit_test(busy_sessions_get_company),
		cmocka_unit_test(stalled_reader),
		cmocka_unit_test(slow_reader_reads),
		cmocka_unit_test(new_streams_avoid_a_stuck_session),
		cmocka_unit_test(new_streams_avoid_a_gap),
		cmocka_unit_test(a_gap_that_stays_ends_its_session),
		cmocka_unit_test(a_lost_session_leaves_its_place),
		cmocka_unit_test(a_dial_leaves_a_lost_session),
		cmocka_unit_test(a_session_lost_before_it_was_up),
		cmocka_unit_test(silence_renews_the_websocket),
		cmocka_unit_test(a_dead_session_is_replaced),
		cmocka_unit_test(a_quiet_session_is_left_alone),
		cmocka_unit_test(a_full_session_is_left_alone),
		cmocka_unit_test(starts_take_turns),
		cmocka_unit_test(throttled_starts_are_asked_again),
		cmocka_unit_test(warm_hosts),
		cmocka_unit_test(warm_hosts_make_room_last),
		cmocka_unit_test(warm_must_be_a_host_and_a_port),
		cmocka_unit_test(late_success),
		cmocka_unit_test(no_second_session),
		cmocka_unit_test(clock_is_wrong),
		cmocka_unit_test(cancelled_anywhere),
		cmocka_unit_test(closed_anywhere),
		cmocka_unit_test(closed_in_silence),
		cmocka_unit_test(session_setup_failures),
		cmocka_unit_test(old_agents_get_nops),
		cmocka_unit_test(new_credentials),
		cmocka_unit_test(waiting_is_bounded),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
