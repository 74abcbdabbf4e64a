/* What AWS answers: XML trees, errors of both protocols, AssumeRole's reply. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/httpdate.h"
#include "base/str.h"
#include "credentials/aws_error.h"
#include "credentials/aws_xml.h"
#include "credentials/provider_impl.h"
#include "tests/support/cmocka_all.h"

static void xml_trees(void **state)
{
	static const char text[] =
		"<?xml version=\"1.0\"?>\n<R xmlns=\"urn:x\"><A><B> b&amp;c\n</B>"
		"<B>2</B></A><L><i><k>1</k></i><i/></L></R>";
	struct xml *x;

	(void)state;
	assert_int_equal(xml_parse(text, strlen(text), &x, NULL), 0);
	assert_string_equal(x->name, "R");
	assert_string_equal(xml_text(x, "A/B"), "b&c");
	assert_int_equal(xml_at(x, "L")->count, 2);
	assert_string_equal(xml_text(xml_at(x, "L")->child[0], "k"), "1");
	assert_string_equal(xml_text(x, "L/i"), "");
	assert_null(xml_text(x, "A/C"));
	assert_null(xml_text(x, "A/B/C"));
	assert_null(xml_text(NULL, "A"));
	xml_free(x);
}

static void xml_refusals(void **state)
{
	static const struct {
		const char *name, *text;
		enum err_code code;
	} cases[] = {
		{ "empty", "", ERR_PROTO },
		{ "no XML", "<html", ERR_PROTO },
		{ "cut", "<a><b>x</b>", ERR_PROTO },
		{ "two roots", "<a/><b/>", ERR_PROTO },
		{ "document type", "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", ERR_PROTO },
		{ "unknown entity", "<a>&x;</a>", ERR_PROTO },
		{ "bad encoding", "<a>\xff</a>", ERR_PROTO },
	};
	struct buf b;
	struct xml *x;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(xml_parse(cases[i].text, strlen(cases[i].text), &x, &e), -1);
		assert_null(x);
		assert_int_equal(e.code, cases[i].code);
	}
	buf_init(&b, 1 << 16);
	for (int i = 0; i < 40; i++)
		assert_int_equal(buf_addf(&b, NULL, "<a>"), 0);
	for (int i = 0; i < 40; i++)
		assert_int_equal(buf_addf(&b, NULL, "</a>"), 0);
	assert_int_equal(xml_parse((const char *)buf_ptr(&b), buf_len(&b), &x, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&b);
}

/* Known answers of botocore. */
static void names_of_cached_roles(void **state)
{
	static const struct {
		struct cli_cache_key key;
		const char *name;
	} cases[] = {
		{ { .arn = "arn:aws:iam::111122223333:role/A" },
		  "4860a7fa4ae31231be33dbc4bf069ab2605c3034" },
		{ { .arn = "arn:aws:iam::111122223333:role/A",
		    .external_id = "x1",
		    .duration_s = 900 },
		  "1497cf9f7fda6d490318201a9e2431ce3c2c16d9" },
		{ { .arn = "arn:aws:iam::111122223333:role/A", .session_name = "me" },
		  "41a7dfd9f595e0afac31d35a7f695a32f90e4438" },
		{ { .arn = "arn:aws:iam::111122223333:role/A",
		    .mfa_serial = "arn:aws:iam::1:mfa/u" },
		  "74f6986bbdc22dc45a02c0c5fa29894094196ec9" },
	};
	char name[41];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(cli_cache_name(&cases[i].key, name, NULL), 0);
		assert_string_equal(name, cases[i].name);
	}
}

static void error_bodies(void **state)
{
	static const struct {
		const char *name;
		enum aws_protocol protocol;
		const char *body, *header, *code, *message;
	} cases[] = {
		{ "json", AWS_JSON11, "{\"__type\":\"ThrottlingException\",\"message\":\"slow\"}",
		  NULL, "ThrottlingException", "slow" },
		{ "json, name space, other message", AWS_JSON11,
		  "{\"__type\":\"com.amazonaws.ssm#TargetNotConnected\",\"Message\":\"i-1\"}", NULL,
		  "TargetNotConnected", "i-1" },
		{ "header wins", AWS_JSON11, "{}", "AccessDeniedException:http://x/",
		  "AccessDeniedException", "" },
		{ "not json", AWS_JSON11, "<html>", NULL, "", "" },
		{ "json of another kind", AWS_JSON11, "[1]", NULL, "", "" },
		{ "type is a number", AWS_JSON11, "{\"__type\":1}", NULL, "", "" },
		{ "sts", AWS_QUERY,
		  "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>AccessDenied</Code>"
		  "<Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>",
		  NULL, "AccessDenied", "no" },
		{ "ec2", AWS_QUERY,
		  "<Response><Errors><Error><Code>AuthFailure</Code><Message>m</Message></Error></"
		  "Errors>"
		  "<RequestID>r</RequestID></Response>",
		  NULL, "AuthFailure", "m" },
		{ "not xml", AWS_QUERY, "{}", NULL, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct aws_error got;

		print_message("%s\n", cases[i].name);
		aws_error_read(cases[i].protocol, cases[i].body, strlen(cases[i].body),
			       cases[i].header, &got);
		assert_string_equal(got.code, cases[i].code);
		assert_string_equal(got.message, cases[i].message);
	}
}

static void verdicts(void **state)
{
	static const struct {
		int status;
		const char *code;
		enum aws_verdict verdict;
		enum err_code class;
	} cases[] = {
		{ 400, "ThrottlingException", AWS_THROTTLED, ERR_LIMIT },
		{ 503, "RequestLimitExceeded", AWS_THROTTLED, ERR_LIMIT },
		{ 429, "", AWS_THROTTLED, ERR_LIMIT },
		{ 500, "", AWS_TRANSIENT, ERR_AWS },
		{ 501, "", AWS_FATAL, ERR_AWS },
		{ 502, "", AWS_TRANSIENT, ERR_AWS },
		{ 504, "", AWS_TRANSIENT, ERR_AWS },
		{ 400, "RequestTimeout", AWS_TRANSIENT, ERR_AWS },
		{ 403, "ExpiredTokenException", AWS_EXPIRED, ERR_CREDS },
		{ 403, "ExpiredToken", AWS_EXPIRED, ERR_CREDS },
		{ 400, "RequestExpired", AWS_CLOCK, ERR_CREDS },
		{ 403, "SignatureDoesNotMatch", AWS_CLOCK, ERR_CREDS },
		{ 400, "InvalidSignatureException", AWS_CLOCK, ERR_CREDS },
		{ 401, "AuthFailure", AWS_CLOCK, ERR_CREDS },
		{ 400, "AccessDeniedException", AWS_FATAL, ERR_CREDS },
		{ 403, "UnauthorizedOperation", AWS_FATAL, ERR_CREDS },
		{ 400, "UnrecognizedClientException", AWS_FATAL, ERR_CREDS },
		{ 400, "TargetNotConnected", AWS_FATAL, ERR_TARGET },
		{ 400, "InvalidDocument", AWS_FATAL, ERR_AWS },
		{ 404, "", AWS_FATAL, ERR_AWS },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%d %s\n", cases[i].status, cases[i].code);
		assert_int_equal(aws_error_verdict(cases[i].status, cases[i].code),
				 cases[i].verdict);
		assert_int_equal(aws_error_class(cases[i].status, cases[i].code), cases[i].class);
	}
	assert_int_equal(aws_retry_delay_ms(0, 0), 0);
	assert_int_equal(aws_retry_delay_ms(0, UINT32_MAX), 999);
	assert_int_equal(aws_retry_delay_ms(2, UINT32_MAX), 3999);
	assert_int_equal(aws_retry_delay_ms(9, UINT32_MAX), 19999);
}

static void dates(void **state)
{
	static const char *const bad[] = { "",
					   "Sun, 06 Nov 1994 08:49:37",
					   "Sun, 06 Nox 1994 08:49:37 GMT",
					   "Sun, 06 ovD 1994 08:49:37 GMT",
					   "Sun, 00 Nov 1994 08:49:37 GMT",
					   "Sun, 06 Nov 1994 24:49:37 GMT",
					   "Sunday, 06-Nov-94 08:49:37 GMT" };
	int64_t ms;

	(void)state;
	assert_true(httpdate_parse("Sun, 06 Nov 1994 08:49:37 GMT", &ms));
	assert_true(ms == 784111777000);
	assert_true(httpdate_parse("Thu, 29 Feb 2024 23:59:59 GMT", &ms));
	assert_true(ms == 1709251199000);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(httpdate_parse(bad[i], &ms));
}

static void role_requests(void **state)
{
	struct role_opts o = { .arn = "arn:aws:iam::1:role/A B", .session_name = "me@x" };
	struct buf b;
	char name[65];

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(role_form(&o, &b, NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_string_equal(
		(const char *)buf_ptr(&b),
		"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole"
		"%2FA%20B&RoleSessionName=me%40x");
	buf_clear(&b);
	o.external_id = "&=";
	o.duration_s = 900;
	assert_int_equal(role_form(&o, &b, NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_true(str_ends((const char *)buf_ptr(&b), "&ExternalId=%26%3D&DurationSeconds=900"));
	buf_free(&b);
	role_session_name("j\xc3\xb6rg smith", "my host.lan", name);
	assert_string_equal(name, "awsocks-j--rg-smith-my-host.lan");
	role_session_name(NULL, "", name);
	assert_string_equal(name, "awsocks-user-host");
	role_session_name("uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
			  "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", name);
	assert_int_equal(strlen(name), 64);
}

#define CREDS                                                                                \
	"<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s/+</SecretAccessKey>" \
	"<SessionToken>tok</SessionToken><Expiration>%s</Expiration></Credentials>"

static void role_answers(void **state)
{
	static const struct {
		const char *name, *form, *expiry;
		bool good;
	} cases[] = {
		{ "whole",
		  "<AssumeRoleResponse><AssumeRoleResult>" CREDS
		  "<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/A/b</Arn>"
		  "</AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>",
		  "2026-11-22T01:00:00Z", true },
		{ "no expiry", "<R><AssumeRoleResult>" CREDS "</AssumeRoleResult></R>", "", false },
		{ "bad expiry", "<R><AssumeRoleResult>" CREDS "</AssumeRoleResult></R>", "soon",
		  false },
		{ "nothing", "<R><AssumeRoleResult/>%s</R>", "", false },
		{ "no XML", "{}%s", "", false },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		struct creds *c;

		print_message("%s\n", cases[i].name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(text, sizeof(text), cases[i].form, cases[i].expiry);
#pragma GCC diagnostic pop
		c = role_parse(text, strlen(text), "profile x (assume role)", &e);
		assert_int_equal(c != NULL, cases[i].good);
		assert_int_equal(e.code == ERR_NONE, cases[i].good);
		if (c) {
			assert_string_equal(c->session_token.text, "tok");
			assert_string_equal(c->account_id, "111122223333");
			assert_true(c->expires_ms == 1795309200000);
		}
		creds_unref(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_cached_roles),
		cmocka_unit_test(xml_trees),
		cmocka_unit_test(xml_refusals),
		cmocka_unit_test(error_bodies),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(dates),
		cmocka_unit_test(role_requests),
		cmocka_unit_test(role_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
