#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/ssm/api.h"
#include "backend/ssm/handshake.h"
#include "backend/ssm/session.h"
#include "backend/ssm/state.h"
#include "base/mem.h"
#include "credentials/creds.h"

static void where_the_token_may_go(void **state)
{
	static const struct api aws = { .endpoint = "https://ssm.us-east-1.amazonaws.com",
					.region = "us-east-1" };
	static const struct api china = { .endpoint = "https://ssm.cn-north-1.amazonaws.com.cn",
					  .region = "cn-north-1" };
	static const struct api gov = { .endpoint = "https://ssm.us-gov-west-1.amazonaws.com",
					.region = "us-gov-west-1" };
	static const struct api local = { .endpoint = "http://127.0.0.1:4566/x",
					  .region = "us-east-1",
					  .overridden = true };
	static const struct api vpc = { .endpoint = "https://vpce-1.ssm.vpce.amazonaws.com",
					.region = "us-east-1",
					.overridden = true };
	static const struct {
		const struct api *api;
		const char *url;
		bool good;
	} cases[] = {
		{ &aws, "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/s?role=x",
		  true },
		{ &china, "wss://ssmmessages.cn-north-1.amazonaws.com.cn/v1/x", true },
		{ &gov, "wss://ssmmessages-fips.us-gov-west-1.amazonaws.com/v1/x", true },
		{ &aws, "wss://SSMMESSAGES.us-east-1.amazonaws.com/v1/x", true },
		{ &aws, "wss://ssmmessages.us-east-1.amazonaws.com:443/?cell=a+b/=&c", true },
		{ &aws, "ws://ssmmessages.us-east-1.amazonaws.com/v1/x", false },
		{ &aws, "https://ssmmessages.us-east-1.amazonaws.com/v1/x", false },
		{ &aws, "wss://ssm.us-east-1.amazonaws.com/v1/x", false },
		{ &aws, "wss://ssmmessages.evil.example/v1/x", false },
		{ &aws, "wss://ssmmessages.us-east-1.amazonaws.com.evil.example/", false },
		{ &aws, "wss://ssmmessages.us-east-1.amazonaws.com@evil.example/", false },
		{ &aws, "wss://evil.example/?.amazonaws.com", false },
		{ &aws, "wss://evil.example?ssmmessages.x.amazonaws.com", false },
		{ &aws, "wss://ssmmessages.a.amazonaws.com/\r\nX: y", false },
		{ &aws, "wss:///x", false },
		{ &aws, "ssmmessages.us-east-1.amazonaws.com", false },
		{ &aws, "", false },
		{ &aws, "ws://127.0.0.1:4566/x", false },
		{ &local, "ws://127.0.0.1:9999/x", true },
		{ &local, "wss://127.0.0.1/x", true },
		{ &local, "ws://127.0.0.2/x", true },
		{ &local, "ws://localhost:9999/x", true },
		{ &local, "ws://[::1]:9999/x", true },
		{ &local, "ws://10.0.0.1/x", false },
		{ &local, "wss://127.0.0.1.evil.example/x", false },
		{ &vpc, "wss://127.0.0.1/x", false },
		{ &local, "wss://ssmmessages.us-east-1.amazonaws.com/x", true },
		{ &vpc, "wss://vpce-1.ssm.vpce.amazonaws.com/x", true },
		{ &vpc, "ws://vpce-1.ssm.vpce.amazonaws.com/x", false },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = api_check_url(cases[i].api, cases[i].url, &e);

		if ((r == 0) != cases[i].good)
			fail_msg("%s: %s", cases[i].url, r ? e.msg : "accepted");
	}
}

static void another_host_for_the_data_channels(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{ "vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com",
		  "wss://vpce-1.ssmmessages.eu-west-1.vpce.amazonaws.com" },
		{ "wss://h.example:8443/p/", "wss://h.example:8443/p" },
		{ "https://h.example", "wss://h.example" },
		{ "http://127.0.0.1:1", "ws://127.0.0.1:1" },
		{ "ws://h.example", NULL },
		{ "ftp://h.example", NULL },
		{ "h.example/?a", NULL },
		{ "u@h.example", NULL },
		{ "", NULL },
	};
	char out[API_URL_MAX];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = api_read_ssmmessages(cases[i].text, out, &e);

		if ((r == 0) != (cases[i].want != NULL))
			fail_msg("%s: %s", cases[i].text, r ? e.msg : out);
		if (r == 0)
			assert_string_equal(out, cases[i].want);
		else
			assert_int_equal(e.code, ERR_CONFIG);
	}
}

static void upgrade_headers(void **state)
{
	struct creds *c = creds_new("AKID", "secret", "session", 0, NULL, "test", NULL);
	struct creds *plain = creds_new("AKID", "secret", NULL, 0, NULL, "test", NULL);
	struct api_upgrade a, b;

	(void)state;
	assert_int_equal(api_sign_upgrade("wss://h.example:443/v1/x?role=y&cell=a+b/=", "eu-west-1",
					  c, 1700000000000, &a, NULL),
			 0);
	assert_int_equal(a.count, 3);
	assert_string_equal(a.headers[2].name, "X-Amz-Security-Token");
	assert_string_equal(a.headers[2].value, "session");
	assert_string_equal(a.headers[1].value, "20231114T221320Z");
	assert_non_null(strstr(a.headers[0].value,
			       "Credential=AKID/20231114/eu-west-1/ssmmessages/aws4_request"));
	assert_non_null(strstr(a.signature.canonical, "\nhost:h.example\n")); /* not :443 */
	assert_non_null(strstr(a.signature.canonical, "cell=a%20b%2F%3D&role=y"));
	assert_int_equal(api_sign_upgrade("ws://127.0.0.1:4566/x", "r", plain, 1, &b, NULL), 0);
	assert_int_equal(b.count, 2);
	assert_non_null(strstr(b.signature.canonical, "\nhost:127.0.0.1:4566\n"));
	api_upgrade_free(&a);
	api_upgrade_free(&b);
	creds_unref(c);
	creds_unref(plain);
	assert_true(api_url_presigned("wss://h/x?a=b&X-Amz-Signature=1"));
	assert_true(api_url_presigned("wss://h/x?X-Amz-Date=1"));
	assert_false(api_url_presigned("wss://h/X-Amz-/x?role=X-Amz-"));
}

static void open_message(void **state)
{
	char *text;
	cJSON *j;

	(void)state;
	assert_int_equal(api_open_message("to\"ken", "client", &text, NULL), 0);
	j = cJSON_Parse(text);
	assert_string_equal(cJSON_GetObjectItem(j, "TokenValue")->valuestring, "to\"ken");
	assert_string_equal(cJSON_GetObjectItem(j, "MessageSchemaVersion")->valuestring, "1.0");
	assert_string_equal(cJSON_GetObjectItem(j, "ClientId")->valuestring, "client");
	assert_string_equal(cJSON_GetObjectItem(j, "ClientVersion")->valuestring, "1.2.764.0");
	assert_int_equal(strlen(cJSON_GetObjectItem(j, "RequestId")->valuestring), 36);
	cJSON_Delete(j);
	mem_free_str(text);
}

static void outputs(void **state)
{
	static const struct {
		const char *output;
		enum err_code code;
	} cases[] = {
		{ "", ERR_CLOSED },
		{ "lookup db.internal on 10.0.0.2:53: no such host", ERR_RESOLVE },
		{ "dial tcp: lookup x: i/o timeout", ERR_RESOLVE },
		{ "Forwarding to IP address 169.254.169.254 is forbidden.", ERR_DENIED },
		{ "Plugin with name Port is not supported by this version of ssm agent",
		  ERR_UNSUPPORTED },
		{ "Session timed out", ERR_CLOSED },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		session_output_error(cases[i].output, &e);
		assert_int_equal(e.code, cases[i].code);
		assert_non_null(strstr(e.msg, cases[i].output));
	}
}

static void versions(void **state)
{
	static const struct {
		const char *a, *b;
		int sign;
	} cases[] = {
		{ "3.1.1374.0", "3.1.1374.0", 0 },
		{ "3.1.1374", "3.1.1374.0", 0 },
		{ "3.0.9.0", "3.0.10.0", -1 },
		{ "3.10", "3.9.9.9", 1 },
		{ "", "0.0", 0 },
		{ "2", "1.99999999999999999999", 1 },
		{ "1.x.5", "1.0.5", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = version_compare(cases[i].a, cases[i].b);

		assert_int_equal((r > 0) - (r < 0), cases[i].sign);
		r = version_compare(cases[i].b, cases[i].a);
		assert_int_equal((r > 0) - (r < 0), -cases[i].sign);
	}
}

/* --- the state machine alone --- */

struct trace {
	unsigned ms, pause, enters;
	enum fsm_state to;
};

static void t_enter(void *arg, unsigned attempt)
{
	(void)attempt;
	((struct trace *)arg)->enters++;
}
static void t_timer(void *arg, unsigned ms)
{
	((struct trace *)arg)->ms = ms;
}
static void t_trace(void *arg, enum fsm_state from, enum fsm_state to, const struct err *why,
		    unsigned pause_ms)
{
	struct trace *t = arg;

	(void)from;
	assert_int_equal(to == FSM_BACKOFF, why != NULL);
	t->to = to;
	t->pause = pause_ms;
}
static const struct fsm_owner owner = { .enter = { [FSM_CREDS] = t_enter },
					.timer = t_timer,
					.trace = t_trace };

static void late_answers_are_dropped(void **state)
{
	struct trace t = { 0 };
	struct fsm f;
	struct err e;
	unsigned first;

	(void)state;
	(void)err_set(&e, ERR_CREDS, "none");
	fsm_init(&f, &owner, &t);
	fsm_limit(&f);
	assert_int_equal(f.state, FSM_IDLE);
	fsm_wake(&f);
	first = f.attempt;
	fsm_wake(&f);
	assert_int_equal(t.enters, 1);
	fsm_limit(&f); /* the step took too long */
	assert_int_equal(f.state, FSM_BACKOFF);
	assert_int_equal(f.why.code, ERR_TIMEOUT);
	assert_int_equal(fsm_outer(f.state), BACKEND_FAILED);
	fsm_done(&f, first, FSM_INSTANCE);
	fsm_failed(&f, first, &e);
	assert_int_equal(f.state, FSM_BACKOFF);
	fsm_wake(&f);
	assert_int_equal(f.state, FSM_BACKOFF); /* the pause is not over */
	fsm_limit(&f);
	fsm_wake(&f);
	assert_int_equal(f.state, FSM_CREDS);
	fsm_close(&f);
	fsm_close(&f);
	assert_int_equal(f.state, FSM_CLOSED);
	fsm_wake(&f);
	assert_int_equal(f.state, FSM_CLOSED);
}

static void pauses(void **state)
{
	static const unsigned most[] = { 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000 };
	struct trace t = { 0 };
	struct fsm f;
	struct err e;

	(void)state;
	(void)err_set(&e, ERR_AWS, "no");
	fsm_init(&f, &owner, &t);
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		fsm_wake(&f);
		fsm_failed(&f, f.attempt, &e);
		assert_in_range(t.pause, most[i] / 2, most[i]);
		assert_int_equal(t.ms, t.pause);
		fsm_cut_pause(&f);
	}
	fsm_wake(&f);
	fsm_done(&f, f.attempt, FSM_INSTANCE);
	fsm_done(&f, f.attempt, FSM_SESSION);
	fsm_done(&f, f.attempt, FSM_ACTIVE);
	assert_int_equal(t.ms, 0);
	assert_true(f.was_active);
	fsm_failed(&f, f.attempt, &e);
	assert_in_range(t.pause, 1000, 2000); /* success forgets the failures */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_the_token_may_go),
		cmocka_unit_test(another_host_for_the_data_channels),
		cmocka_unit_test(upgrade_headers),
		cmocka_unit_test(open_message),
		cmocka_unit_test(outputs),
		cmocka_unit_test(versions),
		cmocka_unit_test(late_answers_are_dropped),
		cmocka_unit_test(pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
