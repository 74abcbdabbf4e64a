/* SSM_SESSION: each dial a session of its own, to a port of the instance itself. */
#include "tests/unit/ssm_world.h"

#include "backend/backend.h"
#include "backend/ssm.h"
#include "stream/stream.h"

struct user {
	struct dial *dial;
	struct stream *s;
	char got[32];
	size_t n;
	int dones, eofs, closeds;
	struct err why;
	char session[100];
};

static struct backend *B;
static bool closed;

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	struct user *u = arg;

	assert_true(u->n + n < sizeof(u->got));
	memcpy(u->got + u->n, p, n);
	u->n += n;
}
static void u_eof(void *arg)
{
	((struct user *)arg)->eofs++;
}
static void u_writable(void *arg)
{
	(void)arg;
}
static void u_closed(void *arg, const struct err *why)
{
	struct user *u = arg;

	u->closeds++;
	u->s = NULL;
	u->why = why ? *why : (struct err){ 0 };
}
static const struct stream_handler handler = { u_data, u_eof, u_writable, u_closed };

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct user *u = arg;

	u->dones++;
	u->dial = NULL;
	if (!d) {
		u->why = *why;
		return;
	}
	u->s = d->stream;
	snprintf(u->session, sizeof(u->session), "%s", d->session);
	stream_attach(u->s, &handler, u);
	stream_credit(u->s, 1000);
}

static void on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static void begin(enum ssm_document document)
{
	struct ssm_opts o = { .region = "us-east-1",
			      .ssm_endpoint = "http://127.0.0.1:9",
			      .endpoint_overridden = true,
			      .target.id = "i-0123456789abcdef0",
			      .transport = SSM_SESSION,
			      .ssh.document = document,
			      .dial_ms = 20000 };

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
		assert_true(W->agents[i]->ended); /* AWS has been told */
	world_end();
}

static void dial(struct user *u)
{
	struct dest d = { .host = "whatever", .port = 2222 };

	u->dial = backend_dial(B, &d, on_dialed, u, NULL);
	assert_non_null(u->dial);
}

static void each_has_its_own(void **state)
{
	struct user a = { 0 }, b = { 0 };

	(void)state;
	begin(SSM_DOCUMENT_AUTO);
	dial(&a);
	dial(&b);
	RUN_UNTIL(a.s && b.s, 3000);
	assert_string_not_equal(a.session, b.session);
	assert_non_null(strstr(W->last_start, "AWS-StartSSHSession"));
	assert_non_null(strstr(W->last_start, "\"portNumber\":[\"2222\"]"));
	assert_int_equal(stream_write(a.s, (const uint8_t *)"hello", 5), 5);
	RUN_UNTIL(a.n == 5, 1000);
	assert_memory_equal(a.got, "hello", 5);
	assert_int_equal(b.n, 0);
	stream_close(a.s); /* its end is the session's, and b's goes on */
	RUN_UNTIL(W->agents[0]->ended != W->agents[1]->ended, 3000);
	assert_int_equal(b.closeds, 0);
	finish();
	assert_int_equal(a.closeds + b.closeds, 2);
}

static void the_far_end_closes(void **state)
{
	struct user a = { 0 };

	(void)state;
	begin(SSM_DOCUMENT_SSH);
	dial(&a);
	RUN_UNTIL(a.s, 3000);
	agent_send(W->agents[0], MESSAGE_OUTPUT, PAYLOAD_OUTPUT, "last", 4);
	agent_closes(W->agents[0], "");
	RUN_UNTIL(a.eofs == 1, 1000);
	assert_int_equal(a.n, 4); /* after its last byte */
	stream_close(a.s);
	finish();
}

static void the_other_document(void **state)
{
	struct user a = { 0 }, b = { 0 };

	(void)state;
	begin(SSM_DOCUMENT_AUTO);
	W->no_document = "AWS-StartSSHSession";
	dial(&a);
	RUN_UNTIL(a.s, 3000);
	assert_non_null(strstr(W->last_start, "\"AWS-StartPortForwardingSession\""));
	assert_int_equal(W->starts, 2);
	finish();
	begin(SSM_DOCUMENT_SSH); /* that one and no other */
	W->no_document = "AWS-StartSSHSession";
	dial(&b);
	RUN_UNTIL(b.dones, 3000);
	assert_null(b.s);
	assert_non_null(strstr(b.why.msg, "InvalidDocument"));
	assert_int_equal(W->starts, 1);
	finish();
	b = (struct user){ 0 };
	begin(SSM_DOCUMENT_PORT);
	dial(&b);
	RUN_UNTIL(b.s, 3000);
	assert_int_equal(W->starts, 1);
	finish();
}

static void what_goes_wrong(void **state)
{
	struct user a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	(void)state;
	begin(SSM_DOCUMENT_AUTO);
	W->mute = true; /* the agent never comes */
	dial(&a);
	RUN_UNTIL(a.dones, 20100);
	assert_int_equal(a.why.code, ERR_TIMEOUT);
	assert_non_null(strstr(a.why.msg, "port 2222"));
	dial(&b);
	run(1000);
	backend_cancel(b.dial); /* before it is there */
	W->mute = false;
	W->start_code = "TargetNotConnected";
	W->start_text = "i-0123456789abcdef0 is not connected.";
	dial(&c);
	RUN_UNTIL(c.dones, 20100);
	assert_int_equal(c.why.code, ERR_TARGET);
	assert_non_null(strstr(c.why.msg, "is not connected"));
	W->start_code = "AccessDeniedException";
	dial(&d);
	RUN_UNTIL(d.dones, 3000);
	assert_non_null(strstr(d.why.msg, "AccessDenied"));
	finish();
	assert_int_equal(b.dones, 0);
}

static void closed_while_it_is_made(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 200; at += 7) {
		struct user a = { 0 };

		begin(SSM_DOCUMENT_AUTO);
		dial(&a);
		run(at);
		finish();
		assert_int_equal(a.dones, 1);
		assert_null(a.s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_its_own),        cmocka_unit_test(the_far_end_closes),
		cmocka_unit_test(the_other_document),      cmocka_unit_test(what_goes_wrong),
		cmocka_unit_test(closed_while_it_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
